/* SPDX-License-Identifier: BSD-3-Clause */
/* MPI_Sendrecv and MPI_Sendrecv_replace round a ring of ranks. */
#include "storm.h"

static void replace(struct storm_thread *thread, const struct storm_op *op, int sends, int receives)
{
    const struct storm_message *out = &op->m[sends], *in = &op->m[receives];
    struct storm_live live;
    MPI_Status status;
    int rc;

    storm_buffer_make(&live.buffer, in->recv.shape, in->recv.detail, op->element, in->elements, 0);
    storm_buffer_fill(&live.buffer, storm_stamp(storm_stamp_of(thread->plan, op, sends, vt.rank)));
    rc = MPI_Sendrecv_replace(live.buffer.origin, live.buffer.layout.count, live.buffer.layout.type,
                              storm_peer(thread, op, out->dst), out->tag,
                              storm_peer(thread, op, in->src), in->tag, storm_comm_of(thread, op),
                              &status);
    storm_check_arrived(thread, op, receives, &live, &status, rc);
    storm_buffer_free(&live.buffer);
}

void storm_exchange(struct storm_thread *thread, const struct storm_op *op)
{
    int sends = 0, receives;
    struct storm_buffer out;
    struct storm_live in;
    MPI_Status status;
    int rc;

    thread->doing = "sendrecv";
    while (sends < op->parts && op->m[sends].src != vt.rank) {
        ++sends;
    }
    if (sends == op->parts) {
        return;
    }
    receives = (sends + op->parts - 1) % op->parts;
    if (op->replace) {
        replace(thread, op, sends, receives);
        return;
    }
    const struct storm_message *to = &op->m[sends], *from = &op->m[receives];
    uint64_t stamp = storm_stamp(storm_stamp_of(thread->plan, op, sends, vt.rank));

    storm_buffer_make(&out, to->send.shape, to->send.detail, op->element, to->elements, 0);
    storm_buffer_make(&in.buffer, from->recv.shape, from->recv.detail, op->element, from->room, 0);
    storm_buffer_fill(&out, stamp);
    rc = MPI_Sendrecv(out.origin, out.layout.count, out.layout.type, storm_peer(thread, op, to->dst),
                      to->tag, in.buffer.origin, in.buffer.layout.count, in.buffer.layout.type,
                      storm_peer(thread, op, from->src), from->tag, storm_comm_of(thread, op), &status);
    storm_check_arrived(thread, op, receives, &in, &status, rc);
    storm_check_sent(thread->plan, op, sends, &out, stamp);
    storm_buffer_free(&out);
    storm_buffer_free(&in.buffer);
}
