/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleep for the full time even if signals arrive, for instance from a timer of the program: a heartbeat must be
 * watched long enough.
 */
#ifndef VMSHM_PAUSE_H
#define VMSHM_PAUSE_H

#include <errno.h>
#include <time.h>

static inline void vmshm_pause_us(unsigned long us)
{
    struct timespec left = { .tv_sec = (time_t) (us / 1000000), .tv_nsec = (long) (us % 1000000) * 1000 };

    while (0 != nanosleep(&left, &left) && EINTR == errno) {
    }
}

#endif
