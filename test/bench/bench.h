/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the benchmark programs share: the clock, samples, and what a message holds.
 *
 * bench_mpi: bench_mpi.c (orders), bench_latency.c, bench_stream.c, bench_overlap.c, bench_flood.c
 * bench_limits: bench_limits.c, without MPI
 */
#ifndef VMSHM_BENCH_H
#define VMSHM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

/* A message of fewer bytes is timed in batches, as the clock would be a part of its time; the
 * buffers of larger ones are rewritten and read outside the time. */
enum { BENCH_TIMED_SINGLY = 512, BENCH_BATCH = 16 };

enum { BENCH_MAX_SAMPLES = 1 << 16, BENCH_MIN_SAMPLES = 3 };

/* --- bench_samples.c */
struct bench_samples {
    double *value;
    int count;
    int warm;           /* samples not kept so far */
    bool warming;
    double ms;
    uint64_t end;       /* of the present phase, in ticks */
};

/* Where a clock is a system call (User-Mode Linux: several us) it would spoil what it measures. */
static inline uint64_t bench_ticks(void)
{
    return __rdtsc();
}

/* Finds how long a tick is; takes a tenth of a second. */
void bench_clock_init(void);
double bench_ns_per_tick(void);

/* A tenth of the time is for connections, pages and caches: those samples are not kept. */
void bench_samples_begin(struct bench_samples *s, double ms);
bool bench_samples_more(struct bench_samples *s);
void bench_samples_add(struct bench_samples *s, double value);
void bench_samples_sort(struct bench_samples *s);
/* Of sorted samples; q from 0 to 1. */
double bench_samples_quantile(const struct bench_samples *s, double q);
/* One line of JSON, values times scale; more: further members, with a comma in front, or "". */
void bench_samples_print(struct bench_samples *s, double scale, const char *more);
void bench_samples_free(struct bench_samples *s);

/* Page-aligned, and written once. Ends the program if there is no memory. */
void *bench_buffer(size_t bytes);

/* The content of message n, the last one or not; and whether that is what came. Every byte is
 * written and read, as a program that computes what it sends would do. */
void bench_fill(uint8_t *out, size_t bytes, uint64_t n, bool last);
/* Returns whether it was the last one. Ends the program if the content is wrong. */
bool bench_check(const uint8_t *in, size_t bytes, uint64_t n);

/* --- bench_mpi.c, bench_limits.c: each program ends in its way. */
_Noreturn void bench_die(const char *what);

#endif
