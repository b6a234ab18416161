/* SPDX-License-Identifier: BSD-3-Clause */
/* Persistent requests, started again and again, and every way to complete them. */
#include "vt.h"

enum { PER_PEER = 6 };

static size_t req_size(int i, int src, int dst)
{
    static const size_t base[PER_PEER] = {1, 64, 3000, 4096, 40000, 140000};
    size_t s = base[i] + (size_t) (5 * src + 3 * dst);

    return vt.quick && 10000 < s ? 10000 : s;
}

int main(int argc, char **argv)
{
    int rounds, n, others;
    MPI_Request *req;
    MPI_Status *st;
    unsigned char **out;
    struct vt_buf *in;
    struct vt_key *kin, *kout;
    int *index;

    vt_init(&argc, &argv, "persistent");
    rounds = (int) vt_arg_num("--rounds", VT_Q(60, 12));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    others = vt.size - 1;
    n = others * PER_PEER;
    /* The first n requests receive, the others send. */
    req = vt_malloc(sizeof(*req) * 2 * (size_t) n);
    st = vt_malloc(sizeof(*st) * 2 * (size_t) n);
    index = vt_malloc(sizeof(*index) * 2 * (size_t) n);
    out = vt_malloc(sizeof(*out) * (size_t) n);
    in = vt_malloc(sizeof(*in) * (size_t) n);
    kin = vt_malloc(sizeof(*kin) * (size_t) n);
    kout = vt_malloc(sizeof(*kout) * (size_t) n);
    for (int p = 0; p < others; ++p) {
        int peer = (vt.rank + 1 + p) % vt.size;

        for (int i = 0; i < PER_PEER; ++i) {
            int k = p * PER_PEER + i;

            kin[k] = VT_KEY(peer, vt.rank, 50 + i, req_size(i, peer, vt.rank), 0);
            kout[k] = VT_KEY(vt.rank, peer, 50 + i, req_size(i, vt.rank, peer), 0);
            vt_buf_init(&in[k], kin[k].size);
            vt_guard_set(&in[k], (size_t) k, kin[k].size);
            out[k] = vt_malloc(kout[k].size);
            MPI(MPI_Recv_init(in[k].data, (int) kin[k].size, MPI_BYTE, peer, 50 + i, MPI_COMM_WORLD,
                              &req[k]));
            if (i % 2) {
                MPI(MPI_Ssend_init(out[k], (int) kout[k].size, MPI_BYTE, peer, 50 + i, MPI_COMM_WORLD,
                                   &req[n + k]));
            } else {
                MPI(MPI_Send_init(out[k], (int) kout[k].size, MPI_BYTE, peer, 50 + i, MPI_COMM_WORLD,
                                  &req[n + k]));
            }
        }
    }
    for (int r = 0; r < rounds; ++r) {
        int left = 2 * n, flag = 0, got;

        vt_at("round %d of %d", r, rounds);
        for (int k = 0; k < n; ++k) {
            kin[k].iter = kout[k].iter = (uint64_t) r;
            vt_fill(out[k], kout[k]);
            vt_guard_set(&in[k], (size_t) k, kin[k].size);
            memset(&st[k], 0, sizeof(st[k]));
        }
        if (r % 2) { /* receives and sends together, or one by one with the sends first */
            MPI(MPI_Startall(2 * n, req));
        } else {
            for (int k = n - 1; k >= 0; --k) {
                MPI(MPI_Start(&req[n + k]));
            }
            MPI(MPI_Startall(n, req));
        }
        switch (r % 4) {
        case 0:
            MPI(MPI_Waitall(2 * n, req, st));
            break;
        case 1:
            for (; 0 < left; --left) {
                MPI_Status one;

                MPI(MPI_Waitany(2 * n, req, &got, &one));
                CHECK(0 <= got && got < 2 * n, "MPI_Waitany gave index %d, %d are left", got, left);
                st[got] = one;
            }
            MPI(MPI_Waitany(2 * n, req, &got, MPI_STATUS_IGNORE));
            CHECK(MPI_UNDEFINED == got, "index %d is active although all are complete", got);
            break;
        case 2: {
            MPI_Status *some = vt_malloc(sizeof(*some) * 2 * (size_t) n);

            while (0 < left) {
                MPI(MPI_Waitsome(2 * n, req, &got, index, some));
                CHECK(0 < got && got <= left, "MPI_Waitsome gave %d, %d are left", got, left);
                for (int j = 0; j < got; ++j) {
                    st[index[j]] = some[j];
                }
                left -= got;
            }
            free(some);
            break;
        }
        default:
            while (!flag) {
                MPI(MPI_Testall(2 * n, req, &flag, st));
            }
            break;
        }
        for (int k = 0; k < n; ++k) {
            vt_check(in[k].data, &st[k], kin[k]);
            vt_guard_check(&in[k]);
        }
    }
    for (int k = 0; k < 2 * n; ++k) {
        CHECK(MPI_REQUEST_NULL != req[k], "persistent request %d was freed", k);
        MPI(MPI_Request_free(&req[k]));
    }
    for (int k = 0; k < n; ++k) {
        vt_buf_free(&in[k]);
        free(out[k]);
    }
    free(req);
    free(st);
    free(index);
    free(out);
    free(in);
    free(kin);
    free(kout);
    return vt_report("rounds=%d requests=%d per rank", rounds, 2 * n);
}
