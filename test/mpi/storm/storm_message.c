/* SPDX-License-Identifier: BSD-3-Clause */
/* The sending side of a message, once or several times by a persistent request. */
#include "storm.h"

int storm_token_tag(const struct storm_op *op, int part)
{
    return op->number * 128 + part;
}

void storm_token_wait(const struct storm_op *op, int part, int from)
{
    MPI(MPI_Recv(NULL, 0, MPI_BYTE, from, storm_token_tag(op, part), storm_tokens,
                 MPI_STATUS_IGNORE));
}

/* Nothing waits for it: it has no bytes. */
void storm_token_send(const struct storm_op *op, int part, int to)
{
    MPI_Request request;

    MPI(MPI_Isend(NULL, 0, MPI_BYTE, to, storm_token_tag(op, part), storm_tokens, &request));
    MPI(MPI_Request_free(&request));
}

MPI_Comm storm_comm_of(const struct storm_thread *thread, const struct storm_op *op)
{
    return STORM_WILD == op->kind && op->any_tag ? storm_wilds : thread->plan->comm[op->comm].comm;
}

int storm_peer(const struct storm_thread *thread, const struct storm_op *op, int rank)
{
    return STORM_WILD == op->kind && op->any_tag
           ? rank : storm_comm_rank(&thread->plan->comm[op->comm], thread->plan->ranks, rank);
}

static bool is_persistent(const struct storm_op *op)
{
    return STORM_PERSISTENT == op->kind || STORM_PARTITIONED == op->kind;
}

/* A persistent request has one buffer, of its first time. */
static struct storm_live *owner(const struct storm_op *op, int part, bool sends)
{
    return storm_live(op, is_persistent(op) ? 0 : part, sends);
}

static void release(struct storm_live *live)
{
    storm_buffer_free(&live->buffer);
    live->has_buffer = false;
}

static void settle_sent(struct storm_thread *thread, struct storm_pending *p)
{
    const struct storm_op *op = p->op;
    struct storm_live *own = owner(op, p->part, true);

    if (MPI_SUCCESS != p->error) {
        storm_fail(thread->plan, op, p->part, "the send ended with error %d", p->error);
    }
    storm_check_sent(thread->plan, op, p->part, &own->buffer,
                     storm_stamp(storm_stamp_of(thread->plan, op, p->part, vt.rank)));
    if (!is_persistent(op)) {
        release(own);
    }
}

static void send_blocking(const struct storm_op *op, const struct storm_buffer *b, int to, int tag,
                          MPI_Comm comm)
{
    const struct storm_layout *l = &b->layout;

    switch (op->mode) {
    case STORM_SYNCHRONOUS:
        MPI(MPI_Ssend(b->origin, l->count, l->type, to, tag, comm));
        break;
    case STORM_BUFFERED:
        MPI(MPI_Bsend(b->origin, l->count, l->type, to, tag, comm));
        break;
    case STORM_READY:
        MPI(MPI_Rsend(b->origin, l->count, l->type, to, tag, comm));
        break;
    default:
        MPI(MPI_Send(b->origin, l->count, l->type, to, tag, comm));
        break;
    }
}

static void send_nonblocking(const struct storm_op *op, const struct storm_buffer *b, int to, int tag,
                             MPI_Comm comm, MPI_Request *request)
{
    const struct storm_layout *l = &b->layout;

    switch (op->mode) {
    case STORM_SYNCHRONOUS:
        MPI(MPI_Issend(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    case STORM_BUFFERED:
        MPI(MPI_Ibsend(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    case STORM_READY:
        MPI(MPI_Irsend(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    default:
        MPI(MPI_Isend(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    }
}

static void send_init(const struct storm_op *op, const struct storm_buffer *b, int to, int tag,
                      MPI_Comm comm, MPI_Request *request)
{
    const struct storm_layout *l = &b->layout;

    switch (op->mode) {
    case STORM_SYNCHRONOUS:
        MPI(MPI_Ssend_init(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    case STORM_BUFFERED:
        MPI(MPI_Bsend_init(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    case STORM_READY:
        MPI(MPI_Rsend_init(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    default:
        MPI(MPI_Send_init(b->origin, l->count, l->type, to, tag, comm, request));
        break;
    }
}

static void settle_received(struct storm_thread *thread, struct storm_pending *p)
{
    struct storm_live *own = owner(p->op, p->part, false);

    storm_check_arrived(thread, p->op, p->part, own, &p->status, p->error);
    if (!is_persistent(p->op)) {
        release(own);
    }
}

struct storm_live *storm_message_prepare(struct storm_thread *thread, const struct storm_op *op,
                                         int part, bool sends)
{
    const struct storm_message *m = &op->m[part];
    const struct storm_side *side = sends ? &m->send : &m->recv;
    struct storm_live *live = storm_live(op, part, sends), *own = owner(op, part, sends);
    const bool truncated = !sends && m->room < m->elements;

    thread->doing = sends ? "send" : "receive";
    if (!own->has_buffer) {
        storm_buffer_make(&own->buffer, side->shape, side->detail, op->element,
                          sends ? m->elements : m->room,
                          truncated ? m->elements * storm_element_bytes(op->element) : 0);
        own->has_buffer = true;
    }
    if (sends) {
        storm_buffer_fill(&own->buffer,
                          storm_stamp(storm_stamp_of(thread->plan, op, part, vt.rank)));
    }
    live->pending = (struct storm_pending) {.op = op, .part = part, .ready = storm_ready(op, part),
                                            .fails = truncated,
                                            .alone = truncated || STORM_PARTITIONED == op->kind,
                                            .settle = sends ? settle_sent : settle_received};
    return own;
}

void storm_message_send(struct storm_thread *thread, const struct storm_op *op, int part)
{
    const struct storm_message *m = &op->m[part];
    struct storm_live *live = storm_live(op, part, true);
    struct storm_live *own = storm_message_prepare(thread, op, part, true);
    const int to = storm_peer(thread, op, m->dst);
    MPI_Comm comm = storm_comm_of(thread, op);

    if (STORM_READY == op->mode) {
        thread->doing = "send, awaiting that the receive is posted";
        storm_token_wait(op, part, m->dst);
    }
    if (STORM_PERSISTENT == op->kind) {
        if (0 == part) {
            send_init(op, &own->buffer, to, m->tag, comm, &live->pending.request);
        } else {
            live->pending.request = storm_live(op, part - 1, true)->pending.request;
        }
        MPI(MPI_Start(&live->pending.request));
    } else if (m->send.blocking) {
        send_blocking(op, &own->buffer, to, m->tag, comm);
    } else {
        send_nonblocking(op, &own->buffer, to, m->tag, comm, &live->pending.request);
    }
    if (STORM_LATE == op->how && STORM_WILD != op->kind) {
        storm_token_send(op, part, m->dst);
    }
    if (STORM_FREE == m->send.finish && !m->send.blocking) {
        /* The buffer stays until the plan's end, when all is received. */
        MPI(MPI_Request_free(&live->pending.request));
    } else if (m->send.blocking) {
        settle_sent(thread, &live->pending);
    } else {
        storm_begin(thread, &live->pending);
    }
}

void storm_message_sent(struct storm_thread *thread, const struct storm_op *op, int part)
{
    const struct storm_message *m = &op->m[part];
    struct storm_live *live = storm_live(op, part, true);

    thread->doing = "completion of a send";
    if (m->send.blocking || STORM_FREE == m->send.finish) {
        return;
    }
    storm_await(thread, &live->pending, m->send.finish);
    if (is_persistent(op) && part + 1 == op->parts) {
        MPI(MPI_Request_free(&live->pending.request));
        release(owner(op, part, true));
    }
}

/* ---------------------------------------------------------------------------------- receiving -- */

void storm_check_arrived(struct storm_thread *thread, const struct storm_op *op, int part,
                         struct storm_live *live, const MPI_Status *status, int error)
{
    const struct storm_plan *plan = thread->plan;
    const struct storm_message *m = &op->m[part];
    const int from = storm_peer(thread, op, m->src);
    struct storm_buffer sender;
    bool overlapping = STORM_OVERLAPPING == m->send.shape && 0 < m->elements;
    int n = -1, class = MPI_SUCCESS;

    if (MPI_SUCCESS != error) {
        MPI(MPI_Error_class(error, &class));
    }
    if (m->room < m->elements && STORM_WILD != op->kind) {
        if (MPI_ERR_TRUNCATE != class) {
            storm_fail(plan, op, part, "error class %d, expected MPI_ERR_TRUNCATE (%d)", class,
                       MPI_ERR_TRUNCATE);
        }
        /* What stands in the buffer is not defined, but it is all that may have been written to. */
        for (size_t i = 0; i < live->buffer.layout.blocks; ++i) {
            memset(live->buffer.origin + live->buffer.layout.block[i].at, 0xdb,
                   live->buffer.layout.block[i].bytes);
        }
        if (!storm_allow_overrun) {
            storm_check_poison(plan, op, part, &live->buffer, "too short a receive buffer");
        }
        vt_count(1, 0);
        return;
    }
    if (MPI_SUCCESS != class) {
        char text[MPI_MAX_ERROR_STRING] = "";

        MPI_Error_string(error, text, &n);
        storm_fail(plan, op, part, "the receive ended with error class %d (%s)", class, text);
    }
    MPI(MPI_Get_elements(status, storm_element_type(op->element), &n));
    if (status->MPI_SOURCE != from || status->MPI_TAG != m->tag || (size_t) n != m->elements) {
        storm_fail(plan, op, part, "the status says source %d, tag %d, %d elements; expected source %d, "
                   "tag %d, %zu elements", status->MPI_SOURCE, status->MPI_TAG, n, from, m->tag,
                   m->elements);
    }
    if (overlapping) {
        storm_layout_make(&sender.layout, m->send.shape, m->send.detail, op->element, m->elements,
                          false);
    }
    storm_buffer_check(plan, op, part, &live->buffer,
                       storm_stamp(storm_stamp_of(plan, op, part, m->src)),
                       m->elements * storm_element_bytes(op->element), overlapping ? &sender : NULL);
    if (overlapping) {
        storm_layout_free(&sender.layout);
    }
    vt_count(1, 0);
}

/* Receives that look first. */
static int receive_probed(struct storm_thread *thread, const struct storm_op *op, int part,
                          struct storm_live *own, int from, MPI_Comm comm, MPI_Status *status)
{
    const struct storm_message *m = &op->m[part];
    const struct storm_layout *l = &own->buffer.layout;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Request request;
    int flag = 0, n = -1;

    switch (op->how) {
    case STORM_PROBE: MPI(MPI_Probe(from, m->tag, comm, status)); break;
    case STORM_MPROBE: MPI(MPI_Mprobe(from, m->tag, comm, &message, status)); break;
    case STORM_IPROBE:
        while (!flag) {
            MPI(MPI_Iprobe(from, m->tag, comm, &flag, status));
        }
        break;
    default:
        while (!flag) {
            MPI(MPI_Improbe(from, m->tag, comm, &flag, &message, status));
        }
        break;
    }
    MPI(MPI_Get_elements(status, storm_element_type(op->element), &n));
    if (status->MPI_SOURCE != from || status->MPI_TAG != m->tag || (size_t) n != m->elements) {
        storm_fail(thread->plan, op, part, "the probe says source %d, tag %d, %d elements; expected "
                   "source %d, tag %d, %zu elements", status->MPI_SOURCE, status->MPI_TAG, n, from,
                   m->tag, m->elements);
    }
    switch (op->how) {
    case STORM_MPROBE: return MPI_Mrecv(own->buffer.origin, l->count, l->type, &message, status);
    case STORM_IMPROBE:
        MPI(MPI_Imrecv(own->buffer.origin, l->count, l->type, &message, &request));
        return MPI_Wait(&request, status);
    default: return MPI_Recv(own->buffer.origin, l->count, l->type, from, m->tag, comm, status);
    }
}

/* The message may have matched before it was cancelled, or comes afterwards. */
static int receive_cancelled(const struct storm_op *op, int part, struct storm_live *own, int from,
                             MPI_Comm comm, MPI_Status *status)
{
    const struct storm_message *m = &op->m[part];
    const struct storm_layout *l = &own->buffer.layout;
    MPI_Request request;
    int cancelled = 0;

    MPI(MPI_Irecv(own->buffer.origin, l->count, l->type, from, m->tag, comm, &request));
    MPI(MPI_Cancel(&request));
    MPI(MPI_Wait(&request, status));
    MPI(MPI_Test_cancelled(status, &cancelled));
    return cancelled ? MPI_Recv(own->buffer.origin, l->count, l->type, from, m->tag, comm, status)
                     : MPI_SUCCESS;
}

void storm_message_receive(struct storm_thread *thread, const struct storm_op *op, int part)
{
    const struct storm_message *m = &op->m[part];
    struct storm_live *live = storm_live(op, part, false);
    struct storm_live *own = storm_message_prepare(thread, op, part, false);
    const struct storm_layout *l = &own->buffer.layout;
    const int from = storm_peer(thread, op, m->src);
    MPI_Comm comm = storm_comm_of(thread, op);
    MPI_Status status;
    int rc = MPI_SUCCESS;

    if (STORM_LATE == op->how) {
        thread->doing = "receive, awaiting that it was sent";
        storm_token_wait(op, part, m->src);
        thread->doing = "receive";
    }
    if (STORM_PERSISTENT == op->kind) {
        if (0 == part) {
            MPI(MPI_Recv_init(own->buffer.origin, l->count, l->type, from, m->tag, comm,
                              &live->pending.request));
        } else {
            live->pending.request = storm_live(op, part - 1, false)->pending.request;
        }
        MPI(MPI_Start(&live->pending.request));
    } else if (!m->recv.blocking) {
        MPI(MPI_Irecv(own->buffer.origin, l->count, l->type, from, m->tag, comm,
                      &live->pending.request));
    } else if (STORM_CANCEL == op->how) {
        rc = receive_cancelled(op, part, own, from, comm, &status);
    } else if (STORM_PLAIN == op->how || STORM_LATE == op->how) {
        rc = MPI_Recv(own->buffer.origin, l->count, l->type, from, m->tag, comm, &status);
    } else {
        rc = receive_probed(thread, op, part, own, from, comm, &status);
    }
    if (STORM_READY == op->mode) {
        storm_token_send(op, part, m->src);
    }
    if (m->recv.blocking) {
        live->pending.status = status;
        live->pending.error = rc;
        live->pending.done = true;
        settle_received(thread, &live->pending);
    } else {
        storm_begin(thread, &live->pending);
    }
}

void storm_message_received(struct storm_thread *thread, const struct storm_op *op, int part)
{
    const struct storm_message *m = &op->m[part];
    struct storm_live *live = storm_live(op, part, false);

    thread->doing = "completion of a receive";
    if (m->recv.blocking) {
        return;
    }
    storm_await(thread, &live->pending, m->recv.finish);
    if (is_persistent(op) && part + 1 == op->parts) {
        MPI(MPI_Request_free(&live->pending.request));
        release(owner(op, part, false));
    }
}

void storm_nobody(struct storm_thread *thread, const struct storm_op *op)
{
    struct storm_buffer buffer;
    MPI_Request request;
    MPI_Status status;
    int cancelled = 0;

    thread->doing = "cancel";
    storm_buffer_make(&buffer, STORM_CONTIGUOUS, op->detail, op->element, op->elements, 0);
    MPI(MPI_Irecv(buffer.origin, buffer.layout.count, buffer.layout.type, MPI_ANY_SOURCE,
                  1000 + op->number, MPI_COMM_WORLD, &request));
    MPI(MPI_Cancel(&request));
    MPI(MPI_Wait(&request, &status));
    MPI(MPI_Test_cancelled(&status, &cancelled));
    if (!cancelled) {
        storm_fail(thread->plan, op, 0, "a receive that nobody sends to was not cancelled");
    }
    storm_check_poison(thread->plan, op, 0, &buffer, "cancelled receive");
    storm_buffer_free(&buffer);
}
