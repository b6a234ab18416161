/* SPDX-License-Identifier: BSD-3-Clause */
/* Collectives, blocking and not: among the group that each rank of the communicator is in. */
#include "storm.h"

/* Words of a reduction: each rank computes all others' for the check. */
#define MOST_WORDS 20000u

#define OWN_PIECE 65536

struct state {
    struct storm_pending pending;
    int n, me, root;            /* in the group */
    int members[STORM_MAX_RANKS];
    struct storm_buffer out, in;
    int out_count[STORM_MAX_RANKS], in_count[STORM_MAX_RANKS];
    int out_at[STORM_MAX_RANKS], in_at[STORM_MAX_RANKS];
    MPI_Datatype out_type[STORM_MAX_RANKS], in_type[STORM_MAX_RANKS];
    struct storm_layout out_layout[STORM_MAX_RANKS], in_layout[STORM_MAX_RANKS];
    int zero[1];
    size_t words, row, rows;
    bool in_place;
};

/* Bytes or elements from one member to another, by what they are called in the world. */
static size_t share(const struct storm_op *op, int src, int dst)
{
    uint64_t h = vt_mix(op->detail, (uint64_t) (src * STORM_MAX_RANKS + dst));

    return 0 == h % 5 ? 0 : (h >> 8) % (op->elements + 1);
}

static enum storm_shape shape_of(const struct storm_op *op, int a, int b, bool sends, uint64_t *detail)
{
    uint64_t random = vt_mix(op->detail, (uint64_t) (4096 + (a * STORM_MAX_RANKS + b) * 2 + sends));
    enum storm_shape shape = 0 == vt_rand_below(&random, 2)
                             ? STORM_CONTIGUOUS
                             : (enum storm_shape) vt_rand_below(&random, STORM_OVERLAPPING);

    *detail = vt_rand(&random);
    return shape;
}

/* Open MPI 4.1 chooses how to broadcast by count and type of each rank, which hangs or truncates if they
 * choose differently: all are contiguous, or all are one element of some type. */
static enum storm_shape bcast_shape(const struct storm_op *op, int rank, uint64_t *detail)
{
    static const enum storm_shape ones[] = {STORM_VECTOR, STORM_INDEXED, STORM_STRUCT, STORM_NESTED,
                                            STORM_SUBARRAY};
    uint64_t random = vt_mix(op->detail, (uint64_t) (4096 + rank));

    *detail = vt_rand(&random);
    return 0 == (op->detail >> 20) % 2 ? STORM_CONTIGUOUS
                                       : ones[vt_rand_below(&random, sizeof(ones) / sizeof(ones[0]))];
}

static uint64_t stamp_of(const struct storm_thread *thread, const struct storm_op *op, int src, int dst)
{
    return storm_stamp(storm_stamp_of(thread->plan, op, dst, src));
}

static void *at(const struct storm_buffer *b, int elements, const struct storm_op *op)
{
    return b->origin + (size_t) elements * storm_element_bytes(op->element);
}

/* Places for counts one after the other with a little between; returns the bytes of all. */
static size_t lay_out(const struct storm_op *op, const int *count, int *place, int n)
{
    int at_element = 0;

    for (int i = 0; i < n; ++i) {
        at_element += (int) (vt_mix(op->detail, (uint64_t) (9000 + i)) % 5);
        place[i] = at_element;
        at_element += count[i];
    }
    return (size_t) at_element * storm_element_bytes(op->element);
}

/* The other members' layouts, one after the other in one buffer. */
static void lay_out_each(const struct storm_op *op, struct state *s, bool sends)
{
    struct storm_layout *layout = sends ? s->out_layout : s->in_layout;
    int *count = sends ? s->out_count : s->in_count, *place = sends ? s->out_at : s->in_at;
    MPI_Datatype *type = sends ? s->out_type : s->in_type;
    const int me = s->members[s->me];
    ptrdiff_t end = 0;

    for (int i = 0; i < s->n; ++i) {
        int src = sends ? me : s->members[i], dst = sends ? s->members[i] : me;
        uint64_t detail;
        enum storm_shape shape = shape_of(op, src, dst, sends, &detail);

        /* Open MPI 4.1 copies the own part in pieces of 64 KiB if the two types differ, over whatever
         * transport, and with some types loses what of an element stands behind the end of a piece. */
        if (src == dst && share(op, src, dst) * storm_element_bytes(op->element) > OWN_PIECE) {
            shape = STORM_CONTIGUOUS;
        }
        storm_layout_make(&layout[i], shape, detail, op->element, share(op, src, dst), true);
        end = ((end + 7) & ~(ptrdiff_t) 7) - layout[i].low;
        place[i] = (int) end;
        end += layout[i].high;
        count[i] = layout[i].count;
        type[i] = layout[i].type;
    }
    storm_buffer_around(sends ? &s->out : &s->in, (size_t) end);
}

static void fill_layout(unsigned char *origin, const struct storm_layout *l, uint64_t stamp)
{
    size_t offset = 0;

    for (size_t i = 0; i < l->blocks; ++i) {
        storm_fill(stamp, origin + l->block[i].at, offset, l->block[i].bytes);
        offset += l->block[i].bytes;
    }
}

static void check_layout(struct storm_thread *thread, const struct storm_op *op, int part,
                         unsigned char *origin, const struct storm_layout *l, uint64_t stamp)
{
    size_t offset = 0;

    for (size_t i = 0; i < l->blocks; ++i) {
        storm_check_piece(thread->plan, op, part, origin + l->block[i].at, stamp, offset,
                          l->block[i].bytes);
        offset += l->block[i].bytes;
    }
}

static int call(const struct storm_op *op, struct state *s, MPI_Comm comm)
{
    MPI_Datatype base = storm_element_type(op->element);
    MPI_Request *request = &s->pending.request;
    void *out = s->in_place ? MPI_IN_PLACE : s->out.origin, *in = s->in.origin;
    const int words = (int) s->words;
    const struct storm_layout *lo = &s->out.layout, *li = &s->in.layout;
    MPI_Op sum = op->detail & 1 ? MPI_SUM : MPI_BXOR;

#define CALL(now, later, ...) \
    (op->nonblocking ? MPI_I##later(__VA_ARGS__, request) : MPI_##now(__VA_ARGS__))
    switch (op->collective) {
    case STORM_BARRIER:
        return CALL(Barrier, barrier, comm);
    case STORM_BCAST:
        return CALL(Bcast, bcast, in, li->count, li->type, s->root, comm);
    case STORM_REDUCE:
        return CALL(Reduce, reduce, out, in, words, MPI_UINT64_T, sum, s->root, comm);
    case STORM_ALLREDUCE:
        return CALL(Allreduce, allreduce, out, in, words, MPI_UINT64_T, sum, comm);
    case STORM_REDUCE_SCATTER:
        return CALL(Reduce_scatter, reduce_scatter, out, in, s->in_count, MPI_UINT64_T, sum, comm);
    case STORM_SCAN:
        return CALL(Scan, scan, out, in, words, MPI_UINT64_T, sum, comm);
    case STORM_GATHERV:
        return CALL(Gatherv, gatherv, out, lo->count, lo->type, in, s->in_count, s->in_at, base, s->root,
                    comm);
    case STORM_SCATTERV:
        return CALL(Scatterv, scatterv, out, s->out_count, s->out_at, base, in, li->count, li->type,
                    s->root, comm);
    case STORM_ALLGATHERV:
        return CALL(Allgatherv, allgatherv, out, lo->count, lo->type, in, s->in_count, s->in_at, base,
                    comm);
    case STORM_TRANSPOSE:
        return CALL(Alltoall, alltoall, out, (int) (s->rows * s->row), base, in, 1, li->type, comm);
    case STORM_ALLTOALLV:
        return CALL(Alltoallv, alltoallv, out, s->out_count, s->out_at, base, in, s->in_count, s->in_at,
                    base, comm);
    default:
        /* Alone in a group Open MPI 4.1 takes displacements for elements. */
        if (1 == s->n) {
            out = s->out.origin + s->out_at[0];
            in = s->in.origin + s->in_at[0];
            return CALL(Alltoallw, alltoallw, out, s->out_count, s->zero, s->out_type, in, s->in_count,
                        s->zero, s->in_type, comm);
        }
        return CALL(Alltoallw, alltoallw, out, s->out_count, s->out_at, s->out_type, in, s->in_count,
                    s->in_at, s->in_type, comm);
    }
}

static void make_words(struct storm_thread *thread, const struct storm_op *op, struct state *s)
{
    const int me = s->members[s->me];
    uint64_t stamp = stamp_of(thread, op, me, 0), *to;

    s->words = op->elements * storm_element_bytes(op->element) / 8;
    s->words = s->words > MOST_WORDS ? MOST_WORDS : s->words;
    if (STORM_REDUCE_SCATTER == op->collective) {
        size_t all = s->words;

        s->words = 0;
        for (int i = 0; i < s->n; ++i) {
            s->in_count[i] = (int) (vt_mix(op->detail, (uint64_t) i) % (all / (size_t) s->n + 1));
            s->words += (size_t) s->in_count[i];
        }
    }
    s->in_place = STORM_ALLREDUCE == op->collective && 0 != (op->detail & 2);
    storm_buffer_around(&s->out, 8 * s->words);
    storm_buffer_around(&s->in, 8 * s->words);
    to = (uint64_t *) (void *) (s->in_place ? s->in : s->out).origin;
    for (size_t i = 0; i < s->words; ++i) {
        to[i] = storm_word(stamp, i);
    }
}

static void check_words(struct storm_thread *thread, const struct storm_op *op, struct state *s)
{
    size_t first = 0, n = s->words;
    int last = s->n - 1;
    uint64_t *in = (uint64_t *) (void *) s->in.origin;

    if (STORM_REDUCE == op->collective && s->me != s->root) {
        n = 0;
    } else if (STORM_REDUCE_SCATTER == op->collective) {
        for (int i = 0; i < s->me; ++i) {
            first += (size_t) s->in_count[i];
        }
        n = (size_t) s->in_count[s->me];
    } else if (STORM_SCAN == op->collective) {
        last = s->me;
    }
    for (size_t i = 0; i < n; ++i) {
        uint64_t expected = 0;

        for (int k = 0; k <= last; ++k) {
            uint64_t w = storm_word(stamp_of(thread, op, s->members[k], 0), first + i);

            expected = op->detail & 1 ? expected + w : expected ^ w;
        }
        if (in[i] != expected) {
            storm_fail(thread->plan, op, 0, "word %zu of %zu of the result is wrong", i, n);
        }
    }
    memset(in, 0xdb, 8 * n);
    storm_check_poison(thread->plan, op, 0, &s->in, "result");
    vt_count(1, 8 * n);
}

static void make(struct storm_thread *thread, const struct storm_op *op, struct state *s)
{
    const int me = s->members[s->me], root = s->members[s->root];
    size_t bytes;
    uint64_t detail = 0;
    enum storm_shape shape;

    switch (op->collective) {
    case STORM_BARRIER:
        return;
    case STORM_REDUCE:
    case STORM_ALLREDUCE:
    case STORM_REDUCE_SCATTER:
    case STORM_SCAN:
        make_words(thread, op, s);
        return;
    case STORM_BCAST:
        shape = bcast_shape(op, me, &detail);
        storm_buffer_make(&s->in, shape, detail, op->element, op->elements, 0);
        if (me == root) {
            storm_buffer_fill(&s->in, stamp_of(thread, op, root, 0));
        }
        return;
    case STORM_GATHERV:
    case STORM_ALLGATHERV:
        /* The same holds for the sender's type in allgatherv. */
        shape = STORM_GATHERV == op->collective ? shape_of(op, me, me, true, &detail)
                                                : STORM_CONTIGUOUS;
        storm_buffer_make(&s->out, shape, detail, op->element, share(op, me, 0), 0);
        storm_buffer_fill(&s->out, stamp_of(thread, op, me, 0));
        for (int i = 0; i < s->n; ++i) {
            s->in_count[i] = (int) share(op, s->members[i], 0);
        }
        bytes = lay_out(op, s->in_count, s->in_at, s->n);
        storm_buffer_around(&s->in, bytes);
        return;
    case STORM_SCATTERV:
        shape = shape_of(op, me, me, false, &detail);
        storm_buffer_make(&s->in, shape, detail, op->element, share(op, root, me), 0);
        for (int i = 0; i < s->n; ++i) {
            s->out_count[i] = (int) share(op, root, s->members[i]);
        }
        bytes = lay_out(op, s->out_count, s->out_at, s->n);
        storm_buffer_around(&s->out, bytes);
        for (int i = 0; i < s->n && me == root; ++i) {
            storm_fill(stamp_of(thread, op, root, s->members[i]), at(&s->out, s->out_at[i], op), 0,
                       (size_t) s->out_count[i] * storm_element_bytes(op->element));
        }
        return;
    case STORM_TRANSPOSE:
        s->row = 1 + (op->detail >> 8) % 64;
        s->row = s->row > op->elements ? op->elements : s->row;
        s->rows = 0 == s->row ? 0 : op->elements / s->row;
        s->rows = s->rows > 40000 ? 40000 : s->rows;
        storm_layout_column(&s->in.layout, op->element, s->rows, s->row, s->n);
        bytes = s->rows * s->row * storm_element_bytes(op->element);
        storm_buffer_around(&s->in, bytes * (size_t) s->n);
        storm_buffer_around(&s->out, bytes * (size_t) s->n);
        for (int i = 0; i < s->n; ++i) {
            storm_fill(stamp_of(thread, op, me, s->members[i]), s->out.origin + (size_t) i * bytes, 0,
                       bytes);
        }
        return;
    case STORM_ALLTOALLV:
        for (int i = 0; i < s->n; ++i) {
            s->out_count[i] = (int) share(op, me, s->members[i]);
            s->in_count[i] = (int) share(op, s->members[i], me);
        }
        storm_buffer_around(&s->out, lay_out(op, s->out_count, s->out_at, s->n));
        storm_buffer_around(&s->in, lay_out(op, s->in_count, s->in_at, s->n));
        for (int i = 0; i < s->n; ++i) {
            storm_fill(stamp_of(thread, op, me, s->members[i]), at(&s->out, s->out_at[i], op), 0,
                       (size_t) s->out_count[i] * storm_element_bytes(op->element));
        }
        return;
    default:
        lay_out_each(op, s, true);
        lay_out_each(op, s, false);
        for (int i = 0; i < s->n; ++i) {
            fill_layout(s->out.origin + s->out_at[i], &s->out_layout[i],
                        stamp_of(thread, op, me, s->members[i]));
        }
        return;
    }
}

static void check(struct storm_thread *thread, const struct storm_op *op, struct state *s)
{
    const int me = s->members[s->me], root = s->members[s->root];
    const size_t e = storm_element_bytes(op->element);

    switch (op->collective) {
    case STORM_BARRIER:
        return;
    case STORM_REDUCE:
    case STORM_ALLREDUCE:
    case STORM_REDUCE_SCATTER:
    case STORM_SCAN:
        check_words(thread, op, s);
        return;
    case STORM_BCAST:
        storm_buffer_check(thread->plan, op, 0, &s->in, stamp_of(thread, op, root, 0), op->elements * e,
                           NULL);
        return;
    case STORM_GATHERV:
    case STORM_ALLGATHERV:
    case STORM_ALLTOALLV:
        for (int i = 0; i < s->n && (STORM_GATHERV != op->collective || me == root); ++i) {
            storm_check_piece(thread->plan, op, i, at(&s->in, s->in_at[i], op),
                              stamp_of(thread, op, s->members[i],
                                       STORM_ALLTOALLV == op->collective ? me : 0),
                              0, (size_t) s->in_count[i] * e);
        }
        break;
    case STORM_SCATTERV:
        storm_buffer_check(thread->plan, op, 0, &s->in, stamp_of(thread, op, root, me),
                           share(op, root, me) * e, NULL);
        return;
    case STORM_TRANSPOSE:
        for (int i = 0; i < s->n; ++i) {
            check_layout(thread, op, i, s->in.origin + (size_t) i * s->row * e, &s->in.layout,
                         stamp_of(thread, op, s->members[i], me));
        }
        break;
    default:
        for (int i = 0; i < s->n; ++i) {
            check_layout(thread, op, i, s->in.origin + s->in_at[i], &s->in_layout[i],
                         stamp_of(thread, op, s->members[i], me));
        }
        break;
    }
    storm_check_poison(thread->plan, op, 0, &s->in, "what a collective receives into");
    vt_count(1, 0);
}

static void settle(struct storm_thread *thread, struct storm_pending *p)
{
    struct state *s = storm_live(p->op, 0, false)->more;

    if (MPI_SUCCESS != p->error) {
        storm_fail(thread->plan, p->op, 0, "the collective ended with error %d", p->error);
    }
    check(thread, p->op, s);
    for (int i = 0; i < s->n; ++i) {
        storm_layout_free(&s->out_layout[i]);
        storm_layout_free(&s->in_layout[i]);
    }
    storm_buffer_free(&s->out);
    storm_buffer_free(&s->in);
}

void storm_collective_start(struct storm_thread *thread, const struct storm_op *op)
{
    const struct storm_comm *comm = &thread->plan->comm[op->comm];
    struct state *s = calloc(1, sizeof(*s));

    CHECK(NULL != s, "out of memory");
    thread->doing = op->nonblocking ? "start of a collective" : "collective";
    storm_live(op, 0, false)->more = s;
    s->n = storm_comm_group(comm, thread->plan->ranks, vt.rank, s->members);
    s->me = storm_comm_rank(comm, thread->plan->ranks, vt.rank);
    s->root = op->root % s->n;
    make(thread, op, s);
    s->pending = (struct storm_pending) {.op = op, .ready = op->time, .settle = settle};
    s->pending.error = call(op, s, comm->comm);
    if (op->nonblocking && MPI_SUCCESS == s->pending.error) {
        storm_begin(thread, &s->pending);
        return;
    }
    settle(thread, &s->pending);
    free(s);
}

void storm_collective_end(struct storm_thread *thread, const struct storm_op *op)
{
    struct state *s = storm_live(op, 0, false)->more;

    thread->doing = "completion of a collective";
    storm_await(thread, &s->pending, op->finish);
    free(s);
}
