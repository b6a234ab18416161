/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The storm: a seeded generator of legal MPI programs, and what runs them.
 *
 * A plan is a list of numbered operations, made from a seed alone: every rank makes the same one, so
 * each knows every message without asking. Nothing of an operation depends on those that were left
 * out, so that a failing plan can be shrunk by naming the operations to keep.
 *
 * Why a plan cannot deadlock: each step of each rank stands at a time of the plan (a number, not a
 * clock), and each rank (each thread of it) takes its steps in the order of time. Whatever a step waits
 * for in MPI stands at an earlier time elsewhere, or belongs to the same operation at the same time, as
 * a blocking send and its blocking receive do. So of all steps not done the earliest can always be.
 *
 * Where to look
 *   what a plan may be, and its making      storm_plan.c, storm_mix.c
 *   which plans and operations to run       storm_select.c
 *   the bytes                               storm_bytes.c
 *   how they lie in memory, guard zones     storm_layout.c
 *   communicators                           storm_comm.c
 *   steps in their order, threads           storm_run.c
 *   one message, also persistent            storm_message.c
 *   partitioned (MPI 4)                     storm_partitioned.c
 *   many messages for wildcards             storm_wild.c
 *   sendrecv and sendrecv_replace           storm_exchange.c
 *   collectives                             storm_collective.c
 *   completing requests in any order        storm_complete.c
 *   delays                                  storm_delay.c
 * Windows (one-sided) would be one more kind of operation, in a file of its own.
 */
#ifndef STORM_H
#define STORM_H

#include "../vt.h"

enum {
    STORM_MAX_RANKS = 64,
    STORM_MAX_OPS = 4096,       /* of a plan: the number stands in every word of a message */
    STORM_MAX_PARTS = 64,       /* messages of an operation */
    STORM_MAX_COMMS = 8,
    STORM_MAX_THREADS = 8,
    STORM_MAX_TAG = 1 << 24,
};

/* ------------------------------------------------------------------------------------- the plan -- */

enum storm_kind {
    STORM_MESSAGE,      /* one message */
    STORM_PERSISTENT,   /* the same message several times, by persistent requests */
    STORM_PARTITIONED,  /* the same with partitions */
    STORM_WILD,         /* several senders, one receiver that does not say from whom or what */
    STORM_EXCHANGE,     /* sendrecv round a ring of ranks */
    STORM_NOBODY,       /* a receive that nobody sends to, cancelled */
    STORM_COLLECTIVE,
    STORM_DELAY,
    STORM_KINDS
};

enum storm_mode { STORM_STANDARD, STORM_SYNCHRONOUS, STORM_BUFFERED, STORM_READY, STORM_MODES };

enum storm_how {
    STORM_PLAIN,
    STORM_LATE,         /* the message has surely come before the receive is posted */
    STORM_PROBE,
    STORM_IPROBE,
    STORM_MPROBE,
    STORM_IMPROBE,
    STORM_CANCEL,       /* posted and cancelled at once: if that came too late the message is here */
    STORM_HOWS
};

/* How a request is completed. The others of the thread that are under way take part in all but the
 * first two. */
enum storm_finish {
    STORM_WAIT, STORM_TEST, STORM_WAITANY, STORM_TESTANY, STORM_WAITSOME, STORM_TESTSOME,
    STORM_WAITALL, STORM_TESTALL,
    STORM_FREE,         /* never: sends only, the request is freed */
    STORM_FINISHES
};

enum storm_shape {
    STORM_CONTIGUOUS,
    STORM_VECTOR,       /* and what does not fill a block behind it, as a struct */
    STORM_INDEXED,      /* blocks of different length, in any order of place */
    STORM_STRUCT,       /* a few large blocks */
    STORM_RESIZED,      /* many elements with a gap in each */
    STORM_NEGATIVE,     /* begins before the buffer's address */
    STORM_NESTED,       /* a vector of vectors */
    STORM_SUBARRAY,
    STORM_OVERLAPPING,  /* sends only: bytes that are sent several times */
    STORM_SHAPES
};

enum storm_element { STORM_BYTE, STORM_INT, STORM_DOUBLE, STORM_ELEMENTS };

enum storm_collective {
    STORM_BARRIER, STORM_BCAST, STORM_REDUCE, STORM_ALLREDUCE, STORM_REDUCE_SCATTER, STORM_SCAN,
    STORM_GATHERV, STORM_SCATTERV, STORM_ALLGATHERV, STORM_TRANSPOSE, STORM_ALLTOALLV,
    STORM_ALLTOALLW, STORM_COLLECTIVES
};

enum storm_idle { STORM_SLEEP, STORM_COMPUTE, STORM_PROGRESS, STORM_IDLES };

/* One side of a message. */
struct storm_side {
    uint64_t start;             /* time of the plan: send or receive is called */
    uint64_t end;               /* it is completed; a blocking call does both at `start` */
    bool blocking;
    enum storm_finish finish;
    enum storm_shape shape;
    uint64_t detail;            /* from which the shape's details are drawn */
};

struct storm_message {
    int src, dst;               /* ranks of MPI_COMM_WORLD */
    int tag;
    size_t elements;            /* sent */
    size_t room;                /* what the receive has room for; less: it is truncated */
    struct storm_side send, recv;
};

struct storm_op {
    int number;                 /* in its plan */
    enum storm_kind kind;
    bool kept;                  /* selected to be run */
    int thread;                 /* that executes it, in each rank */
    int comm;                   /* index in the plan */
    enum storm_element element;
    enum storm_mode mode;
    enum storm_how how;
    bool any_source, any_tag;   /* STORM_WILD */
    bool replace;               /* STORM_EXCHANGE */
    int parts;                  /* messages, or times the same message */
    struct storm_message *m;    /* [parts] */
    int partitions;             /* STORM_PARTITIONED, of the sender; the receiver has half as many */

    enum storm_collective collective;
    bool nonblocking;
    int root;                   /* rank of MPI_COMM_WORLD */
    uint64_t time, end;         /* of what all do together */
    enum storm_finish finish;
    size_t elements;            /* for each, or each pair */
    uint64_t detail;

    int rank;                   /* STORM_DELAY; -1: all */
    enum storm_idle idle;
    unsigned microseconds;
};

enum storm_comm_kind { STORM_WORLD, STORM_DUP, STORM_SPLIT, STORM_INTER };

struct storm_comm {
    enum storm_comm_kind kind;
    int colors;                 /* STORM_SPLIT, STORM_INTER (2) */
    uint64_t detail;            /* who has which color */
    int first, last;            /* operations that may use it */
    bool early;                 /* freed while messages over it are still under way */
    bool used;                  /* by an operation that is kept */
    uint64_t made, freed;       /* times */
    MPI_Comm comm;              /* of this rank, while it exists */
};

struct storm_plan {
    uint64_t seed;
    int ranks;
    int threads;
    size_t max;                 /* bytes of a message */
    int ops;
    struct storm_op *op;
    int comms;
    struct storm_comm comm[STORM_MAX_COMMS];
    size_t buffered[STORM_MAX_RANKS];   /* bytes that buffered sends of each rank may hold */
};

/* What the plan draws from: differs from plan to plan, so that each is extreme in something. */
struct storm_mix {
    size_t max;
    int weight[STORM_KINDS];
    int mode[STORM_MODES];
    int how[STORM_HOWS];
    int threshold_percent;      /* sizes at a threshold */
    int large_percent;          /* sizes from 16 KiB up, of those that are not */
    int send_gaps, recv_gaps;   /* percent of sides with a shape other than contiguous */
    int blocking_percent;       /* calls */
    int shared_tags;            /* percent */
    int truncated;              /* percent */
    int span;                   /* operations that are under way at a time, about */
    int pattern;                /* who talks to whom */
    int favourite[2];           /* ranks */
};

void storm_mix_draw(struct storm_mix *mix, uint64_t seed, int ranks, size_t max);
/* Bytes of a message. */
size_t storm_mix_size(const struct storm_mix *mix, uint64_t *random);
int storm_pick(const int *weights, int n, uint64_t *random);
static inline bool storm_percent(int percent, uint64_t *random)
{
    return (int) vt_rand_below(random, 100) < percent;
}

/* Where protocols change, in bytes of a message: ours and those of the command line. */
void storm_mix_thresholds(const size_t *list, size_t n);

struct storm_plan *storm_plan_make(uint64_t seed, int ranks, int threads, int ops, size_t max);
void storm_plan_free(struct storm_plan *plan);
void storm_plan_print(const struct storm_plan *plan);
/* Operation in words: valid until the thread's next call. */
const char *storm_describe(const struct storm_plan *plan, const struct storm_op *op);
static inline size_t storm_element_bytes(enum storm_element element)
{
    return STORM_BYTE == element ? 1 : STORM_INT == element ? 4 : 8;
}
static inline MPI_Datatype storm_element_type(enum storm_element element)
{
    return STORM_BYTE == element ? MPI_BYTE : STORM_INT == element ? MPI_INT : MPI_DOUBLE;
}

/* ------------------------------------------------------------------ selection: storm_select.c -- */

/* "17", "17..20", "17:3-9,12", joined by "+". */
struct storm_choice {
    uint64_t seed;
    const char *ops;            /* "3-9,12", NULL: all */
    size_t length;
};
size_t storm_select(const char *text, struct storm_choice **choices);
/* Marks what is kept; with `drop` all but the named ones. */
void storm_select_ops(struct storm_plan *plan, const struct storm_choice *choice);

/* ------------------------------------------------------------------------ bytes: storm_bytes.c -- */

/* What each 8 bytes of a message say, besides their place in it. */
struct storm_stamp {
    uint64_t seed;
    int op;
    int part;
    int sender;
};
uint64_t storm_stamp(struct storm_stamp stamp);
void storm_fill(uint64_t stamp, unsigned char *to, size_t offset, size_t n);
/* True, or *first is the first of the n bytes that is wrong. */
bool storm_same(uint64_t stamp, const unsigned char *p, size_t offset, size_t n, size_t *first);
/* The 8 bytes at p in words: where they belong, or that nobody wrote them. */
void storm_whose(const unsigned char *p, char *text, size_t room);
/* The word of a message at an index, for reductions. */
uint64_t storm_word(uint64_t stamp, uint64_t index);

/* ----------------------------------------------------------------- layouts: storm_layout.c -- */

struct storm_block {
    ptrdiff_t at;
    size_t bytes;
};

struct storm_layout {
    MPI_Datatype type;
    int count;
    bool made;                  /* type is ours to free */
    struct storm_block *block;  /* in the order in which they are packed */
    size_t blocks;
    size_t bytes;               /* packed */
    ptrdiff_t low, high;        /* the bytes from low up to high may be touched */
};
/* types: false: without the MPI datatype, to know what another rank sends. */
void storm_layout_make(struct storm_layout *layout, enum storm_shape shape, uint64_t detail,
                       enum storm_element element, size_t elements, bool types);
/* Element i of a transposed matrix: `rows` pieces of `row` elements, `columns` of them beside each
 * other; the type's extent is one piece. */
void storm_layout_column(struct storm_layout *layout, enum storm_element element, size_t rows,
                         size_t row, int columns);
void storm_layout_free(struct storm_layout *layout);

/* Memory for a layout between two guard zones. */
struct storm_buffer {
    struct storm_layout layout;
    unsigned char *base;
    size_t total;
    unsigned char *origin;      /* what MPI gets */
};
/* behind: so much more memory. */
void storm_buffer_make(struct storm_buffer *buffer, enum storm_shape shape, uint64_t detail,
                       enum storm_element element, size_t elements, size_t behind);
/* The same around a layout that was made, for n of its kind `stride` apart. */
void storm_buffer_around(struct storm_buffer *buffer, size_t bytes);
void storm_buffer_free(struct storm_buffer *buffer);
void storm_buffer_poison(struct storm_buffer *buffer);
void storm_buffer_fill(struct storm_buffer *buffer, uint64_t stamp);
/* The first `bytes` of the message must be there, and nothing else be touched; the buffer is poisoned
 * again. sender: the layout it was sent from if that is overlapping, else NULL. */
void storm_buffer_check(const struct storm_plan *plan, const struct storm_op *op, int part,
                        struct storm_buffer *buffer, uint64_t stamp, size_t bytes,
                        const struct storm_buffer *sender);
/* Bytes at `at` of the buffer must be bytes [offset, offset + n) of the message. */
void storm_check_piece(const struct storm_plan *plan, const struct storm_op *op, int part,
                       unsigned char *at, uint64_t stamp, size_t offset, size_t n);
/* All of the buffer is poison. */
void storm_check_poison(const struct storm_plan *plan, const struct storm_op *op, int part,
                        const struct storm_buffer *buffer, const char *what);
/* What was sent from is as it was. */
void storm_check_sent(const struct storm_plan *plan, const struct storm_op *op, int part,
                      const struct storm_buffer *buffer, uint64_t stamp);

_Noreturn void storm_fail(const struct storm_plan *plan, const struct storm_op *op, int part,
                          const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ------------------------------------------------------------------ communicators: storm_comm.c -- */

bool storm_comm_has(const struct storm_comm *comm, int rank);
int storm_comm_color(const struct storm_comm *comm, int rank);
/* May src send to dst over it? */
bool storm_comm_joins(const struct storm_comm *comm, int src, int dst);
/* What `rank` is called over the communicator, by whoever may send to it or is with it in a group. */
int storm_comm_rank(const struct storm_comm *comm, int ranks, int rank);
/* Members of the group of `rank` (of MPI_COMM_WORLD, in their order); returns how many. */
int storm_comm_group(const struct storm_comm *comm, int ranks, int rank, int *members);
void storm_comm_make(struct storm_comm *comm);
void storm_comm_free(struct storm_comm *comm);

/* ------------------------------------------------------------------------------------- running -- */

struct storm_thread;

/* A request under way. */
struct storm_pending {
    MPI_Request request;
    const struct storm_op *op;
    int part;
    uint64_t ready;             /* all that it waits for stands at times before this, or at it */
    bool fails;                 /* it is truncated */
    bool alone;                 /* not to be completed with others */
    bool done;
    MPI_Status status;
    int error;
    /* What is to be checked when it is complete; may be NULL. */
    void (*settle)(struct storm_thread *thread, struct storm_pending *pending);
};

/* What a rank has of an operation while it runs: one for each part and side. */
struct storm_live {
    struct storm_pending pending;
    struct storm_buffer buffer;
    bool has_buffer;
    void *more;                 /* of a collective */
};

struct storm_thread {
    int index;
    struct storm_plan *plan;
    uint64_t now;
    struct storm_pending **pending;
    int pendings, room;
    const struct storm_op *at;  /* for the watchdog */
    const char *doing;
};

/* Runs the plan's kept operations; collective over MPI_COMM_WORLD. Returns how many there were. */
int storm_run(struct storm_plan *plan);
/* For the watchdog: tells what is outstanding. */
void storm_watch(void);

/* For everything between the two sides of a message but the message itself, and for messages whose
 * receiver names neither source nor tag (one operation for each receiver). */
extern MPI_Comm storm_tokens, storm_wilds;
/* Receive buffers that are too short are overwritten by Open MPI's ob1 over some transports. */
extern bool storm_allow_overrun;

struct storm_live *storm_live(const struct storm_op *op, int part, bool sends);

void storm_await(struct storm_thread *thread, struct storm_pending *pending,
                 enum storm_finish finish);
void storm_begin(struct storm_thread *thread, struct storm_pending *pending);

/* What each kind does at its times. */
void storm_message_send(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_message_sent(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_message_receive(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_message_received(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_wild_receive(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_wild_received(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_nobody(struct storm_thread *thread, const struct storm_op *op);
void storm_exchange(struct storm_thread *thread, const struct storm_op *op);
void storm_collective_start(struct storm_thread *thread, const struct storm_op *op);
void storm_collective_end(struct storm_thread *thread, const struct storm_op *op);
void storm_idle(struct storm_thread *thread, const struct storm_op *op);
#if MPI_VERSION >= 4
void storm_partitioned_send(struct storm_thread *thread, const struct storm_op *op, int part);
void storm_partitioned_receive(struct storm_thread *thread, const struct storm_op *op, int part);
#endif

/* --- what they share */
static inline struct storm_stamp storm_stamp_of(const struct storm_plan *plan,
                                                const struct storm_op *op, int part, int sender)
{
    return (struct storm_stamp) {.seed = plan->seed, .op = op->number, .part = part,
                                 .sender = sender};
}
/* A token says across ranks: "posted", or "sent". */
int storm_token_tag(const struct storm_op *op, int part);
void storm_token_wait(const struct storm_op *op, int part, int from);
void storm_token_send(const struct storm_op *op, int part, int to);
/* Buffer, content and pending request of one side; returns who owns the buffer. */
struct storm_live *storm_message_prepare(struct storm_thread *thread, const struct storm_op *op,
                                         int part, bool sends);
/* Status and content of message `part` are as they must be, in the buffer of live. */
void storm_check_arrived(struct storm_thread *thread, const struct storm_op *op, int part,
                         struct storm_live *live, const MPI_Status *status, int error);
/* Over which communicator, and what it calls a rank. */
MPI_Comm storm_comm_of(const struct storm_thread *thread, const struct storm_op *op);
int storm_peer(const struct storm_thread *thread, const struct storm_op *op, int rank);
/* When all that a request for the message waits for has begun. Which one a wildcard gets is open. */
static inline uint64_t storm_ready(const struct storm_op *op, int part)
{
    uint64_t ready = 0;

    for (int i = STORM_WILD == op->kind ? 0 : part; i < op->parts; ++i) {
        const struct storm_message *m = &op->m[i];

        ready = ready < m->send.start ? m->send.start : ready;
        ready = ready < m->recv.start ? m->recv.start : ready;
        if (STORM_WILD != op->kind) {
            break;
        }
    }
    return ready;
}

#endif
