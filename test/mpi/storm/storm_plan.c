/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a plan. Its rules are those that keep it legal and free of deadlock: see storm.h. */
#include "storm.h"

#include <stdarg.h>

#define STEP 1000u              /* times of one operation and the next */

static void *grow(size_t n, size_t bytes)
{
    void *p = calloc(n ? n : 1, bytes);

    CHECK(NULL != p, "out of memory");
    return p;
}

/* ----------------------------------------------------------------------------- communicators -- */

static void draw_comms(struct storm_plan *plan)
{
    uint64_t random = vt_mix(plan->seed, 0x636f6d);
    int more = (int) vt_rand_below(&random, 5);

    plan->comms = 1;
    plan->comm[0] = (struct storm_comm) {.kind = STORM_WORLD, .last = plan->ops, .used = true,
                                         .comm = MPI_COMM_WORLD};
    for (int i = 0; i < more; ++i) {
        struct storm_comm *c = &plan->comm[plan->comms++];
        int a = (int) vt_rand_below(&random, (size_t) plan->ops);
        int b = (int) vt_rand_below(&random, (size_t) plan->ops);

        memset(c, 0, sizeof(*c));
        c->kind = (enum storm_comm_kind) (1 + vt_rand_below(&random, 3));
        c->colors = STORM_SPLIT == c->kind ? 1 + (int) vt_rand_below(&random, 3) : 2;
        c->detail = vt_rand(&random);
        c->first = a < b ? a : b;
        c->last = a < b ? b : a;
        c->early = 0 == vt_rand_below(&random, 3);
        c->comm = MPI_COMM_NULL;
        if (STORM_INTER == c->kind && plan->ranks < 2) {
            c->kind = STORM_DUP;
        }
    }
}

/* One that exists at the operation, most often that of the world. */
static int draw_comm(const struct storm_plan *plan, int number, bool intra, uint64_t *random)
{
    int at = (int) vt_rand_below(random, (size_t) (2 * plan->comms));

    if (at >= plan->comms || number < plan->comm[at].first || number > plan->comm[at].last
        || (intra && STORM_INTER == plan->comm[at].kind)) {
        return 0;
    }
    return at;
}

/* --------------------------------------------------------------------------------- one message -- */

static void draw_pair(const struct storm_plan *plan, const struct storm_mix *mix,
                      const struct storm_comm *comm, uint64_t *random, int *src, int *dst)
{
    const size_t n = (size_t) plan->ranks;

    for (int tries = 0; tries < 200; ++tries) {
        *src = (int) vt_rand_below(random, n);
        *dst = (int) vt_rand_below(random, n);
        /* After a while whoever is possible. */
        if (tries < 20 && 0 != vt_rand_below(random, 10)) {
            switch (mix->pattern) {
            case 1:             /* one pair, both ways */
                *src = mix->favourite[vt_rand_below(random, 2)];
                *dst = *src == mix->favourite[0] ? mix->favourite[1] : mix->favourite[0];
                break;
            case 2: *dst = mix->favourite[0]; break;
            case 3: *src = mix->favourite[0]; break;
            case 4: *src = mix->favourite[0]; *dst = mix->favourite[1]; break;
            default: break;
            }
        }
        if (storm_comm_joins(comm, *src, *dst)
            && (*src != *dst || 0 == vt_rand_below(random, 20) || 1 == plan->ranks)) {
            return;
        }
    }
    for (int i = 0; i < plan->ranks * plan->ranks; ++i) {
        *src = i / plan->ranks;
        *dst = i % plan->ranks;
        if (storm_comm_joins(comm, *src, *dst)) {
            return;
        }
    }
}

static enum storm_shape draw_shape(int gaps, bool sends, uint64_t *random)
{
    if (!storm_percent(gaps, random)) {
        return STORM_CONTIGUOUS;
    }
    return (enum storm_shape) (1 + vt_rand_below(random, sends ? STORM_SHAPES - 1 : STORM_SHAPES - 2));
}

static uint64_t draw_span(const struct storm_mix *mix, uint64_t *random)
{
    uint64_t most = STEP * (1 + vt_rand_below(random, (size_t) mix->span));

    return 1 + vt_rand_below(random, most);
}

static void draw_side(const struct storm_mix *mix, struct storm_side *side, bool sends,
                      uint64_t *random)
{
    side->shape = draw_shape(sends ? mix->send_gaps : mix->recv_gaps, sends, random);
    side->detail = vt_rand(random);
    side->blocking = storm_percent(mix->blocking_percent, random);
    side->finish = (enum storm_finish) vt_rand_below(random, STORM_FREE);
}

/* When each side begins and ends. `a` is the earliest time. */
static void draw_times(const struct storm_mix *mix, const struct storm_op *op,
                       struct storm_message *m, uint64_t a, uint64_t *random)
{
    struct storm_side *s = &m->send, *r = &m->recv;
    bool free_order = STORM_BUFFERED == op->mode;      /* the send needs no receive */

    if (STORM_READY == op->mode) {      /* the receive is posted first, and that takes a while */
        r->blocking = false;
        r->start = a;
        s->start = a + draw_span(mix, random);
    } else if (STORM_PLAIN != op->how) {        /* the send comes first */
        s->blocking = s->blocking && free_order;
        s->start = a;
        r->start = a + draw_span(mix, random);
    } else if (s->blocking && r->blocking && !free_order) {
        s->start = r->start = a;
    } else if (s->blocking && !free_order) {
        r->start = a;
        s->start = a + draw_span(mix, random);
    } else if (r->blocking) {
        s->start = a;
        r->start = a + draw_span(mix, random);
    } else {
        s->start = r->start = a;
        *(0 == vt_rand_below(random, 2) ? &s->start : &r->start) += draw_span(mix, random);
    }
    /* Both sides of a message to oneself are one after the other. */
    if (m->src == m->dst) {
        s->blocking = s->blocking && free_order;
        r->blocking = r->blocking && r->start > s->start;
    }
    a = s->start > r->start ? s->start : r->start;
    s->end = a + draw_span(mix, random);
    r->end = a + draw_span(mix, random);
    if (s->blocking) {
        s->end = s->start;
    }
    if (r->blocking) {
        r->end = r->start;
    }
}

/* Of two messages under the same tag the one that is sent first must be received first. */
static bool same_order(const struct storm_op *p, const struct storm_op *q)
{
    const struct storm_message *a = &p->m[0], *b = &q->m[0];
    bool sent_first = a->send.start < b->send.start
                      || (a->send.start == b->send.start && p->number < q->number);
    bool received_first = a->recv.start < b->recv.start
                          || (a->recv.start == b->recv.start && p->number < q->number);

    return sent_first == received_first && p->thread == q->thread;
}

static void draw_tag(const struct storm_plan *plan, const struct storm_mix *mix, struct storm_op *op,
                     uint64_t *random)
{
    struct storm_message *m = &op->m[0];

    m->tag = 1000 + op->number;
    if (!storm_percent(mix->shared_tags, random) || STORM_CANCEL == op->how) {
        return;
    }
    m->tag = (int) vt_rand_below(random, 3);
    for (int i = 0; i < op->number; ++i) {
        const struct storm_op *o = &plan->op[i];

        if (STORM_MESSAGE == o->kind && o->comm == op->comm && o->m[0].src == m->src
            && o->m[0].dst == m->dst && o->m[0].tag == m->tag && !same_order(o, op)) {
            m->tag = 1000 + op->number;
            return;
        }
    }
}

static void draw_size(const struct storm_mix *mix, struct storm_op *op, struct storm_message *m,
                      uint64_t *random)
{
    m->elements = storm_mix_size(mix, random) / storm_element_bytes(op->element);
    m->room = m->elements;
    if (0 == vt_rand_below(random, 8)) {
        m->room += vt_rand_below(random, m->elements / 2 + 20);
    }
}

/* The buffer for buffered sends is not endless. */
static void limit_buffered(struct storm_plan *plan, struct storm_op *op)
{
    size_t bytes = 0;
    int src = op->m[0].src;

    if (STORM_BUFFERED != op->mode) {
        return;
    }
    for (int i = 0; i < op->parts; ++i) {
        bytes += op->m[i].elements * storm_element_bytes(op->element) + MPI_BSEND_OVERHEAD + 4096;
    }
    if (plan->buffered[src] + bytes > (16u << 20)) {
        op->mode = STORM_STANDARD;
    } else {
        plan->buffered[src] += bytes;
    }
}

static void draw_message(struct storm_plan *plan, const struct storm_mix *mix, struct storm_op *op,
                         uint64_t *random)
{
    struct storm_message *m;

    op->comm = draw_comm(plan, op->number, false, random);
    op->parts = 1;
    op->m = m = grow(1, sizeof(*m));
    draw_pair(plan, mix, &plan->comm[op->comm], random, &m->src, &m->dst);
    op->mode = (enum storm_mode) storm_pick(mix->mode, STORM_MODES, random);
    op->how = (enum storm_how) storm_pick(mix->how, STORM_HOWS, random);
    draw_size(mix, op, m, random);
    limit_buffered(plan, op);
    if (STORM_READY == op->mode) {
        op->how = STORM_PLAIN;
    }
    draw_side(mix, &m->send, true, random);
    draw_side(mix, &m->recv, false, random);
    draw_times(mix, op, m, (uint64_t) op->number * STEP, random);
    if (!m->send.blocking && STORM_BUFFERED != op->mode && 0 == vt_rand_below(random, 12)) {
        m->send.finish = STORM_FREE;
    }
    if (STORM_PLAIN != op->how && STORM_LATE != op->how) {
        m->recv.blocking = true;
        m->recv.end = m->recv.start;
    }
    /* Of oneself ob1 gets all of a message, however short the buffer is; and an error over a communicator
     * that was freed meanwhile has no handler. */
    if ((STORM_PLAIN == op->how || STORM_LATE == op->how) && 0 < m->elements && m->src != m->dst
        && !plan->comm[op->comm].early
        && STORM_FREE != m->send.finish && storm_percent(mix->truncated, random)) {
        m->room = vt_rand_below(random, m->elements);
    }
    draw_tag(plan, mix, op, random);
}

/* ------------------------------------------------------------------ several messages, or times -- */

static void draw_persistent(struct storm_plan *plan, const struct storm_mix *mix, struct storm_op *op,
                            uint64_t *random)
{
    uint64_t a = (uint64_t) op->number * STEP;
    struct storm_message m = {.tag = 1000 + op->number};

    op->comm = draw_comm(plan, op->number, STORM_PARTITIONED == op->kind, random);
    op->parts = 2 + (int) vt_rand_below(random, 4);
    op->m = grow((size_t) op->parts, sizeof(*op->m));
    op->how = STORM_PLAIN;
    draw_pair(plan, mix, &plan->comm[op->comm], random, &m.src, &m.dst);
    op->mode = STORM_PARTITIONED == op->kind
               ? STORM_STANDARD : (enum storm_mode) storm_pick(mix->mode, STORM_MODES, random);
#if defined(OPEN_MPI)
    /* Open MPI 4.1 sends a persistent buffered message from freed memory from its second time on, over
     * every BTL. */
    if (STORM_BUFFERED == op->mode) {
        op->mode = STORM_STANDARD;
    }
#endif
    draw_size(mix, op, &m, random);
    if (STORM_PARTITIONED == op->kind) {
        op->partitions = 2 * (1 + (int) vt_rand_below(random, 8));
        m.elements -= m.elements % (size_t) op->partitions;
        m.room = m.elements;
    }
    draw_side(mix, &m.send, true, random);
    draw_side(mix, &m.recv, false, random);
    if (STORM_PARTITIONED == op->kind) {
        m.send.shape = m.recv.shape = STORM_CONTIGUOUS;
    }
    m.send.blocking = m.recv.blocking = false;
    for (int i = 0; i < op->parts; ++i) {
        op->m[i] = m;
    }
    limit_buffered(plan, op);
    for (int i = 0; i < op->parts; ++i) {
        draw_times(mix, op, &op->m[i], a, random);
        op->m[i].send.finish = (enum storm_finish) vt_rand_below(random, STORM_FREE);
        op->m[i].recv.finish = (enum storm_finish) vt_rand_below(random, STORM_FREE);
        /* A request is started again after it was completed. */
        a = op->m[i].send.end > op->m[i].recv.end ? op->m[i].send.end : op->m[i].recv.end;
        a += 1;
    }
}

/* Has the receiver, or the pair, already a wildcard for any tag in this plan? */
static bool any_tag_taken(const struct storm_plan *plan, const struct storm_op *op, int dst)
{
    for (int i = 0; i < op->number; ++i) {
        const struct storm_op *o = &plan->op[i];

        if (STORM_WILD == o->kind && o->any_tag && o->m[0].dst == dst) {
            return true;
        }
    }
    return false;
}

static void draw_wild(struct storm_plan *plan, const struct storm_mix *mix, struct storm_op *op,
                      uint64_t *random)
{
    uint64_t a = (uint64_t) op->number * STEP, sent = 0;
    bool posted = 0 == vt_rand_below(random, 2), probed = !posted && 0 == vt_rand_below(random, 2);
    int src, dst, one;
    size_t room = 0;

    op->parts = 2 + (int) vt_rand_below(random, 9);
    op->m = grow((size_t) op->parts, sizeof(*op->m));
    draw_pair(plan, mix, &plan->comm[0], random, &src, &dst);
    one = src;
    op->mode = 0 == vt_rand_below(random, 4) ? STORM_SYNCHRONOUS : STORM_STANDARD;
    op->any_source = 0 != vt_rand_below(random, 4);
    op->any_tag = (!op->any_source || 0 == vt_rand_below(random, 2))
                  && !any_tag_taken(plan, op, dst);
    op->how = posted ? STORM_PLAIN : !probed ? STORM_LATE
              : 0 == vt_rand_below(random, 2) ? STORM_PROBE : STORM_MPROBE;
    for (int i = 0; i < op->parts; ++i) {
        struct storm_message *m = &op->m[i];

        src = (int) vt_rand_below(random, (size_t) plan->ranks);
        m->src = op->any_source ? src : one;
        m->dst = dst;
        m->tag = 1000 + op->number + (op->any_tag ? STORM_MAX_OPS * (int) vt_rand_below(random, 3) : 0);
        draw_size(mix, op, m, random);
        draw_side(mix, &m->send, true, random);
        draw_side(mix, &m->recv, false, random);
        m->send.blocking = m->send.blocking && posted && m->src != dst;
        m->recv.blocking = !posted;
        m->recv.start = a;
        m->send.start = a + 1 + draw_span(mix, random);
        if (sent < m->send.start) {
            sent = m->send.start;
        }
        if (room < m->elements) {
            room = m->elements;
        }
    }
    for (int i = 0; i < op->parts; ++i) {
        struct storm_message *m = &op->m[i];

        m->room = room;
        if (!posted) {
            m->recv.start = sent + 1 + (uint64_t) i;
        }
        m->recv.end = posted ? sent + 1 + draw_span(mix, random) : m->recv.start;
        m->send.end = m->send.blocking ? m->send.start
                                       : (posted ? m->send.start : sent + 1 + (uint64_t) op->parts)
                                             + draw_span(mix, random);
        if (posted) {           /* whichever comes first: each may wait for the last one */
            m->send.end = m->send.blocking ? m->send.end : sent + 1 + draw_span(mix, random);
        }
    }
}

static void draw_exchange(struct storm_plan *plan, const struct storm_mix *mix, struct storm_op *op,
                          uint64_t *random)
{
    int members[STORM_MAX_RANKS], n, src, dst, want;
    size_t elements = storm_mix_size(mix, random) / storm_element_bytes(op->element);

    op->comm = draw_comm(plan, op->number, true, random);
    draw_pair(plan, mix, &plan->comm[op->comm], random, &src, &dst);
    n = storm_comm_group(&plan->comm[op->comm], plan->ranks, src, members);
    for (int i = n - 1; i > 0; --i) {
        int j = (int) vt_rand_below(random, (size_t) i + 1), t = members[i];

        members[i] = members[j];
        members[j] = t;
    }
    want = 2 + (int) vt_rand_below(random, 4);
    op->parts = n < want ? n : want;
    op->m = grow((size_t) op->parts, sizeof(*op->m));
    op->replace = 0 == vt_rand_below(random, 2);
    op->time = (uint64_t) op->number * STEP;
    for (int i = 0; i < op->parts; ++i) {
        struct storm_message *m = &op->m[i];

        m->src = members[i];
        m->dst = members[(i + 1) % op->parts];
        m->tag = 1000 + op->number;
        draw_size(mix, op, m, random);
        if (op->replace) {
            m->elements = m->room = elements;
        }
        draw_side(mix, &m->send, !op->replace, random);
        draw_side(mix, &m->recv, false, random);
        m->send.start = m->send.end = m->recv.start = m->recv.end = op->time;
    }
}

static void draw_collective(struct storm_plan *plan, const struct storm_mix *mix, struct storm_op *op,
                            uint64_t *random)
{
    int members[STORM_MAX_RANKS], n;

    op->comm = draw_comm(plan, op->number, true, random);
    op->thread = op->comm % plan->threads;
    op->collective = (enum storm_collective) vt_rand_below(random, STORM_COLLECTIVES);
    op->nonblocking = 0 == vt_rand_below(random, 3);
    op->time = op->end = (uint64_t) op->number * STEP;
    if (op->nonblocking) {
        op->end += draw_span(mix, random);
    }
    op->finish = (enum storm_finish) vt_rand_below(random, STORM_FREE);
    op->root = (int) vt_rand_below(random, (size_t) plan->ranks);
    n = storm_comm_group(&plan->comm[op->comm], plan->ranks, op->root, members);
    op->elements = storm_mix_size(mix, random) / storm_element_bytes(op->element) / (size_t) n;
    op->detail = vt_rand(random);
}

static void draw_op(struct storm_plan *plan, const struct storm_mix *mix, int number)
{
    struct storm_op *op = &plan->op[number];
    uint64_t random = vt_mix(vt_mix(plan->seed, 0x6f70), (uint64_t) number);

    op->number = number;
    op->kept = true;
    op->kind = (enum storm_kind) storm_pick(mix->weight, STORM_KINDS, &random);
    if (STORM_PARTITIONED == op->kind && MPI_VERSION < 4) {
        op->kind = STORM_PERSISTENT;
    }
    op->thread = (int) vt_rand_below(&random, (size_t) plan->threads);
    op->element = (enum storm_element) vt_rand_below(&random, STORM_ELEMENTS);
    switch (op->kind) {
    case STORM_MESSAGE: draw_message(plan, mix, op, &random); break;
    case STORM_PERSISTENT:
    case STORM_PARTITIONED: draw_persistent(plan, mix, op, &random); break;
    case STORM_WILD: draw_wild(plan, mix, op, &random); break;
    case STORM_EXCHANGE: draw_exchange(plan, mix, op, &random); break;
    case STORM_COLLECTIVE: draw_collective(plan, mix, op, &random); break;
    case STORM_NOBODY:
        op->rank = (int) vt_rand_below(&random, (size_t) plan->ranks);
        op->time = (uint64_t) number * STEP;
        op->elements = storm_mix_size(mix, &random) / storm_element_bytes(op->element);
        break;
    default:
        op->rank = (int) vt_rand_below(&random, (size_t) plan->ranks + 1) - 1;
        op->idle = (enum storm_idle) vt_rand_below(&random, STORM_IDLES);
        op->microseconds = 1u << vt_rand_below(&random, 14);
        op->time = (uint64_t) number * STEP;
        break;
    }
}

struct storm_plan *storm_plan_make(uint64_t seed, int ranks, int threads, int ops, size_t max)
{
    struct storm_plan *plan = grow(1, sizeof(*plan));
    struct storm_mix mix;

    plan->seed = seed;
    plan->ranks = ranks;
    plan->threads = threads;
    plan->ops = ops;
    plan->max = max;
    plan->op = grow((size_t) ops, sizeof(*plan->op));
    storm_mix_draw(&mix, seed, ranks, max);
    draw_comms(plan);
    for (int i = 0; i < ops; ++i) {
        draw_op(plan, &mix, i);
    }
    /* When each communicator is made and freed depends on all operations, kept or not. */
    for (int c = 1; c < plan->comms; ++c) {
        struct storm_comm *comm = &plan->comm[c];

        comm->made = comm->freed = (uint64_t) comm->first * STEP;
        for (int i = 0; i < ops; ++i) {
            const struct storm_op *op = &plan->op[i];
            uint64_t last = op->end;

            if (op->comm != c) {
                continue;
            }
            for (int k = 0; k < op->parts; ++k) {
                const struct storm_message *m = &op->m[k];
                /* A persistent request is still to be started, a cancelled one to be repeated. */
                bool whole = !comm->early || STORM_MESSAGE != op->kind;
                uint64_t s = whole ? m->send.end : m->send.start;
                uint64_t r = whole ? m->recv.end : m->recv.start;

                last = last < s ? s : last;
                last = last < r ? r : last;
            }
            comm->freed = comm->freed < last ? last : comm->freed;
        }
        comm->freed += 1;
    }
    return plan;
}

void storm_plan_free(struct storm_plan *plan)
{
    for (int i = 0; i < plan->ops; ++i) {
        free(plan->op[i].m);
    }
    free(plan->op);
    free(plan);
}

/* ------------------------------------------------------------------------------------- in words -- */

static const char *const mode_names[STORM_MODES] = {"", "synchronous ", "buffered ", "ready "};
static const char *const how_names[STORM_HOWS] = {"", "late ", "probed ", "iprobed ", "mprobed ",
                                                  "improbed ", "cancelled "};
static const char *const shape_names[STORM_SHAPES] = {
    "contiguous", "vector", "indexed", "struct", "resized", "negative", "nested", "subarray",
    "overlapping"};
static const char *const collective_names[STORM_COLLECTIVES] = {
    "barrier", "bcast", "reduce", "allreduce", "reduce_scatter", "scan", "gatherv", "scatterv",
    "allgatherv", "alltoall transposed", "alltoallv", "alltoallw"};
static const char *const idle_names[STORM_IDLES] = {"sleeps", "computes", "makes progress"};

static const char *const finish_names[STORM_FINISHES] = {"wait", "test", "waitany", "testany",
                                                         "waitsome", "testsome", "waitall", "testall",
                                                         "freed"};

static void add(char *text, size_t room, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t room, const char *fmt, ...)
{
    size_t n = strlen(text);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text + n, room - n, fmt, ap);
    va_end(ap);
}

static void add_message(char *text, size_t room, const struct storm_op *op,
                        const struct storm_message *m)
{
    add(text, room, "%d to %d, tag %d, %zu bytes, %ssend %s%s, %sreceive %s%s", m->src, m->dst, m->tag,
        m->elements * storm_element_bytes(op->element), mode_names[op->mode],
        shape_names[m->send.shape], m->send.blocking ? "" : ", ", how_names[op->how],
        shape_names[m->recv.shape], m->recv.blocking ? "" : ", ");
    if (!m->recv.blocking) {
        add(text, room, "%s", finish_names[m->recv.finish]);
    }
    if (m->room < m->elements) {
        add(text, room, ", truncated to %zu", m->room * storm_element_bytes(op->element));
    }
}

const char *storm_describe(const struct storm_plan *plan, const struct storm_op *op)
{
    static _Thread_local char text[400];
    static const char *const comms[] = {"", " over a dup", " over a split", " over an intercomm"};

    text[0] = '\0';
    switch (op->kind) {
    case STORM_MESSAGE:
        add_message(text, sizeof(text), op, &op->m[0]);
        break;
    case STORM_PERSISTENT:
    case STORM_PARTITIONED:
        add(text, sizeof(text), "%s, %d times ",
            STORM_PARTITIONED == op->kind ? "partitioned" : "persistent", op->parts);
        add_message(text, sizeof(text), op, &op->m[0]);
        break;
    case STORM_WILD:
        add(text, sizeof(text), "%d messages to %d, %s source, %s tag, %s", op->parts, op->m[0].dst,
            op->any_source ? "any" : "one", op->any_tag ? "any" : "one",
            STORM_PLAIN == op->how ? "posted" : how_names[op->how]);
        break;
    case STORM_EXCHANGE:
        add(text, sizeof(text), "sendrecv%s of %d ranks, %zu bytes and others",
            op->replace ? "_replace" : "", op->parts,
            op->m[0].elements * storm_element_bytes(op->element));
        break;
    case STORM_NOBODY:
        add(text, sizeof(text), "receive of rank %d that nobody sends to, cancelled", op->rank);
        break;
    case STORM_COLLECTIVE:
        add(text, sizeof(text), "%s%s, %zu bytes for each", op->nonblocking ? "nonblocking " : "",
            collective_names[op->collective], op->elements * storm_element_bytes(op->element));
        break;
    default:
        add(text, sizeof(text), "rank %d (-1: all) %s for %u us", op->rank, idle_names[op->idle],
            op->microseconds);
        break;
    }
    if (STORM_DELAY != op->kind && STORM_NOBODY != op->kind) {
        add(text, sizeof(text), "%s", comms[plan->comm[op->comm].kind]);
    }
    return text;
}

void storm_plan_print(const struct storm_plan *plan)
{
    for (int i = 0; i < plan->ops; ++i) {
        const struct storm_op *op = &plan->op[i];

        if (!op->kept) {
            continue;
        }
        printf("plan %llu operation %d: %s\n", (unsigned long long) plan->seed, i,
               storm_describe(plan, op));
        for (int k = 0; k < op->parts && 0 != op->parts; ++k) {
            const struct storm_message *m = &op->m[k];

            printf("    part %d: %d to %d, %zu bytes; sent at %llu to %llu, received at %llu to %llu\n",
                   k, m->src, m->dst, m->elements * storm_element_bytes(op->element),
                   (unsigned long long) m->send.start, (unsigned long long) m->send.end,
                   (unsigned long long) m->recv.start, (unsigned long long) m->recv.end);
        }
    }
}
