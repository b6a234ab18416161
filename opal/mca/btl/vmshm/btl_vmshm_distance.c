/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does the peer run on a near core? A virtual machine cannot know the host's topology, which also changes
 * when the host moves a vCPU. So measure it.
 *
 * A sample times a load of the cache line of the peer's head, if the peer has written the line since we
 * last read it: a cache-to-cache transfer, which takes tens of nanoseconds if both cores share a cache,
 * and hundreds if they do not. Single samples are noisy, so each counts only as a vote.
 */
#include "opal_config.h"

#include "btl_vmshm_distance.h"
#include "btl_vmshm_check.h"

#include <time.h>

#include "opal/sys/timer.h"

/* The votes saturate at 0 and at this value. The peer becomes far at this value, near at 0. */
#define VOTES_MOST 4

/* Femtoseconds per tick of the cycle counter; a guess until the monitor has measured it. */
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
    /* Read the counter again only after the load has completed. */
    __asm__ __volatile__("" :: "r" (head) : "memory");
#if defined(__SSE2__)
    __builtin_ia32_lfence();
#endif
    took = ticks() - start;
    mca_btl_vmshm_head_seen(endpoint);
    if (seen == endpoint->out.line_seen) {
        return;                         /* unchanged, so probably still in our cache: not a valid sample */
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
