/* SPDX-License-Identifier: BSD-3-Clause */
/* What a plan draws from. */
#include "storm.h"

/* Bytes of a message at which a transport does something else: vmshm's short and inline messages (less
 * their header), its cells and chunks and its pool; then Open MPI's own limits. */
static size_t thresholds[96] = {10,    24,    64,    242,   256,    300,    1536,   4032,   4096,
                                8192,  8256,  16320, 16384, 32704,  32768,  65536,  131072, 262144,
                                524288, 1048576, 2097152, 4194304};
static size_t threshold_count = 22;

void storm_mix_thresholds(const size_t *list, size_t n)
{
    for (size_t i = 0; i < n && threshold_count < sizeof(thresholds) / sizeof(thresholds[0]); ++i) {
        thresholds[threshold_count++] = list[i];
    }
}

int storm_pick(const int *weights, int n, uint64_t *random)
{
    int sum = 0, at;

    for (int i = 0; i < n; ++i) {
        sum += weights[i];
    }
    at = (int) vt_rand_below(random, (size_t) sum);
    for (int i = 0; i < n - 1; ++i) {
        at -= weights[i];
        if (at < 0) {
            return i;
        }
    }
    return n - 1;
}

static int one_of(const int *values, int n, uint64_t *random)
{
    return values[vt_rand_below(random, (size_t) n)];
}
#define ONE_OF(random, ...) \
    one_of((const int[]) {__VA_ARGS__}, (int) (sizeof((int[]) {__VA_ARGS__}) / sizeof(int)), random)

void storm_mix_draw(struct storm_mix *mix, uint64_t seed, int ranks, size_t max)
{
    static const int kinds[STORM_KINDS] = {60, 5, 4, 4, 6, 2, 10, 9};
    static const int modes[STORM_MODES] = {12, 3, 3, 2};
    static const int hows[STORM_HOWS] = {16, 5, 2, 2, 2, 2, 2};
    uint64_t random = vt_mix(seed, 0x6d6978);

    memset(mix, 0, sizeof(*mix));
    mix->max = max;
    /* Small messages only are many in the same time: rings, their growth, acknowledgements. */
    switch (vt_rand_below(&random, 6)) {
    case 0: mix->max = 2048; break;
    case 1: mix->max = 40000; break;
    case 2: mix->max = 600000; break;
    default: break;
    }
    if (mix->max > max) {
        mix->max = max;
    }
    for (int i = 0; i < STORM_KINDS; ++i) {
        mix->weight[i] = kinds[i] * ONE_OF(&random, 1, 1, 1, 1, 3, 0);
    }
    if (0 == mix->weight[STORM_MESSAGE]) {
        mix->weight[STORM_MESSAGE] = 10;
    }
    for (int i = 0; i < STORM_MODES; ++i) {
        mix->mode[i] = modes[i] * ONE_OF(&random, 1, 1, 1, 4);
    }
    for (int i = 0; i < STORM_HOWS; ++i) {
        mix->how[i] = hows[i] * ONE_OF(&random, 1, 1, 1, 4, 0);
    }
    mix->how[STORM_PLAIN] += 8;
    mix->threshold_percent = ONE_OF(&random, 10, 40, 40, 80);
    mix->large_percent = ONE_OF(&random, 20, 45, 70, 95);
    mix->send_gaps = ONE_OF(&random, 0, 15, 40, 80);
    mix->recv_gaps = ONE_OF(&random, 10, 35, 50, 80);
    mix->blocking_percent = ONE_OF(&random, 5, 25, 25, 60);
    mix->shared_tags = ONE_OF(&random, 0, 40, 80);
    mix->truncated = ONE_OF(&random, 0, 4, 4, 15);
    mix->span = ONE_OF(&random, 2, 6, 12, 30);
    mix->pattern = (int) vt_rand_below(&random, 5);
    mix->favourite[0] = (int) vt_rand_below(&random, (size_t) ranks);
    mix->favourite[1] = (mix->favourite[0] + 1
                         + (int) vt_rand_below(&random, (size_t) (ranks > 1 ? ranks - 1 : 1)))
                        % ranks;
}

/* From 0 to max, each power of two as likely as the other. */
static size_t log_uniform(size_t least, size_t max, uint64_t *random)
{
    int bits = 0, from = 0;
    size_t high;

    while (max >> bits > 1) {
        ++bits;
    }
    while (least >> from > 1) {
        ++from;
    }
    if (from > bits) {
        from = bits;
    }
    high = (size_t) 1 << (from + (int) vt_rand_below(random, (size_t) (bits - from + 1)));
    high += vt_rand_below(random, high);
    return high > max ? max : high - (0 == vt_rand_below(random, 4) && 1 == high);
}

size_t storm_mix_size(const struct storm_mix *mix, uint64_t *random)
{
    if (storm_percent(mix->threshold_percent, random)) {
        size_t t = thresholds[vt_rand_below(random, threshold_count)];
        size_t delta = 0 == vt_rand_below(random, 2) ? vt_rand_below(random, 3)
                                                     : vt_rand_below(random, 81);

        if (t <= mix->max) {
            t = 0 == vt_rand_below(random, 2) ? t + delta : t < delta ? 0 : t - delta;
            return t > mix->max ? mix->max : t;
        }
    }
    return storm_percent(mix->large_percent, random) ? log_uniform(16384, mix->max, random)
                                                     : log_uniform(1, mix->max < 16384 ? mix->max : 16384,
                                                                   random);
}
