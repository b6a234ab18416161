/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receives that do not say from whom, or under which tag. Which message one gets is open between
 * senders; those of one sender come in their order. What was sent is looked up by the statuses when all
 * receives of the operation are complete.
 */
#include "storm.h"

static bool is_before(const struct storm_op *op, int a, int b)
{
    return op->m[a].send.start < op->m[b].send.start
           || (op->m[a].send.start == op->m[b].send.start && a < b);
}

static void check_all(struct storm_thread *thread, const struct storm_op *op)
{
    bool seen[STORM_MAX_PARTS] = {false};

    for (int i = 0; i < op->parts; ++i) {
        struct storm_live *live = storm_live(op, i, false);
        const MPI_Status *status = &live->pending.status;
        int next = -1;

        for (int k = 0; k < op->parts; ++k) {
            if (!seen[k] && storm_peer(thread, op, op->m[k].src) == status->MPI_SOURCE
                && (next < 0 || is_before(op, k, next))) {
                next = k;
            }
        }
        if (next < 0) {
            storm_fail(thread->plan, op, i, "receive %d got a message from %d that should not be", i,
                       status->MPI_SOURCE);
        }
        seen[next] = true;
        storm_check_arrived(thread, op, next, live, status, live->pending.error);
        storm_buffer_free(&live->buffer);
        live->has_buffer = false;
    }
}

static void check_when_all(struct storm_thread *thread, const struct storm_op *op)
{
    for (int i = 0; i < op->parts; ++i) {
        if (!storm_live(op, i, false)->pending.done) {
            return;
        }
    }
    check_all(thread, op);
}

void storm_wild_receive(struct storm_thread *thread, const struct storm_op *op, int part)
{
    const struct storm_message *m = &op->m[part];
    struct storm_live *live = storm_live(op, part, false);
    MPI_Comm comm = storm_comm_of(thread, op);
    int from = op->any_source ? MPI_ANY_SOURCE : storm_peer(thread, op, m->src);
    int tag = op->any_tag ? MPI_ANY_TAG : m->tag;
    MPI_Message message;
    MPI_Status probed;

    thread->doing = "wildcard receive";
    storm_buffer_make(&live->buffer, m->recv.shape, m->recv.detail, op->element, m->room, 0);
    live->has_buffer = true;
    const struct storm_layout *l = &live->buffer.layout;
    struct storm_pending *p = &live->pending;

    *p = (struct storm_pending) {.op = op, .part = part, .ready = storm_ready(op, part)};
    if (!m->recv.blocking) {
        MPI(MPI_Irecv(live->buffer.origin, l->count, l->type, from, tag, comm, &p->request));
        storm_begin(thread, p);
        return;
    }
    switch (op->how) {
    case STORM_PROBE:
        MPI(MPI_Probe(from, tag, comm, &probed));
        p->error = MPI_Recv(live->buffer.origin, l->count, l->type, probed.MPI_SOURCE, probed.MPI_TAG,
                            comm, &p->status);
        break;
    case STORM_MPROBE:
        MPI(MPI_Mprobe(from, tag, comm, &message, &probed));
        p->error = MPI_Mrecv(live->buffer.origin, l->count, l->type, &message, &p->status);
        break;
    default:
        p->error = MPI_Recv(live->buffer.origin, l->count, l->type, from, tag, comm, &p->status);
        break;
    }
    p->done = true;
    check_when_all(thread, op);
}

void storm_wild_received(struct storm_thread *thread, const struct storm_op *op, int part)
{
    struct storm_pending *p = &storm_live(op, part, false)->pending;

    thread->doing = "completion of a wildcard receive";
    if (op->m[part].recv.blocking) {
        return;
    }
    storm_await(thread, p, op->m[part].recv.finish);
    /* Another's completion may have been the last one: the last step checks. */
    for (int i = 0; i < op->parts; ++i) {
        const struct storm_side *r = &op->m[i].recv, *mine = &op->m[part].recv;

        if (r->end > mine->end || (r->end == mine->end && i > part)) {
            return;
        }
    }
    check_when_all(thread, op);
}
