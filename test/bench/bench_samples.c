/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, samples, and what a message holds: bench.h says more. */
#define _GNU_SOURCE
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double ns_per_tick;
static volatile uint64_t sink;

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double) t.tv_sec + (double) t.tv_nsec;
}

void bench_clock_init(void)
{
    const double start = now_ns();
    const uint64_t first = bench_ticks();

    usleep(100000);
    ns_per_tick = (now_ns() - start) / (double) (bench_ticks() - first);
}

double bench_ns_per_tick(void)
{
    return ns_per_tick;
}

static uint64_t ticks_of(double ms)
{
    return (uint64_t) (1e6 * ms / ns_per_tick);
}

void bench_samples_begin(struct bench_samples *s, double ms)
{
    *s = (struct bench_samples) {
        .value = bench_buffer(BENCH_MAX_SAMPLES * sizeof(double)),
        .ms = ms, .warming = true, .end = bench_ticks() + ticks_of(ms / 10)
    };
}

bool bench_samples_more(struct bench_samples *s)
{
    const uint64_t now = bench_ticks();

    if (s->warming && now >= s->end && s->warm >= BENCH_MIN_SAMPLES) {
        s->warming = false;
        s->end = now + ticks_of(s->ms);
    }
    return s->warming || s->count < BENCH_MIN_SAMPLES
           || (s->count < BENCH_MAX_SAMPLES && now < s->end);
}

void bench_samples_add(struct bench_samples *s, double value)
{
    if (s->warming) {
        s->warm++;
    } else if (s->count < BENCH_MAX_SAMPLES) {
        s->value[s->count++] = value;
    }
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

void bench_samples_sort(struct bench_samples *s)
{
    qsort(s->value, (size_t) s->count, sizeof s->value[0], by_value);
}

double bench_samples_quantile(const struct bench_samples *s, double q)
{
    return s->value[(int) (q * (s->count - 1) + 0.5)];
}

void bench_samples_print(struct bench_samples *s, double scale, const char *more)
{
    bench_samples_sort(s);
    printf("{\"samples\": %d, \"q1\": %.6g, \"median\": %.6g, \"q3\": %.6g%s}\n", s->count,
           scale * bench_samples_quantile(s, 0.25), scale * bench_samples_quantile(s, 0.5),
           scale * bench_samples_quantile(s, 0.75), more);
}

void bench_samples_free(struct bench_samples *s)
{
    free(s->value);
}

void *bench_buffer(size_t bytes)
{
    void *p = NULL;

    if (0 != posix_memalign(&p, 4096, bytes)) {
        bench_die("out of memory");
    }
    memset(p, 0, bytes);
    return p;
}

/* The first bit is set in the last message only. */
void bench_fill(uint8_t *out, size_t bytes, uint64_t n, bool last)
{
    memset(out, (int) (n & 0x7f), bytes);
    if (last) {
        out[0] |= 0x80;
    }
}

bool bench_check(const uint8_t *in, size_t bytes, uint64_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word;

        memcpy(&word, in + i, 8);
        sum += word;
    }
    sink = sum;
    if ((in[bytes - 1] & 0x7f) != (n & 0x7f)) {
        bench_die("a message has the wrong content");
    }
    return 0 != (in[0] & 0x80);
}
