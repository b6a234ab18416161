/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the hardware allows, without MPI: the limits beside which transports are judged, and the
 * name of the regime in which they were measured. The virtual CPUs of a rented machine move;
 * sometimes two of them share a core, sometimes not, and everything moves with that.
 *
 * Two processes, bound to the first two CPUs that they may use. Orders, one per line, and answers as
 * in bench_mpi.c, in ns:
 *     line MS                     a cache line from one CPU to the other: half a ping-pong
 *     memcpy BYTES MS             of BYTES by one process, two buffers in turn
 *     twocopy BYTES MS WINDOW     a message through shared memory: the sender copies in, the receiver
 *                                 out, at the same time, in chunks. WINDOW 1: half a ping-pong;
 *                                 more: one after the other, time per message. MS for each way
 *                                 that is tried (size, number and alignment of chunks, pausing
 *                                 while waiting); the best one counts
 *     quit
 * Messages are rewritten and read between the measurements as bench_mpi.c does.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE = 64, SLOTS = 64, INLINE = 56, MAX_CHUNK = 256 << 10, MAX_PIECES = 512 };

/* Publishes a chunk; small messages stand in the slot itself, so that one line is all that moves. */
struct slot {
    _Alignas(LINE) atomic_uint_fast64_t position;
    uint8_t payload[INLINE];
};

/* From one process to the other. Lines apart, as their neighbours are prefetched. */
struct channel {
    struct slot slots[SLOTS];
    _Alignas(2 * LINE) atomic_uint_fast64_t consumed;
    _Alignas(2 * LINE) uint8_t cells[SLOTS * MAX_CHUNK];
};

struct shared {
    _Alignas(2 * LINE) atomic_uint_fast64_t ping;
    _Alignas(2 * LINE) atomic_uint_fast64_t pong;
    struct channel there, back;
};

/* What the second process is to do; it sleeps in a pipe meanwhile. */
struct task {
    bool twocopy;       /* else the line */
    size_t bytes;
    int window;
    size_t chunk;
    unsigned depth;     /* cells that take turns: fewer stay in a nearer cache */
    size_t offset;      /* of a cell's payload from the line, which decides how memcpy works */
    bool gives_way;
};

/* One end of a channel, in private memory. */
struct end {
    struct channel *channel;
    uint64_t position;
    uint64_t consumed;  /* as last seen by the sender */
};

static struct shared *shared;
static int tasks;       /* write end */
static pid_t child;

_Noreturn void bench_die(const char *what)
{
    fprintf(stderr, "bench_limits: %s\n", what);
    if (0 < child) {
        kill(child, SIGKILL);
    }
    exit(1);
}

static void bind_to(int nth)
{
    cpu_set_t all, one;

    if (0 != sched_getaffinity(0, sizeof all, &all)) {
        return;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &all) && 0 == nth--) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            (void) sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

static void begin_task(const struct task *t)
{
    if ((ssize_t) sizeof *t != write(tasks, t, sizeof *t)) {
        bench_die("the second process is gone");
    }
}

/* -- a cache line ---------------------------------------------------------------------------- */

/* n 0 ends the second process's part. */
static inline void ping(uint64_t n)
{
    atomic_store_explicit(&shared->ping, n, memory_order_release);
    while (atomic_load_explicit(&shared->pong, memory_order_acquire) != n) {
    }
}

static void pong(void)
{
    uint64_t n = 0;

    do {
        uint64_t next;

        do {
            next = atomic_load_explicit(&shared->ping, memory_order_acquire);
        } while (next == n);
        n = next;
        atomic_store_explicit(&shared->pong, n, memory_order_release);
    } while (0 != n);
}

static void measure_line(double ms)
{
    struct bench_samples s;
    uint64_t n = 0;

    begin_task(&(struct task) { .twocopy = false });
    bench_samples_begin(&s, ms);
    while (bench_samples_more(&s)) {
        const uint64_t start = bench_ticks();

        for (int i = 0; i < 4 * BENCH_BATCH; ++i) {
            ping(++n);
        }
        bench_samples_add(&s, (double) (bench_ticks() - start) / (4 * BENCH_BATCH));
    }
    ping(0);
    bench_samples_print(&s, bench_ns_per_tick() / 2, "");
    bench_samples_free(&s);
}

/* -- memcpy ---------------------------------------------------------------------------------- */

static void measure_memcpy(size_t bytes, double ms)
{
    uint8_t *from = bench_buffer(bytes), *to = bench_buffer(bytes);
    const int batch = bytes < 1 << 20 ? (int) ((1 << 20) / bytes) : 1;
    struct bench_samples s;

    bench_samples_begin(&s, ms);
    while (bench_samples_more(&s)) {
        const uint64_t start = bench_ticks();

        for (int i = 0; i < batch; ++i) {
            memcpy(to, from, bytes);
            __asm__ volatile("" : : "r"(to) : "memory");
        }
        bench_samples_add(&s, (double) (bench_ticks() - start) / batch);
    }
    bench_samples_print(&s, bench_ns_per_tick(), "");
    bench_samples_free(&s);
    free(from);
    free(to);
}

/* -- two copies ------------------------------------------------------------------------------ */

/* Where the next chunk stands. Cells are packed: at a stride of a power of two they would compete
 * for the same sets of a cache. */
static uint8_t *place(struct end *e, const struct task *t)
{
    const size_t stride = (t->chunk + 2 * LINE - 1) / LINE * LINE;

    return t->bytes <= INLINE ? e->channel->slots[e->position % SLOTS].payload
                              : e->channel->cells + e->position % t->depth * stride + t->offset;
}

/* A CPU that waits may take from the other one of its core, which copies meanwhile. */
static inline void give_way(const struct task *t)
{
    if (t->gives_way) {
        _mm_pause();
    }
}

static void send_message(struct end *e, const struct task *t, const uint8_t *data)
{
    for (size_t at = 0; at < t->bytes; at += t->chunk) {
        const size_t n = t->bytes - at < t->chunk ? t->bytes - at : t->chunk;
        struct slot *slot = &e->channel->slots[e->position % SLOTS];

        while (e->position - e->consumed >= t->depth) {
            e->consumed = atomic_load_explicit(&e->channel->consumed, memory_order_acquire);
            give_way(t);
        }
        memcpy(place(e, t), data + at, n);
        atomic_store_explicit(&slot->position, ++e->position, memory_order_release);
    }
}

static void receive_message(struct end *e, const struct task *t, uint8_t *data)
{
    for (size_t at = 0; at < t->bytes; at += t->chunk) {
        const size_t n = t->bytes - at < t->chunk ? t->bytes - at : t->chunk;
        struct slot *slot = &e->channel->slots[e->position % SLOTS];

        while (atomic_load_explicit(&slot->position, memory_order_acquire) != e->position + 1) {
            give_way(t);
        }
        memcpy(data + at, place(e, t), n);
        atomic_store_explicit(&e->channel->consumed, ++e->position, memory_order_release);
    }
}

static struct end there, back;

/* The message buffers of a process, kept from one way to the next: fresh pages take longer than
 * the measurement. */
static struct buffer {
    uint8_t *data;
    size_t bytes;
} outgoing, incoming;

static uint8_t *at_least(struct buffer *b, size_t bytes)
{
    if (b->bytes < bytes) {
        free(b->data);
        b->data = bench_buffer(bytes);
        b->bytes = bytes;
    }
    return b->data;
}

/* Both processes, for as long as the first one says in the first byte of the first message. */
static void answer_messages(const struct task *t)
{
    uint8_t *in = at_least(&incoming, t->bytes * (size_t) t->window);
    uint8_t *out = at_least(&outgoing, t->bytes);
    struct task reply = *t;
    bool last = false;

    if (1 < t->window) {
        reply.bytes = reply.chunk = 1;
    }
    for (uint64_t n = 1; !last; ++n) {
        bench_fill(out, reply.bytes, n, false);
        if (1 < t->window) {
            send_message(&back, &reply, out);   /* ready: what came before has been read */
        }
        for (int i = 0; i < t->window; ++i) {
            receive_message(&there, t, in + (size_t) i * t->bytes);
        }
        send_message(&back, &reply, out);
        for (int i = 0; i < t->window; ++i) {
            last = bench_check(in + (size_t) i * t->bytes, t->bytes, n);
        }
    }
}

static double time_messages(const struct task *t, double ms)
{
    uint8_t *out = at_least(&outgoing, t->bytes * (size_t) t->window);
    uint8_t *in = at_least(&incoming, t->bytes);
    struct task reply = *t;
    struct bench_samples s;
    bool more = true;
    double ns;

    if (1 < t->window) {
        reply.bytes = reply.chunk = 1;
    }
    begin_task(t);
    bench_samples_begin(&s, ms);
    for (uint64_t n = 1; more; ++n) {
        uint64_t start;

        more = bench_samples_more(&s);
        for (int i = 0; i < t->window; ++i) {
            bench_fill(out + (size_t) i * t->bytes, t->bytes, n, !more);
        }
        if (1 < t->window) {
            receive_message(&back, &reply, in);
        }
        start = bench_ticks();
        for (int i = 0; i < t->window; ++i) {
            send_message(&there, t, out + (size_t) i * t->bytes);
        }
        receive_message(&back, &reply, in);
        start = bench_ticks() - start;
        (void) bench_check(in, reply.bytes, n);
        if (more) {
            bench_samples_add(&s, (double) start);
        }
    }
    bench_samples_sort(&s);
    ns = bench_ns_per_tick() * bench_samples_quantile(&s, 0.5) / (1 < t->window ? t->window : 2);
    bench_samples_free(&s);
    return ns;
}

static void try_task(const struct task *t, double ms, struct task *best, double *best_ns)
{
    const double ns = time_messages(t, ms);

    if (0 == best->chunk || ns < *best_ns) {
        *best = *t;
        *best_ns = ns;
    }
}

static void measure_twocopy(size_t bytes, double ms, int window)
{
    static const unsigned depths[] = { 2, 4, 16, 48 };
    struct task best = { .chunk = 0 }, other;
    double best_ns = 0;

    for (size_t chunk = 1024; chunk <= MAX_CHUNK; chunk *= 2) {
        if (bytes / chunk > MAX_PIECES) {
            continue;
        }
        for (size_t d = 0; d < sizeof depths / sizeof depths[0]; ++d) {
            const size_t pieces = (size_t) window * (1 + (bytes - 1) / chunk);
            struct task t = {
                .twocopy = true, .bytes = bytes, .window = window,
                .chunk = chunk < bytes ? chunk : bytes, .depth = depths[d]
            };

            if (0 < d && depths[d - 1] >= pieces) {
                break;  /* as the one before */
            }
            try_task(&t, ms, &best, &best_ns);
        }
        if (chunk >= bytes) {
            break;
        }
    }
    for (int i = 1; i < 4; ++i) {
        other = best;
        other.gives_way = 0 != (i & 1);
        other.offset = 0 != (i & 2) ? 24 : 0;
        try_task(&other, ms, &best, &best_ns);
    }
    printf("{\"median\": %.6g, \"chunk\": %zu, \"depth\": %u}\n", best_ns, best.chunk, best.depth);
}

/* -- orders ---------------------------------------------------------------------------------- */

static _Noreturn void second_process(int input)
{
    struct task t;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bind_to(1);
    while ((ssize_t) sizeof t == read(input, &t, sizeof t)) {
        if (t.twocopy) {
            answer_messages(&t);
        } else {
            pong();
        }
    }
    _exit(0);
}

int main(void)
{
    char line[256];
    int ends[2];

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (MAP_FAILED == shared || 0 != pipe(ends)) {
        bench_die("no memory or no pipe");
    }
    tasks = ends[1];
    there.channel = &shared->there;
    back.channel = &shared->back;
    child = fork();
    if (child < 0) {
        bench_die("fork failed");
    }
    if (0 == child) {
        close(ends[1]);
        second_process(ends[0]);
    }
    close(ends[0]);
    bind_to(0);
    bench_clock_init();
    printf("{\"ranks\": 2}\n");
    fflush(stdout);
    while (NULL != fgets(line, sizeof line, stdin)) {
        double ms;
        long long bytes;
        int window;

        if (1 == sscanf(line, "line %lf", &ms)) {
            measure_line(ms);
        } else if (2 == sscanf(line, "memcpy %lld %lf", &bytes, &ms) && 0 < bytes) {
            measure_memcpy((size_t) bytes, ms);
        } else if (3 == sscanf(line, "twocopy %lld %lf %d", &bytes, &ms, &window) && 0 < bytes
                   && 0 < window) {
            measure_twocopy((size_t) bytes, ms, window);
        } else if (0 == strncmp(line, "quit", 4)) {
            break;
        } else {
            bench_die("an order cannot be understood");
        }
        fflush(stdout);
    }
    close(tasks);
    waitpid(child, NULL, 0);
    return 0;
}
