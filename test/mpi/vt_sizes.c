/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every size around every protocol's threshold, each kind of send, all pairs (itself included), both
 * directions. Receive buffers have guard zones and changing alignment.
 */
#include "vt.h"

enum mode { M_SEND, M_ISEND, M_SSEND, M_BSEND, M_RSEND, M_SENDRECV, M_ISSEND, M_EXCHANGE, M_COUNT };
static const char *const mode_name[M_COUNT] = {"send", "isend",    "ssend",  "bsend",
                                               "rsend", "sendrecv", "issend", "exchange"};

static struct vt_buf in;
static unsigned char *out;

static void send_one(enum mode m, int peer, struct vt_key k)
{
    MPI_Request req;
    int n = (int) k.size;

    switch (m) {
    case M_SEND:
        MPI(MPI_Send(out, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD));
        break;
    case M_SSEND:
        MPI(MPI_Ssend(out, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD));
        break;
    case M_BSEND:
        MPI(MPI_Bsend(out, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD));
        /* The buffer is ours again at once: spoil it to see that it was really copied. */
        memset(out, 0x11, k.size);
        break;
    case M_RSEND:
        /* The receiver says that its receive is posted. */
        MPI(MPI_Recv(NULL, 0, MPI_BYTE, peer, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        MPI(MPI_Rsend(out, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD));
        break;
    case M_ISSEND:
        MPI(MPI_Issend(out, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD, &req));
        MPI(MPI_Wait(&req, MPI_STATUS_IGNORE));
        break;
    default:
        MPI(MPI_Isend(out, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD, &req));
        MPI(MPI_Wait(&req, MPI_STATUS_IGNORE));
        break;
    }
}

static void recv_one(enum mode m, int peer, struct vt_key k)
{
    unsigned char *p = vt_guard_set(&in, k.size + (size_t) m, k.size);
    MPI_Status st;
    MPI_Request req;
    int n = (int) k.size;

    if (M_RSEND == m || M_ISEND == m) {
        MPI(MPI_Irecv(p, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD, &req));
        if (M_RSEND == m) {
            MPI(MPI_Send(NULL, 0, MPI_BYTE, peer, 9, MPI_COMM_WORLD));
        }
        MPI(MPI_Wait(&req, &st));
    } else {
        MPI(MPI_Recv(p, n, MPI_BYTE, peer, k.tag, MPI_COMM_WORLD, &st));
    }
    vt_check(p, &st, k);
    vt_guard_check(&in);
}

/* Both directions at the same time. */
static void both(enum mode m, int peer, struct vt_key to, struct vt_key from)
{
    unsigned char *p = vt_guard_set(&in, from.size + (size_t) m, from.size);
    MPI_Request req[2];
    MPI_Status st[2];
    int n = (int) to.size;

    if (M_SENDRECV == m) {
        MPI(MPI_Sendrecv(out, n, MPI_BYTE, peer, to.tag, p, n, MPI_BYTE, peer, from.tag,
                         MPI_COMM_WORLD, &st[0]));
    } else {
        MPI(MPI_Irecv(p, n, MPI_BYTE, peer, from.tag, MPI_COMM_WORLD, &req[0]));
        MPI(MPI_Isend(out, n, MPI_BYTE, peer, to.tag, MPI_COMM_WORLD, &req[1]));
        MPI(MPI_Waitall(2, req, st));
    }
    vt_check(p, &st[0], from);
    vt_guard_check(&in);
}

static void exchange(enum mode m, int peer, size_t size, uint64_t iter)
{
    struct vt_key to = VT_KEY(vt.rank, peer, 20 + (int) m, size, iter);
    struct vt_key from = VT_KEY(peer, vt.rank, 20 + (int) m, size, iter);

    vt_at("%s of %zu bytes with %d", mode_name[m], size, peer);
    vt_fill(out, to);
    if (M_SENDRECV == m || M_EXCHANGE == m || peer == vt.rank) {
        both(m, peer, to, from);
    } else if (vt.rank < peer) {
        send_one(m, peer, to);
        recv_one(m, peer, from);
    } else {
        recv_one(m, peer, from);
        send_one(m, peer, to);
    }
}

int main(int argc, char **argv)
{
    size_t n, max, *sizes;
    size_t all_modes_max;
    unsigned char *attached;
    int attached_size;

    vt_init(&argc, &argv, "sizes");
    max = (size_t) vt_arg_num("--max", VT_Q(4 << 20, 256 << 10));
    vt_args_done();
    /* Above this, or with many ranks, each pair and size takes two of the modes in turn. */
    all_modes_max = vt.quick || 4 < vt.size ? 0 : 256 << 10;

    sizes = vt_size_list(130, max, &n);
    vt_buf_init(&in, max + 1);
    out = vt_malloc(max + 1);
    attached_size = (int) max + 1 + MPI_BSEND_OVERHEAD + 1024;
    attached = vt_malloc((size_t) attached_size);
    MPI(MPI_Buffer_attach(attached, attached_size));

    /* In round r, rank i meets (r - i) mod np: a pairing in which every pair meets once. */
    for (int round = 0; round < vt.size; ++round) {
        int peer = (round - vt.rank + vt.size) % vt.size;

        for (size_t i = 0; i < n; ++i) {
            for (int m = 0; m < M_COUNT; ++m) {
                bool turn = (size_t) m % (M_COUNT / 2) == (i + (size_t) round) % (M_COUNT / 2);

                if (sizes[i] <= all_modes_max || turn) {
                    exchange((enum mode) m, peer, sizes[i], i);
                }
            }
        }
    }
    MPI(MPI_Buffer_detach(&attached, &attached_size));
    free(attached);
    free(out);
    free(sizes);
    vt_buf_free(&in);
    return vt_report("sizes=%zu largest=%zu", n, max + 1);
}
