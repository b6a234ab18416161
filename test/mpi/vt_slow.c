/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rank that does not call MPI for a long time is not dead. Rank 1 sleeps (or with --spin computes) for
 * --seconds S, while the others wait in MPI_Recv for it, have a rendezvous message to it under way and
 * have filled its queues with small ones. Afterwards everything must arrive.
 */
#include "vt.h"

enum { BIG = 300000, SMALL = 200 };

int main(int argc, char **argv)
{
    double seconds, start;
    int nsmall;
    bool spin;
    unsigned char *big, small[SMALL];
    MPI_Status st;

    vt_init(&argc, &argv, "slow");
    seconds = (double) vt_arg_num("--seconds", VT_Q(5, 2));
    spin = vt_flag("--spin");
    nsmall = (int) vt_arg_num("--messages", VT_Q(2000, 300));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    vt_watchdog_restart((unsigned) seconds);
    big = vt_malloc(BIG);
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    if (1 == vt.rank) {
        vt_at("away from MPI for %g s", seconds);
        start = vt_now();
        if (spin) {
            volatile double x = 1.0;

            while (vt_now() - start < seconds) {
                for (int i = 0; i < 1000000; ++i) {
                    x = x * 1.0000001;
                }
            }
        } else {
            vt_sleep_ms((long) (1000 * seconds));
        }
        for (int r = 0; r < vt.size; ++r) {
            struct vt_key k = VT_KEY(1, r, 1, SMALL, 0);

            if (1 == r) {
                continue;
            }
            vt_at("awake, to rank %d", r);
            vt_fill(small, k);
            MPI(MPI_Send(small, SMALL, MPI_BYTE, r, 1, MPI_COMM_WORLD));
            for (int i = 0; i < nsmall; ++i) {
                MPI(MPI_Recv(small, SMALL, MPI_BYTE, r, 2, MPI_COMM_WORLD, &st));
                vt_check(small, &st, VT_KEY(r, 1, 2, SMALL, (uint64_t) i));
            }
            memset(big, 0xdb, BIG);
            MPI(MPI_Recv(big, BIG, MPI_BYTE, r, 3, MPI_COMM_WORLD, &st));
            vt_check(big, &st, VT_KEY(r, 1, 3, BIG, 0));
        }
    } else {
        MPI_Request req;
        unsigned char *many = vt_malloc((size_t) nsmall * SMALL);
        MPI_Request *reqs = vt_malloc(sizeof(*reqs) * (size_t) nsmall);

        vt_fill(big, VT_KEY(vt.rank, 1, 3, BIG, 0));
        for (int i = 0; i < nsmall; ++i) {
            vt_fill(many + (size_t) i * SMALL, VT_KEY(vt.rank, 1, 2, SMALL, (uint64_t) i));
            MPI(MPI_Isend(many + (size_t) i * SMALL, SMALL, MPI_BYTE, 1, 2, MPI_COMM_WORLD, &reqs[i]));
        }
        MPI(MPI_Isend(big, BIG, MPI_BYTE, 1, 3, MPI_COMM_WORLD, &req));
        vt_at("waiting for rank 1, which is away for %g s", seconds);
        start = vt_now();
        MPI(MPI_Recv(small, SMALL, MPI_BYTE, 1, 1, MPI_COMM_WORLD, &st));
        vt_check(small, &st, VT_KEY(1, vt.rank, 1, SMALL, 0));
        CHECK(vt_now() - start > 0.5 * seconds, "rank 1 answered after %.2f s and was not away",
              vt_now() - start);
        MPI(MPI_Waitall(nsmall, reqs, MPI_STATUSES_IGNORE));
        MPI(MPI_Wait(&req, MPI_STATUS_IGNORE));
        free(reqs);
        free(many);
    }
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    free(big);
    return vt_report("away=%gs %s", seconds, spin ? "computing" : "sleeping");
}
