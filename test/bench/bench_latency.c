/* SPDX-License-Identifier: BSD-3-Clause */
/* Ping-pong. Samples are short, so their median is hardly touched by moments in which one of the
 * two ranks did not run. */
#include "bench_mpi.h"

#include <stdlib.h>

static void answer(uint8_t *out, uint8_t *in, size_t bytes)
{
    bool last = false;

    for (uint64_t n = 1; !last; ++n) {
        bench_fill(out, bytes, n, false);
        MPI_Recv(in, (int) bytes, MPI_BYTE, 0, BENCH_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(out, (int) bytes, MPI_BYTE, 0, BENCH_TAG_DATA, MPI_COMM_WORLD);
        last = bench_check(in, bytes, n);
    }
}

/* The ticks from the first message's way out to its answer. */
static inline uint64_t round_trip(uint8_t *out, uint8_t *in, size_t bytes, uint64_t n, bool last)
{
    uint64_t start;

    bench_fill(out, bytes, n, last);
    start = bench_ticks();
    MPI_Send(out, (int) bytes, MPI_BYTE, 1, BENCH_TAG_DATA, MPI_COMM_WORLD);
    MPI_Recv(in, (int) bytes, MPI_BYTE, 1, BENCH_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    start = bench_ticks() - start;
    (void) bench_check(in, bytes, n);
    return start;
}

static void ask(uint8_t *out, uint8_t *in, size_t bytes, double ms)
{
    const int batch = bytes < BENCH_TIMED_SINGLY ? BENCH_BATCH : 1;
    struct bench_samples s;
    uint64_t n = 0;

    bench_samples_begin(&s, ms);
    while (bench_samples_more(&s)) {
        uint64_t sum = 0;

        if (1 == batch) {
            sum = round_trip(out, in, bytes, ++n, false);
        } else {
            sum = bench_ticks();
            for (int i = 0; i < batch; ++i) {
                (void) round_trip(out, in, bytes, ++n, false);
            }
            sum = bench_ticks() - sum;
        }
        bench_samples_add(&s, (double) sum / batch);
    }
    (void) round_trip(out, in, bytes, ++n, true);
    bench_samples_print(&s, bench_ns_per_tick() / 2, "");
    bench_samples_free(&s);
}

void bench_latency(const struct bench_order *o)
{
    const size_t bytes = (size_t) o->bytes;
    uint8_t *in = bench_buffer(bytes), *out = bench_buffer(bytes);

    if (0 == bench_rank) {
        ask(out, in, bytes, o->ms);
    } else {
        answer(out, in, bytes);
    }
    free(in);
    free(out);
}
