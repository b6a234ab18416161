/* SPDX-License-Identifier: BSD-3-Clause */
/* The measurements over MPI. All ranks of one call them; rank 0 prints a line of JSON, in ns. */
#ifndef VMSHM_BENCH_MPI_H
#define VMSHM_BENCH_MPI_H

#include <mpi.h>

#include "bench.h"

enum { BENCH_TAG_MEET = 1, BENCH_TAG_DATA, BENCH_TAG_READY, BENCH_TAG_ACK };

extern int bench_rank, bench_size;

struct bench_order {
    int64_t op;
    int64_t bytes;
    int64_t window;     /* messages under way at a time */
    int64_t both;       /* in both directions at a time */
    int64_t pairs;      /* ranks 0 and 1, 2 and 3, ... */
    double ms;
};

/* One-way time: half a round trip. Ranks 0 and 1. */
void bench_latency(const struct bench_order *o);
/* Time per message when `window` of them are under way; receives are posted before. Ranks below
 * 2 * pairs; returns this rank's messages per second, those that it received not counted. */
double bench_stream(const struct bench_order *o);
/* stream's result on rank 0, when the sum over the other pairs has arrived. */
void bench_stream_print(double messages_per_second);
/* Time of an exchange during which both ranks compute as long as it takes without that, over the
 * time of the computation: 1 is perfect, 2 is no overlap. Ranks 0 and 1. */
void bench_overlap(const struct bench_order *o);
/* Time per message when `window` of them arrive before the first receive is posted. Ranks 0, 1. */
void bench_flood(const struct bench_order *o);

/* An empty message. */
static inline void bench_token(int to, int tag)
{
    MPI_Send(NULL, 0, MPI_BYTE, to, tag, MPI_COMM_WORLD);
}

static inline void bench_await(int from, int tag)
{
    MPI_Recv(NULL, 0, MPI_BYTE, from, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

#endif
