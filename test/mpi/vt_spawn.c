/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Comm_spawn of this program as children, traffic over the intercommunicator and over the merged
 * one, disconnect; several times. If VT_SPAWN_WRAPPER names a program, the children are started through
 * it (it gets this program and its arguments as its own).
 */
#include "vt.h"
#include "vt_traffic.h"

int main(int argc, char **argv)
{
    MPI_Comm parent, inter, merged;
    int rounds, kids;
    bool child;
    long long iter;

    vt_init(&argc, &argv, "spawn");
    child = vt_flag("--child");
    rounds = (int) vt_arg_num("--rounds", VT_Q(3, 2));
    kids = (int) vt_arg_num("--children", 2);
    iter = vt_arg_num("--iter", 0);
    vt_args_done();
    MPI(MPI_Comm_get_parent(&parent));
    CHECK(child == (MPI_COMM_NULL != parent), "--child is for spawned processes only");
    if (child) {
        vt.name = "spawn-child";
        vt_traffic_inter(parent, 1, (uint64_t) iter);
        MPI(MPI_Intercomm_merge(parent, 1, &merged));
        vt_traffic_intra(merged, (uint64_t) iter);
        vt_traffic_intra(MPI_COMM_WORLD, (uint64_t) iter);
        vt_at("disconnect");
        MPI(MPI_Comm_free(&merged));
        MPI(MPI_Comm_disconnect(&parent));
        vt_quiet_end();
        return 0;
    }
    for (int r = 0; r < rounds; ++r) {
        char num[16];
        char *args[] = {(char *) "--child", (char *) "--iter", num,
                        vt.quick ? (char *) "--quick" : NULL, NULL};

        snprintf(num, sizeof(num), "%d", r);
        vt_at("spawn %d of %d", r + 1, rounds);
        inter = vt_spawn_self(args, kids);
        vt_traffic_inter(inter, 0, (uint64_t) r);
        MPI(MPI_Intercomm_merge(inter, 0, &merged));
        vt_traffic_intra(merged, (uint64_t) r);
        vt_at("disconnect");
        MPI(MPI_Comm_free(&merged));
        MPI(MPI_Comm_disconnect(&inter));
        /* The old links must still work after the others are gone. */
        vt_traffic_intra(MPI_COMM_WORLD, 1000 + (uint64_t) r);
    }
    return vt_report("rounds=%d children=%d", rounds, kids);
}
