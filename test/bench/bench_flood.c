/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A flood of unexpected messages: the receiver waits for a message that comes after all the others,
 * so that these arrive without a receive for them, and only then receives them.
 */
#include "bench_mpi.h"

#include <stdlib.h>

static void flood(const struct bench_order *o, uint8_t *out, MPI_Request *sends)
{
    const size_t bytes = (size_t) o->bytes;
    struct bench_samples s;
    bool more = true;

    bench_samples_begin(&s, o->ms);
    for (uint64_t n = 1; more; ++n) {
        uint64_t start;

        more = bench_samples_more(&s);
        for (int i = 0; i < o->window; ++i) {
            bench_fill(out + (size_t) i * bytes, bytes, n + (uint64_t) i, !more);
        }
        bench_await(1, BENCH_TAG_READY);
        start = bench_ticks();
        for (int i = 0; i < o->window; ++i) {
            MPI_Isend(out + (size_t) i * bytes, (int) bytes, MPI_BYTE, 1, BENCH_TAG_DATA,
                      MPI_COMM_WORLD, &sends[i]);
        }
        bench_token(1, BENCH_TAG_READY);
        MPI_Waitall((int) o->window, sends, MPI_STATUSES_IGNORE);
        bench_await(1, BENCH_TAG_ACK);
        start = bench_ticks() - start;
        if (more) {
            bench_samples_add(&s, (double) start / (double) o->window);
        }
    }
    bench_samples_print(&s, bench_ns_per_tick(), "");
    bench_samples_free(&s);
}

static void bear(const struct bench_order *o, uint8_t *in)
{
    const size_t bytes = (size_t) o->bytes;
    bool last = false;

    for (uint64_t n = 1; !last; ++n) {
        bench_token(0, BENCH_TAG_READY);
        bench_await(0, BENCH_TAG_READY);
        for (int i = 0; i < o->window; ++i) {
            MPI_Recv(in + (size_t) i * bytes, (int) bytes, MPI_BYTE, 0, BENCH_TAG_DATA,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
        bench_token(0, BENCH_TAG_ACK);
        for (int i = 0; i < o->window; ++i) {
            last = bench_check(in + (size_t) i * bytes, bytes, n + (uint64_t) i);
        }
    }
}

void bench_flood(const struct bench_order *o)
{
    uint8_t *data = bench_buffer((size_t) o->bytes * (size_t) o->window);
    MPI_Request *sends = bench_buffer((size_t) o->window * sizeof *sends);

    if (0 == bench_rank) {
        flood(o, data, sends);
    } else {
        bear(o, data);
    }
    free(data);
    free(sends);
}
