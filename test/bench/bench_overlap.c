/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does a transfer go on while the program computes? Two ranks exchange a message of the same size,
 * once idle and once with a computation between the start of the exchange and the wait for its end.
 * The computation takes as long as the idle exchange took so far, and touches no memory.
 */
#include "bench_mpi.h"

#include <stdio.h>
#include <stdlib.h>

enum { SETTLING = 8 };  /* exchanges: the first ones connect and warm up */

struct turn {
    uint64_t compute;   /* ticks, 0: none */
    uint64_t n;
    bool last;
};

static void compute_for(uint64_t ticks)
{
    const uint64_t end = bench_ticks() + ticks;

    while (bench_ticks() < end) {
    }
}

static uint64_t exchange(uint8_t *out, uint8_t *in, int bytes, const struct turn *t)
{
    const int peer = 1 - bench_rank;
    MPI_Request both[2];
    uint64_t start;

    bench_fill(out, (size_t) bytes, t->n, false);
    /* Both are ready; the one that times is told last. */
    if (0 == bench_rank) {
        bench_token(peer, BENCH_TAG_READY);
        bench_await(peer, BENCH_TAG_READY);
    } else {
        bench_await(peer, BENCH_TAG_READY);
        bench_token(peer, BENCH_TAG_READY);
    }
    start = bench_ticks();
    MPI_Irecv(in, bytes, MPI_BYTE, peer, BENCH_TAG_DATA, MPI_COMM_WORLD, &both[0]);
    MPI_Isend(out, bytes, MPI_BYTE, peer, BENCH_TAG_DATA, MPI_COMM_WORLD, &both[1]);
    compute_for(t->compute);
    MPI_Waitall(2, both, MPI_STATUSES_IGNORE);
    start = bench_ticks() - start;
    (void) bench_check(in, (size_t) bytes, t->n);
    return start;
}

void bench_overlap(const struct bench_order *o)
{
    const int bytes = (int) o->bytes;
    uint8_t *in = bench_buffer((size_t) bytes), *out = bench_buffer((size_t) bytes);
    struct turn t = { .n = 0 };
    struct bench_samples s = { .count = 0 };
    double idle = 0;
    char more[64];

    if (0 == bench_rank) {
        bench_samples_begin(&s, o->ms);
    }
    do {
        uint64_t ticks;

        t.n++;
        if (0 == bench_rank) {
            t.last = !bench_samples_more(&s);
            t.compute = 0 == t.n % 2 ? (uint64_t) idle : 0;
            MPI_Send(&t, sizeof t, MPI_BYTE, 1, BENCH_TAG_MEET, MPI_COMM_WORLD);
        } else {
            MPI_Recv(&t, sizeof t, MPI_BYTE, 0, BENCH_TAG_MEET, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
        ticks = exchange(out, in, bytes, &t);
        if (0 != bench_rank) {
            continue;
        }
        if (0 < t.compute) {
            bench_samples_add(&s, (double) ticks / (double) t.compute);
        } else if (t.n < SETTLING) {
            idle = 1 == t.n || (double) ticks < idle ? (double) ticks : idle;
        } else {
            /* Tends to the median: single exchanges that took long hardly count. */
            idle *= (double) ticks < idle ? 0.98 : 1.02;
        }
    } while (!t.last);
    if (0 == bench_rank) {
        snprintf(more, sizeof more, ", \"idle\": %.6g", bench_ns_per_tick() * idle);
        bench_samples_print(&s, 1, more);
        bench_samples_free(&s);
    }
    free(in);
    free(out);
}
