/* SPDX-License-Identifier: BSD-3-Clause */
/* Communicators of a plan. */
#include "storm.h"

/* Those of one split are as mixed as the seed says; each group has a member at least where there is one
 * rank for each. */
int storm_comm_color(const struct storm_comm *comm, int rank)
{
    if (STORM_SPLIT != comm->kind && STORM_INTER != comm->kind) {
        return 0;
    }
    return rank < comm->colors ? rank
                               : (int) (vt_mix(comm->detail, (uint64_t) rank) % (uint64_t) comm->colors);
}

bool storm_comm_joins(const struct storm_comm *comm, int src, int dst)
{
    bool same = storm_comm_color(comm, src) == storm_comm_color(comm, dst);

    return STORM_INTER == comm->kind ? !same : same;
}

/* Ranks of a split may be in the other order. */
static bool backward(const struct storm_comm *comm)
{
    return STORM_SPLIT == comm->kind && 0 != (comm->detail & 1);
}

int storm_comm_group(const struct storm_comm *comm, int ranks, int rank, int *members)
{
    int n = 0;

    for (int i = 0; i < ranks; ++i) {
        int r = backward(comm) ? ranks - 1 - i : i;

        if (storm_comm_color(comm, r) == storm_comm_color(comm, rank)) {
            members[n++] = r;
        }
    }
    return n;
}

int storm_comm_rank(const struct storm_comm *comm, int ranks, int rank)
{
    int members[STORM_MAX_RANKS], n = storm_comm_group(comm, ranks, rank, members), i = 0;

    while (i < n && members[i] != rank) {
        ++i;
    }
    return i;
}

void storm_comm_make(struct storm_comm *comm)
{
    int color = storm_comm_color(comm, vt.rank);
    MPI_Comm half;

    switch (comm->kind) {
    case STORM_DUP:
        MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm->comm));
        break;
    case STORM_SPLIT:
        MPI(MPI_Comm_split(MPI_COMM_WORLD, color, backward(comm) ? -vt.rank : vt.rank, &comm->comm));
        break;
    case STORM_INTER:
        /* The leaders are ranks 0 and 1 of the world: see storm_comm_color. */
        MPI(MPI_Comm_split(MPI_COMM_WORLD, color, vt.rank, &half));
        MPI(MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 0 == color ? 1 : 0, STORM_MAX_TAG - 1,
                                 &comm->comm));
        MPI(MPI_Comm_free(&half));
        break;
    default:
        return;
    }
    MPI(MPI_Comm_set_errhandler(comm->comm, MPI_ERRORS_RETURN));
}

void storm_comm_free(struct storm_comm *comm)
{
    MPI(MPI_Comm_free(&comm->comm));
}
