/* SPDX-License-Identifier: BSD-3-Clause */
/* For the spawn and connect tests: starting oneself as children, and traffic over a communicator. */
#ifndef VT_TRAFFIC_H
#define VT_TRAFFIC_H

#include "vt.h"

#include <unistd.h>

/*
 * All of MPI_COMM_WORLD spawn this program with args (a list that ends with NULL). If VT_SPAWN_WRAPPER
 * names a program, the children start through it: it gets this program's path and args as its own.
 */
static inline MPI_Comm vt_spawn_self(char **args, int n)
{
    char self[4096];
    char *argv[16];
    const char *wrapper = getenv("VT_SPAWN_WRAPPER");
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    int *codes = vt_malloc(sizeof(*codes) * (size_t) n), k = 0;
    MPI_Comm inter;

    CHECK(0 < len, "cannot read /proc/self/exe");
    self[len] = '\0';
    if (NULL != wrapper) {
        argv[k++] = self;
    }
    while (NULL != *args) {
        CHECK(k < 15, "too many arguments for the children");
        argv[k++] = *args++;
    }
    argv[k] = NULL;
    MPI(MPI_Comm_spawn(NULL != wrapper ? wrapper : self, argv, n, MPI_INFO_NULL, 0, MPI_COMM_WORLD,
                       &inter, codes));
    for (int i = 0; i < n && 0 == vt.rank; ++i) {
        CHECK(MPI_SUCCESS == codes[i], "child %d: error code %d", i, codes[i]);
    }
    free(codes);
    return inter;
}

/*
 * Everybody here exchanges a message of each size with everybody there. `side` is 0 or 1 and tells the
 * groups of an intercommunicator apart in the pattern.
 */
static inline void vt_traffic_inter(MPI_Comm inter, int side, uint64_t iter)
{
    int me, remote;
    size_t n, *sizes = vt_size_few(VT_Q(300000, 70000), &n);
    unsigned char *out = vt_malloc(VT_Q(300000, 70000));
    struct vt_buf in;

    MPI(MPI_Comm_rank(inter, &me));
    MPI(MPI_Comm_remote_size(inter, &remote));
    vt_buf_init(&in, VT_Q(300000, 70000));
    for (int peer = 0; peer < remote; ++peer) {
        for (size_t i = 0; i < n; ++i) {
            struct vt_key to = VT_KEY(me + 1000 * side, peer, 80, sizes[i], iter);
            struct vt_key from = VT_KEY(peer + 1000 * !side, me, 80, sizes[i], iter);
            MPI_Request req[2];
            MPI_Status st[2];

            vt_at("intercomm, side %d, %zu bytes with %d", side, sizes[i], peer);
            vt_fill(out, to);
            vt_guard_set(&in, i, sizes[i]);
            MPI(MPI_Irecv(in.data, (int) sizes[i], MPI_BYTE, peer, 80, inter, &req[0]));
            MPI(MPI_Isend(out, (int) sizes[i], MPI_BYTE, peer, 80, inter, &req[1]));
            MPI(MPI_Waitall(2, req, st));
            CHECK(st[0].MPI_SOURCE == peer, "source %d, expected %d", st[0].MPI_SOURCE, peer);
            vt_verify(in.data, from);
            vt_guard_check(&in);
        }
    }
    vt_buf_free(&in);
    free(out);
    free(sizes);
}

/* A ring in both directions, a message from rank 0 to each, and an allreduce. */
static inline void vt_traffic_intra(MPI_Comm comm, uint64_t iter)
{
    int me, np, sum = 0;
    size_t n, *sizes = vt_size_few(VT_Q(300000, 70000), &n);
    unsigned char *out = vt_malloc(VT_Q(300000, 70000));
    struct vt_buf in;

    MPI(MPI_Comm_rank(comm, &me));
    MPI(MPI_Comm_size(comm, &np));
    vt_buf_init(&in, VT_Q(300000, 70000));
    for (int d = 1; d < np; ++d) {
        int dst = (me + d) % np, src = (me - d + np) % np;

        for (size_t i = 0; i < n; ++i) {
            MPI_Status st;

            vt_at("intracomm of %d, %zu bytes to %d from %d", np, sizes[i], dst, src);
            vt_fill(out, VT_KEY(me, dst, 81, sizes[i], iter));
            vt_guard_set(&in, i, sizes[i]);
            MPI(MPI_Sendrecv(out, (int) sizes[i], MPI_BYTE, dst, 81, in.data, (int) sizes[i], MPI_BYTE,
                             src, 81, comm, &st));
            vt_check(in.data, &st, VT_KEY(src, me, 81, sizes[i], iter));
            vt_guard_check(&in);
        }
    }
    vt_at("allreduce over %d", np);
    MPI(MPI_Allreduce(&me, &sum, 1, MPI_INT, MPI_SUM, comm));
    CHECK(sum == np * (np - 1) / 2, "allreduce gave %d for %d ranks", sum, np);
    vt_buf_free(&in);
    free(out);
    free(sizes);
}

#endif
