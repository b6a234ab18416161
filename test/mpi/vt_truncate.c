/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A message longer than the receive buffer: MPI_ERR_TRUNCATE, nothing written beyond the buffer, the
 * send completes, and the link works as before. Expected and unexpected messages, eager and rendezvous.
 *
 * Open MPI 4.1's pml/ob1 moves the whole message when it uses a BTL's get or put, whatever the size of
 * the receive buffer, and so overwrites memory behind it (vader with CMA from its eager limit on, tcp
 * from 64 KiB on). No BTL can prevent that: it sees an address and the sender's length. With
 * --allow-ob1-overrun the program accepts bytes behind the buffer that are exactly the rest of that
 * message, none beyond the message's end, and reports how often it happened. Without it they fail.
 */
#include "vt.h"

enum how { H_RECV, H_LATE, H_WAIT, H_WAITALL, H_SENDRECV, H_COUNT };
static const char *const how_name[H_COUNT] = {"recv", "late recv", "irecv+wait", "irecv+waitall",
                                              "sendrecv"};

static MPI_Comm comm;
static struct vt_buf in;
static unsigned char *out;

#define BEHIND 0xe7
static bool allow_overrun;
static size_t overruns;

/* The receive buffer: guard, `space` bytes, then canaries for as long as the message is, and more. */
static unsigned char *short_buffer(size_t space, size_t size)
{
    unsigned char *p = vt_guard_set(&in, space, size);

    memset(p + space, BEHIND, size - space);
    return p;
}

static void check_behind(struct vt_key k, size_t space)
{
    size_t first = space;
    unsigned char *want;

    while (first < k.size && BEHIND == in.data[first]) {
        ++first;
    }
    vt_guard_check(&in);
    if (first == k.size) {
        return;
    }
    CHECK(allow_overrun, "byte %zu after a buffer of %zu bytes was overwritten by a message of %zu",
          first - space, space, k.size);
    want = vt_malloc(k.size);
    vt_fill(want, k);
    for (size_t i = first; i < k.size; ++i) {
        CHECK(BEHIND == in.data[i] || want[i] == in.data[i],
              "byte %zu after a buffer of %zu bytes is neither untouched nor the message's", i - space,
              space);
    }
    free(want);
    ++overruns;
}

static void check_truncated(int rc, const char *call, struct vt_key k, size_t space)
{
    int class = MPI_SUCCESS;

    if (MPI_SUCCESS != rc) {
        MPI(MPI_Error_class(rc, &class));
    }
    CHECK(MPI_ERR_TRUNCATE == class, "%s gave error class %d (code %d), expected MPI_ERR_TRUNCATE (%d)",
          call, class, rc, MPI_ERR_TRUNCATE);
    check_behind(k, space);
    vt_count(1, 0);
}

static void receive_short(enum how how, int peer, size_t size, size_t space)
{
    struct vt_key k = VT_KEY(peer, vt.rank, 5, size, (uint64_t) how);
    unsigned char *p = short_buffer(space, size), go = 42;
    MPI_Request req[2];
    MPI_Status st[2];
    int rc;

    switch (how) {
    case H_LATE: /* the message is here before the receive: the barrier brought it */
        MPI(MPI_Sendrecv(NULL, 0, MPI_BYTE, peer, 8, NULL, 0, MPI_BYTE, peer, 8, comm,
                         MPI_STATUS_IGNORE));
        /* fall through */
    case H_RECV:
        rc = MPI_Recv(p, (int) space, MPI_BYTE, peer, 5, comm, &st[0]);
        check_truncated(rc, "MPI_Recv", k, space);
        break;
    case H_WAIT:
        MPI(MPI_Irecv(p, (int) space, MPI_BYTE, peer, 5, comm, &req[0]));
        MPI(MPI_Send(&go, 1, MPI_BYTE, peer, 7, comm));
        rc = MPI_Wait(&req[0], &st[0]);
        check_truncated(rc, "MPI_Wait", k, space);
        break;
    case H_WAITALL:
        MPI(MPI_Irecv(p, (int) space, MPI_BYTE, peer, 5, comm, &req[0]));
        MPI(MPI_Isend(&go, 1, MPI_BYTE, peer, 7, comm, &req[1]));
        rc = MPI_Waitall(2, req, st);
        CHECK(MPI_ERR_IN_STATUS == rc, "MPI_Waitall gave %d, expected MPI_ERR_IN_STATUS", rc);
        check_truncated(st[0].MPI_ERROR, "MPI_Waitall", k, space);
        CHECK(MPI_SUCCESS == st[1].MPI_ERROR || MPI_ERR_PENDING == st[1].MPI_ERROR,
              "the send beside it has error %d", st[1].MPI_ERROR);
        if (MPI_ERR_PENDING == st[1].MPI_ERROR) {
            MPI(MPI_Wait(&req[1], MPI_STATUS_IGNORE));
        }
        break;
    default:
        rc = MPI_Sendrecv(&go, 1, MPI_BYTE, peer, 6, p, (int) space, MPI_BYTE, peer, 5, comm, &st[0]);
        check_truncated(rc, "MPI_Sendrecv", k, space);
        break;
    }
}

static void send_long(enum how how, int peer, size_t size)
{
    struct vt_key k = VT_KEY(vt.rank, peer, 5, size, (uint64_t) how);
    unsigned char go = 0;
    MPI_Request req;

    vt_fill(out, k);
    switch (how) {
    case H_LATE:
        MPI(MPI_Isend(out, (int) size, MPI_BYTE, peer, 5, comm, &req));
        MPI(MPI_Sendrecv(NULL, 0, MPI_BYTE, peer, 8, NULL, 0, MPI_BYTE, peer, 8, comm,
                         MPI_STATUS_IGNORE));
        MPI(MPI_Wait(&req, MPI_STATUS_IGNORE));
        break;
    case H_WAIT:
    case H_WAITALL:
        MPI(MPI_Recv(&go, 1, MPI_BYTE, peer, 7, comm, MPI_STATUS_IGNORE));
        CHECK(42 == go, "the go-ahead is %d", go);
        MPI(MPI_Send(out, (int) size, MPI_BYTE, peer, 5, comm));
        break;
    case H_SENDRECV:
        MPI(MPI_Send(out, (int) size, MPI_BYTE, peer, 5, comm));
        MPI(MPI_Recv(&go, 1, MPI_BYTE, peer, 6, comm, MPI_STATUS_IGNORE));
        CHECK(42 == go, "the go-ahead is %d", go);
        break;
    default:
        MPI(MPI_Send(out, (int) size, MPI_BYTE, peer, 5, comm));
        break;
    }
}

/* The same size goes through unharmed afterwards, into a buffer that fits exactly. */
static void link_works(int peer, size_t size, bool sender)
{
    struct vt_key k = VT_KEY(sender ? vt.rank : peer, sender ? peer : vt.rank, 4, size, 99);
    MPI_Status st;

    if (sender) {
        vt_fill(out, k);
        MPI(MPI_Send(out, (int) size, MPI_BYTE, peer, 4, comm));
    } else {
        unsigned char *p = vt_guard_set(&in, 3, size);

        MPI(MPI_Recv(p, (int) size, MPI_BYTE, peer, 4, comm, &st));
        vt_check(p, &st, k);
        vt_guard_check(&in);
    }
}

int main(int argc, char **argv)
{
    size_t n, max, *sizes, done = 0;
    unsigned long long mine, all = 0;

    vt_init(&argc, &argv, "truncate");
    max = (size_t) vt_arg_num("--max", VT_Q(2 << 20, 200000));
    allow_overrun = vt_flag("--allow-ob1-overrun");
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    sizes = vt_size_few(max, &n);
    vt_buf_init(&in, max);
    out = vt_malloc(max);
    for (int round = 0; round < vt.size; ++round) {
        int peer = (round - vt.rank + vt.size) % vt.size;

        if (peer == vt.rank) {
            continue;
        }
        for (size_t i = 0; i < n; ++i) {
            const size_t spaces[] = {0, 1, sizes[i] / 2, sizes[i] - 1};

            for (size_t s = 0; 0 < sizes[i] && s < 4; ++s) {
                for (int h = 0; h < H_COUNT; ++h) {
                    for (int dir = 0; dir < 2; ++dir) {
                        bool sender = (vt.rank < peer) == (0 == dir);

                        vt_at("%s, %zu bytes into %zu, %s rank %d", how_name[h], sizes[i], spaces[s],
                              sender ? "to" : "from", peer);
                        if (spaces[s] >= sizes[i]) {
                            continue;
                        }
                        if (sender) {
                            send_long((enum how) h, peer, sizes[i]);
                        } else {
                            receive_short((enum how) h, peer, sizes[i], spaces[s]);
                        }
                        link_works(peer, 0 == s ? sizes[i] : 100, sender);
                        ++done;
                    }
                }
            }
        }
    }
    MPI(MPI_Comm_free(&comm));
    free(sizes);
    free(out);
    vt_buf_free(&in);
    mine = overruns;
    MPI(MPI_Reduce(&mine, &all, 1, MPI_UNSIGNED_LONG_LONG, MPI_SUM, 0, MPI_COMM_WORLD));
    return vt_report("truncations=%zu per rank, sizes=%zu, overruns by ob1=%llu", done / 2, n, all);
}
