/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What spectral codes do in each step: a distributed matrix is transposed by an all-to-all whose receive
 * type has gaps, then by one into contiguous memory, then shifted along the ranks. Every element is
 * checked. The blocks are longer than the eager limit and of many sizes.
 */
#include "vt.h"

static const int edges[] = { 96, 40, 128, 33 };
enum { EDGES = sizeof edges / sizeof edges[0], MOST = 128 };

static double *rows, *turned, *back;
static int step;

static double value(int rank, size_t at)
{
    return rank * 1e9 + step * 1e5 + (double) at;
}

/* Blocks of edge x edge, one from each rank. */
static void transpose(int edge)
{
    const size_t block = (size_t) edge * (size_t) edge, all = block * (size_t) vt.size;
    const int columns = edge * vt.size;
    MPI_Datatype plain, column;

    MPI(MPI_Type_vector(edge, edge, columns, MPI_DOUBLE, &plain));
    MPI(MPI_Type_create_resized(plain, 0, (MPI_Aint) ((size_t) edge * sizeof(double)), &column));
    MPI(MPI_Type_commit(&column));
    for (size_t i = 0; i < all; ++i) {
        rows[i] = value(vt.rank, i);
        turned[i] = back[i] = -1;
    }
    MPI(MPI_Alltoall(rows, (int) block, MPI_DOUBLE, turned, 1, column, MPI_COMM_WORLD));
    for (int r = 0; r < vt.size; ++r) {
        for (size_t i = 0; i < block; ++i) {
            const size_t at = i / (size_t) edge * (size_t) columns + (size_t) (r * edge)
                              + i % (size_t) edge;
            const double wanted = value(r, (size_t) vt.rank * block + i);

            CHECK(turned[at] == wanted, "step %d, edge %d, from rank %d, element %zu: %.0f, not %.0f",
                  step, edge, r, i, turned[at], wanted);
        }
    }
    MPI(MPI_Alltoall(turned, 1, column, back, (int) block, MPI_DOUBLE, MPI_COMM_WORLD));
    for (size_t i = 0; i < all; ++i) {
        CHECK(back[i] == rows[i], "step %d, edge %d, back, element %zu: %.0f, not %.0f", step, edge, i,
              back[i], rows[i]);
    }
    MPI(MPI_Sendrecv(rows, (int) all, MPI_DOUBLE, (vt.rank + 1) % vt.size, 5, back, (int) all,
                     MPI_DOUBLE, (vt.rank + vt.size - 1) % vt.size, 5, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE));
    for (size_t i = 0; i < all; ++i) {
        const double wanted = value((vt.rank + vt.size - 1) % vt.size, i);

        CHECK(back[i] == wanted, "step %d, edge %d, shift, element %zu: %.0f, not %.0f", step, edge, i,
              back[i], wanted);
    }
    vt_count((uint64_t) (2 * vt.size + 1), 3 * all * sizeof(double));
    MPI(MPI_Type_free(&plain));
    MPI(MPI_Type_free(&column));
}

int main(int argc, char **argv)
{
    size_t most;
    int steps;

    vt_init(&argc, &argv, "transpose");
    steps = (int) vt_arg_num("--steps", VT_Q(300, 100));
    vt_args_done();
    most = (size_t) MOST * MOST * (size_t) vt.size * sizeof(double);
    rows = vt_malloc(most);
    turned = vt_malloc(most);
    back = vt_malloc(most);
    for (step = 0; step < steps; ++step) {
        vt_watchdog_restart(0);
        vt_at("step %d", step);
        transpose(edges[step / 8 % EDGES]);
    }
    free(rows);
    free(turned);
    free(back);
    return vt_report("steps=%d", steps);
}
