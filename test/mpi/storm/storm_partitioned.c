/* SPDX-License-Identifier: BSD-3-Clause */
/* Partitioned messages: each partition becomes ready by itself, in any order. */
#include "storm.h"

#if MPI_VERSION >= 4

/* The sides of one message: the receiver has half as many partitions as the sender. */
static int partitions_of(const struct storm_op *op, bool sends)
{
    return sends ? op->partitions : op->partitions / 2;
}

static void start(struct storm_thread *thread, const struct storm_op *op, int part, bool sends)
{
    const struct storm_message *m = &op->m[part];
    struct storm_live *live = storm_live(op, part, sends), *own = storm_live(op, 0, sends);
    const int n = partitions_of(op, sends), peer = storm_peer(thread, op, sends ? m->dst : m->src);
    const MPI_Count each = (MPI_Count) m->elements / n;
    MPI_Request *request = &live->pending.request;
    MPI_Comm comm = storm_comm_of(thread, op);

    if (0 != part) {
        *request = storm_live(op, part - 1, sends)->pending.request;
    } else if (sends) {
        MPI(MPI_Psend_init(own->buffer.origin, n, each, storm_element_type(op->element), peer, m->tag,
                           comm, MPI_INFO_NULL, request));
    } else {
        MPI(MPI_Precv_init(own->buffer.origin, n, each, storm_element_type(op->element), peer, m->tag,
                           comm, MPI_INFO_NULL, request));
    }
    MPI(MPI_Start(request));
}

void storm_partitioned_send(struct storm_thread *thread, const struct storm_op *op, int part)
{
    struct storm_live *live = storm_live(op, part, true);
    int first;

    storm_message_prepare(thread, op, part, true);
    start(thread, op, part, true);
    first = (int) (op->m[part].send.detail % (uint64_t) op->partitions);
    for (int i = 0; i < op->partitions; ++i) {
        MPI(MPI_Pready((first + i) % op->partitions, live->pending.request));
    }
    storm_begin(thread, &live->pending);
}

void storm_partitioned_receive(struct storm_thread *thread, const struct storm_op *op, int part)
{
    struct storm_live *live = storm_live(op, part, false);
    int arrived;

    storm_message_prepare(thread, op, part, false);
    start(thread, op, part, false);
    MPI(MPI_Parrived(live->pending.request, 0, &arrived));
    storm_begin(thread, &live->pending);
}

#endif
