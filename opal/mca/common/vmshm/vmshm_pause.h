/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleep so long, whatever signals the program gets meanwhile: it may have a timer, and what is watched for a
 * heartbeat has to be watched as long as that takes.
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
