/* SPDX-License-Identifier: BSD-3-Clause */
/* Running a plan: the steps of this rank in the order of the plan's time, on one thread or several. */
#include "storm.h"

#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

MPI_Comm storm_tokens, storm_wilds;
bool storm_allow_overrun;

enum what { MAKE_COMM, FREE_COMM, SEND, RECEIVE, SENT, RECEIVED, TOGETHER, TOGETHER_END };

struct step {
    uint64_t time;
    int op;                     /* -1: a communicator */
    int part;
    enum what what;
    int thread;                 /* -1: the first one, while the others wait */
};

static struct step *steps;
static size_t step_count, step_room;
static struct storm_live *lives, **live_of;
static struct storm_thread threads[STORM_MAX_THREADS];
static int thread_count;
static pthread_barrier_t meeting;

static void add(uint64_t time, int op, int part, enum what what, int thread)
{
    if (step_count == step_room) {
        step_room = 0 == step_room ? 1024 : 2 * step_room;
        steps = realloc(steps, step_room * sizeof(*steps));
        CHECK(NULL != steps, "out of memory");
    }
    steps[step_count++] = (struct step) {time, op, part, what, thread};
}

static void add_op(const struct storm_plan *plan, const struct storm_op *op)
{
    const int n = op->number, t = op->thread;
    int members[STORM_MAX_RANKS];

    switch (op->kind) {
    case STORM_EXCHANGE:
    case STORM_COLLECTIVE:
        (void) members;
        add(op->time, n, 0, TOGETHER, t);
        if (STORM_COLLECTIVE == op->kind && op->nonblocking) {
            add(op->end, n, 0, TOGETHER_END, t);
        }
        return;
    case STORM_NOBODY:
    case STORM_DELAY:
        if (op->rank < 0 || op->rank == vt.rank) {
            add(op->time, n, 0, TOGETHER, t);
        }
        return;
    default:
        break;
    }
    for (int i = 0; i < op->parts; ++i) {
        if (op->m[i].src == vt.rank) {
            add(op->m[i].send.start, n, i, SEND, t);
            add(op->m[i].send.end, n, i, SENT, t);
        }
        if (op->m[i].dst == vt.rank) {
            add(op->m[i].recv.start, n, i, RECEIVE, t);
            add(op->m[i].recv.end, n, i, RECEIVED, t);
        }
    }
    (void) plan;
}

static int compare(const void *a, const void *b)
{
    const struct step *x = a, *y = b;

    if (x->time != y->time) {
        return x->time < y->time ? -1 : 1;
    }
    if (x->op != y->op) {
        return x->op < y->op ? -1 : 1;
    }
    if (x->what != y->what) {
        return x->what < y->what ? -1 : 1;
    }
    return (x->part > y->part) - (x->part < y->part);
}

struct storm_live *storm_live(const struct storm_op *op, int part, bool sends)
{
    return live_of[op->number] + 2 * part + (sends ? 0 : 1);
}

/* What every rank of the plan does with all others. */
static void together(struct storm_thread *thread, const struct storm_op *op)
{
    switch (op->kind) {
    case STORM_EXCHANGE: storm_exchange(thread, op); break;
    case STORM_COLLECTIVE: storm_collective_start(thread, op); break;
    case STORM_NOBODY: storm_nobody(thread, op); break;
    default: storm_idle(thread, op); break;
    }
}

static void take(struct storm_thread *thread, const struct step *step)
{
    struct storm_op *op = step->op < 0 ? NULL : &thread->plan->op[step->op];

    thread->at = op;
    thread->now = step->time;
    if (NULL != op) {
        vt_at("plan %llu operation %d", (unsigned long long) thread->plan->seed, op->number);
    }
    switch (step->what) {
    case MAKE_COMM:
        thread->doing = "making a communicator";
        storm_comm_make(&thread->plan->comm[step->part]);
        break;
    case FREE_COMM:
        thread->doing = "freeing a communicator";
        storm_comm_free(&thread->plan->comm[step->part]);
        break;
    case SEND:
#if MPI_VERSION >= 4
        if (STORM_PARTITIONED == op->kind) {
            storm_partitioned_send(thread, op, step->part);
            break;
        }
#endif
        storm_message_send(thread, op, step->part);
        break;
    case SENT:
        storm_message_sent(thread, op, step->part);
        break;
    case RECEIVE:
        if (STORM_WILD == op->kind) {
            storm_wild_receive(thread, op, step->part);
            break;
        }
#if MPI_VERSION >= 4
        if (STORM_PARTITIONED == op->kind) {
            storm_partitioned_receive(thread, op, step->part);
            break;
        }
#endif
        storm_message_receive(thread, op, step->part);
        break;
    case RECEIVED:
        if (STORM_WILD == op->kind) {
            storm_wild_received(thread, op, step->part);
        } else {
            storm_message_received(thread, op, step->part);
        }
        break;
    case TOGETHER: together(thread, op); break;
    default: storm_collective_end(thread, op); break;
    }
}

static void *run_thread(void *arg)
{
    struct storm_thread *thread = arg;

    for (size_t i = 0; i < step_count; ++i) {
        if (steps[i].thread == thread->index) {
            take(thread, &steps[i]);
        } else if (steps[i].thread < 0) {
            if (1 < thread_count) {
                thread->doing = "meeting the other threads";
                pthread_barrier_wait(&meeting);
            }
            if (0 == thread->index) {
                take(thread, &steps[i]);
            }
            if (1 < thread_count) {
                pthread_barrier_wait(&meeting);
            }
        }
    }
    thread->doing = "done with the plan's steps";
    return NULL;
}

static int prepare(struct storm_plan *plan)
{
    size_t lives_needed = 0, at = 0;
    int kept = 0;

    step_count = 0;
    for (int c = 1; c < plan->comms; ++c) {
        plan->comm[c].used = false;
    }
    for (int i = 0; i < plan->ops; ++i) {
        lives_needed += 2 * (size_t) (plan->op[i].parts + 1);
    }
    lives = calloc(lives_needed, sizeof(*lives));
    live_of = calloc((size_t) plan->ops, sizeof(*live_of));
    CHECK(NULL != lives && NULL != live_of, "out of memory");
    for (int i = 0; i < plan->ops; ++i) {
        const struct storm_op *op = &plan->op[i];

        live_of[i] = lives + at;
        at += 2 * (size_t) (op->parts + 1);
        if (op->kept) {
            plan->comm[op->comm].used = true;
            add_op(plan, op);
            ++kept;
        }
    }
    for (int c = 1; c < plan->comms; ++c) {
        if (plan->comm[c].used) {
            add(plan->comm[c].made, -1, c, MAKE_COMM, -1);
            add(plan->comm[c].freed, -1, c, FREE_COMM, -1);
        }
    }
    qsort(steps, step_count, sizeof(*steps), compare);
    return kept;
}

/* Everything was received: what freed requests were sent from can go. */
static void clean(struct storm_plan *plan)
{
    for (int i = 0; i < plan->ops; ++i) {
        for (int k = 0; k < 2 * (plan->op[i].parts + 1); ++k) {
            if (live_of[i][k].has_buffer) {
                storm_buffer_free(&live_of[i][k].buffer);
            }
        }
    }
    free(lives);
    free(live_of);
}

int storm_run(struct storm_plan *plan)
{
    static unsigned char *buffered;
    const size_t room = (16u << 20) + 65536;
    int size, kept;
    void *old;

    if (NULL == buffered) {
        buffered = vt_malloc(room);
    }
    kept = prepare(plan);
    MPI(MPI_Buffer_attach(buffered, (int) room));
    thread_count = plan->threads;
    for (int i = 0; i < thread_count; ++i) {
        threads[i].index = i;
        threads[i].plan = plan;
        threads[i].pendings = 0;
    }
    if (1 == thread_count) {
        run_thread(&threads[0]);
    } else {
        pthread_t id[STORM_MAX_THREADS];

        pthread_barrier_init(&meeting, NULL, (unsigned) thread_count);
        for (int i = 1; i < thread_count; ++i) {
            CHECK(0 == pthread_create(&id[i], NULL, run_thread, &threads[i]), "pthread_create failed");
        }
        run_thread(&threads[0]);
        for (int i = 1; i < thread_count; ++i) {
            pthread_join(id[i], NULL);
        }
        pthread_barrier_destroy(&meeting);
    }
    vt_at("end of plan %llu", (unsigned long long) plan->seed);
    for (int i = 0; i < thread_count; ++i) {
        CHECK(0 == threads[i].pendings, "storm: %d requests of thread %d were left over",
              threads[i].pendings, i);
    }
    MPI(MPI_Buffer_detach(&old, &size));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    clean(plan);
    return kept;
}

void storm_fail(const struct storm_plan *plan, const struct storm_op *op, int part, const char *fmt,
                ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "storm: rank %d, plan %llu, operation %d, part %d (%s): %s\n", vt.rank,
            (unsigned long long) plan->seed, op->number, part, storm_describe(plan, op), text);
    fflush(stderr);
    VT_FAIL("plan %llu operation %d: %s", (unsigned long long) plan->seed, op->number, text);
}

/* Called in a signal handler, when the process is about to end anyway. */
void storm_watch(void)
{
    for (int i = 0; i < thread_count; ++i) {
        const struct storm_thread *t = &threads[i];
        char line[600];
        int n = snprintf(line, sizeof(line), "storm: rank %d thread %d hangs in plan %llu, operation %d "
                         "(%s): %s; %d requests are under way\n", vt.rank, i,
                         (unsigned long long) t->plan->seed, NULL == t->at ? -1 : t->at->number,
                         NULL == t->at ? "none" : storm_describe(t->plan, t->at),
                         NULL == t->doing ? "" : t->doing, t->pendings);

        if (0 > n || 0 > write(STDERR_FILENO, line, (size_t) n)) {
            return;
        }
        for (int k = 0; k < t->pendings; ++k) {
            n = snprintf(line, sizeof(line), "storm:   outstanding at rank %d: operation %d part %d, %s\n",
                         vt.rank, t->pending[k]->op->number, t->pending[k]->part,
                         storm_describe(t->plan, t->pending[k]->op));
            if (0 > n || 0 > write(STDERR_FILENO, line, (size_t) n)) {
                return;
            }
        }
    }
}
