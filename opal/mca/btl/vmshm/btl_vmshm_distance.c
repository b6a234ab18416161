/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the peer's core near? Virtual machines are not told, and it changes when the host moves a vCPU.
 *
 * What is timed is the load of the line in which the peer counts what it has consumed, which it has
 * written since we read it last: a cache-to-cache transfer, tens of nanoseconds where both cores
 * share a cache, hundreds where they do not. Single samples are disturbed, so each is but a vote.
 */
#include "opal_config.h"

#include "btl_vmshm_distance.h"
#include "btl_vmshm_check.h"

#include <time.h>

#include "opal/sys/timer.h"

/* Votes for "far", of at most VOTES_MOST, at which the judgement changes. */
#define VOTES_MOST 4

/* Femtoseconds, until the monitor has measured it. */
static uint64_t fs_per_tick = 400000;

static uint64_t ticks(void)
{
#if OPAL_HAVE_SYS_TIMER_GET_CYCLES
    return (uint64_t) opal_sys_timer_get_cycles();
#else
    return 0;                           /* never far */
#endif
}

void mca_btl_vmshm_distance_clock(void)
{
    static struct timespec last;
    static uint64_t last_ticks;
    const uint64_t now_ticks = ticks();
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (0 != last_ticks && now_ticks > last_ticks) {
        const double ns = 1e9 * (double) (now.tv_sec - last.tv_sec)
                          + (double) (now.tv_nsec - last.tv_nsec);

        vmshm_store_relaxed(&fs_per_tick, (uint64_t) (1e6 * ns / (double) (now_ticks - last_ticks)));
    }
    last = now;
    last_ticks = now_ticks;
}

void mca_btl_vmshm_distance_sample(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t seen = endpoint->out.line_seen;
    uint64_t start, took, head;

    if (NULL == endpoint->out.peer_head) {
        return;
    }
    start = ticks();
    head = mca_btl_vmshm_touch_head(endpoint);
    /* The second reading waits for the load. */
    __asm__ __volatile__("" :: "r" (head) : "memory");
#if defined(__SSE2__)
    __builtin_ia32_lfence();
#endif
    took = ticks() - start;
    mca_btl_vmshm_head_seen(endpoint);
    if (seen == endpoint->out.line_seen) {
        return;                         /* it was in our cache: that says nothing */
    }
    if ((double) took * (double) vmshm_load_relaxed(&fs_per_tick)
        > 1e6 * (double) mca_btl_vmshm_context.far_ns) {
        endpoint->out.far_votes += endpoint->out.far_votes < VOTES_MOST;
    } else {
        endpoint->out.far_votes -= endpoint->out.far_votes > 0;
    }
    if (VOTES_MOST == endpoint->out.far_votes) {
        endpoint->out.far = true;
    } else if (0 == endpoint->out.far_votes) {
        endpoint->out.far = false;
    }
}
