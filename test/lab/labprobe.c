/* SPDX-License-Identifier: BSD-3-Clause */
/* What the lab's own test runs under mpirun: hello | exit STATUS | spin SECONDS | abort SECONDS */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int rank, size, sum = 0, value;
    char host[256];
    const char *mode = argc > 1 ? argv[1] : "hello";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    long rounds = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof(host));
    value = rank + 1;
    MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d of %d on %s sum %d\n", rank, size, host, sum);
    fflush(stdout);
    if (strcmp(mode, "abort") == 0) {
        /* as a transport does that has noticed a lost peer: without a word to the others */
        if (rank == 0) {
            sleep((unsigned) number);
            MPI_Abort(MPI_COMM_WORLD, 9);
        }
        MPI_Barrier(MPI_COMM_WORLD);
    }
    if (strcmp(mode, "spin") == 0) {
        /* rank 0's clock decides, so that all leave after the same round */
        double end = MPI_Wtime() + number;
        int go = 1;
        while (go) {
            go = MPI_Wtime() < end;
            MPI_Bcast(&go, 1, MPI_INT, 0, MPI_COMM_WORLD);
            MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
            rounds++;
        }
        if (rank == 0) {
            printf("%ld rounds\n", rounds);
        }
    }
    MPI_Finalize();
    return strcmp(mode, "exit") == 0 ? number : 0;
}
