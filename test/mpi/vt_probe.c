/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Probe, MPI_Iprobe, MPI_Mprobe, MPI_Improbe with MPI_Recv, MPI_Mrecv and MPI_Imrecv of eager and
 * rendezvous messages; receives that are cancelled and leave the message to the next receive.
 */
#include "vt.h"

enum way { W_PROBE, W_IPROBE, W_MPROBE, W_IMPROBE, W_COUNT };

static struct vt_buf in;

static void probe_one(enum way w, int from_any, int src, int tag, size_t size, uint64_t iter)
{
    int s = from_any ? MPI_ANY_SOURCE : src, t = from_any ? MPI_ANY_TAG : tag, flag = 0, count = -1;
    struct vt_key k;
    MPI_Message msg = MPI_MESSAGE_NULL;
    MPI_Status st;
    MPI_Request req;

    vt_at("way %d, source %d, %zu bytes, message %llu", (int) w, s, size, (unsigned long long) iter);
    switch (w) {
    case W_PROBE:
        MPI(MPI_Probe(s, t, MPI_COMM_WORLD, &st));
        break;
    case W_IPROBE:
        while (!flag) {
            MPI(MPI_Iprobe(s, t, MPI_COMM_WORLD, &flag, &st));
        }
        break;
    case W_MPROBE:
        MPI(MPI_Mprobe(s, t, MPI_COMM_WORLD, &msg, &st));
        break;
    default:
        while (!flag) {
            MPI(MPI_Improbe(s, t, MPI_COMM_WORLD, &flag, &msg, &st));
        }
        break;
    }
    MPI(MPI_Get_count(&st, MPI_BYTE, &count));
    CHECK(st.MPI_SOURCE == src && st.MPI_TAG == tag && (size_t) count == size,
          "probed source %d tag %d count %d, expected %d %d %zu", st.MPI_SOURCE, st.MPI_TAG, count, src,
          tag, size);
    k = VT_KEY(src, vt.rank, tag, size, iter);
    vt_guard_set(&in, (size_t) iter, size);
    memset(&st, 0, sizeof(st));
    if (W_PROBE == w || W_IPROBE == w) {
        MPI(MPI_Recv(in.data, count, MPI_BYTE, src, tag, MPI_COMM_WORLD, &st));
    } else if (iter % 2) {
        MPI(MPI_Mrecv(in.data, count, MPI_BYTE, &msg, &st));
    } else {
        MPI(MPI_Imrecv(in.data, count, MPI_BYTE, &msg, &req));
        MPI(MPI_Wait(&req, &st));
    }
    CHECK(MPI_MESSAGE_NULL == msg, "the message handle is still set");
    vt_check(in.data, &st, k);
    vt_guard_check(&in);
}

/*
 * A message that was taken out by MPI_Mprobe is out: the next receive must get the one after it, and the
 * one taken out can be received later.
 */
static void mprobe_order(int src, bool receiver, int peer, size_t size)
{
    unsigned char *out[2];
    MPI_Request req[2];
    MPI_Message msg;
    MPI_Status st;

    vt_at("mprobe order, %zu bytes, with %d", size, peer);
    if (!receiver) {
        for (int i = 0; i < 2; ++i) {
            out[i] = vt_malloc(size);
            vt_fill(out[i], VT_KEY(vt.rank, peer, 71, size, (uint64_t) i));
            MPI(MPI_Isend(out[i], (int) size, MPI_BYTE, peer, 71, MPI_COMM_WORLD, &req[i]));
        }
        MPI(MPI_Waitall(2, req, MPI_STATUSES_IGNORE));
        free(out[0]);
        free(out[1]);
        return;
    }
    MPI(MPI_Mprobe(src, 71, MPI_COMM_WORLD, &msg, &st));
    for (int i = 1; i >= 0; --i) {
        vt_guard_set(&in, 1, size);
        if (1 == i) {
            MPI(MPI_Recv(in.data, (int) size, MPI_BYTE, src, 71, MPI_COMM_WORLD, &st));
        } else {
            MPI(MPI_Mrecv(in.data, (int) size, MPI_BYTE, &msg, &st));
        }
        vt_check(in.data, &st, VT_KEY(src, vt.rank, 71, size, (uint64_t) i));
        vt_guard_check(&in);
    }
}

/* Posts a receive, cancels it, has the message sent and receives it by another one. */
static void cancel(int peer, bool receiver, size_t size)
{
    struct vt_key k = VT_KEY(receiver ? peer : vt.rank, receiver ? vt.rank : peer, 72, size, 3);
    unsigned char *buf = vt_malloc(size);
    MPI_Request req;
    MPI_Status st;
    int cancelled = 0;

    vt_at("cancel, %zu bytes, with %d", size, peer);
    if (receiver) {
        unsigned char *p = vt_guard_set(&in, 0, size);

        MPI(MPI_Irecv(p, (int) size, MPI_BYTE, peer, 72, MPI_COMM_WORLD, &req));
        MPI(MPI_Cancel(&req));
        MPI(MPI_Wait(&req, &st));
        MPI(MPI_Test_cancelled(&st, &cancelled));
        /* Nothing was sent yet, so the cancellation cannot lose. */
        CHECK(cancelled, "a receive without a message could not be cancelled");
        MPI(MPI_Send(NULL, 0, MPI_BYTE, peer, 73, MPI_COMM_WORLD));
        MPI(MPI_Recv(buf, (int) size, MPI_BYTE, peer, 72, MPI_COMM_WORLD, &st));
        MPI(MPI_Test_cancelled(&st, &cancelled));
        CHECK(!cancelled, "a receive that came through says it was cancelled");
        vt_check(buf, &st, k);
        for (size_t i = 0; i < size; ++i) {
            CHECK(0xdb == p[i], "byte %zu of the cancelled receive's buffer was written", i);
        }
        vt_guard_check(&in);
    } else {
        vt_fill(buf, k);
        MPI(MPI_Recv(NULL, 0, MPI_BYTE, peer, 73, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        MPI(MPI_Send(buf, (int) size, MPI_BYTE, peer, 72, MPI_COMM_WORLD));
    }
    free(buf);
}

int main(int argc, char **argv)
{
    size_t n, max, *sizes;
    unsigned char *out;
    int flag = 1;

    vt_init(&argc, &argv, "probe");
    max = (size_t) vt_arg_num("--max", VT_Q(1 << 20, 140000));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    sizes = vt_size_few(max, &n);
    vt_buf_init(&in, max);
    out = vt_malloc(max);
    for (int round = 0; round < vt.size; ++round) {
        int peer = (round - vt.rank + vt.size) % vt.size;

        if (peer == vt.rank) {
            continue;
        }
        for (size_t i = 0; i < n; ++i) {
            for (int w = 0; w < W_COUNT; ++w) {
                for (int dir = 0; dir < 2; ++dir) {
                    bool receiver = (vt.rank < peer) == (0 == dir);

                    uint64_t iter = (i * W_COUNT + (uint64_t) w) * 2 + (uint64_t) dir;

                    if (receiver) {
                        probe_one((enum way) w, 0, peer, 60 + w, sizes[i], iter);
                    } else {
                        struct vt_key k = VT_KEY(vt.rank, peer, 60 + w, sizes[i], iter);

                        vt_fill(out, k);
                        MPI(MPI_Send(out, (int) sizes[i], MPI_BYTE, peer, 60 + w, MPI_COMM_WORLD));
                    }
                }
            }
            for (int dir = 0; dir < 2; ++dir) {
                bool receiver = (vt.rank < peer) == (0 == dir);

                if (0 < sizes[i]) {
                    mprobe_order(peer, receiver, peer, sizes[i]);
                }
                cancel(peer, receiver, sizes[i]);
            }
        }
    }

    /* From any source: one sender at a time, so that the answer is known. */
    for (int src = 0; src < vt.size; ++src) {
        MPI(MPI_Barrier(MPI_COMM_WORLD));
        for (int w = 0; w < W_COUNT; ++w) {
            size_t size = sizes[(size_t) (src + w + 3) % n];

            if (vt.rank == src) {
                for (int d = 1; d < vt.size; ++d) {
                    int dst = (src + d) % vt.size;

                    vt_fill(out, VT_KEY(src, dst, 65, size, (uint64_t) w));
                    MPI(MPI_Send(out, (int) size, MPI_BYTE, dst, 65, MPI_COMM_WORLD));
                }
            } else {
                probe_one((enum way) w, 1, src, 65, size, (uint64_t) w);
            }
        }
    }
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    CHECK(!flag, "a message is there that nobody sent");
    free(out);
    free(sizes);
    vt_buf_free(&in);
    return vt_report("sizes=%zu", n);
}
