/* SPDX-License-Identifier: BSD-3-Clause */
/* A rank that does something else for a while. */
#include "storm.h"

void storm_idle(struct storm_thread *thread, const struct storm_op *op)
{
    double end = vt_now() + 1e-6 * op->microseconds;
    int flag;

    thread->doing = "idle";
    switch (op->idle) {
    case STORM_SLEEP:
        vt_sleep_ms(op->microseconds < 1000 ? 1 : (long) op->microseconds / 1000);
        break;
    case STORM_COMPUTE:
        while (vt_now() < end) {
            for (volatile int i = 0; i < 1000; ++i) {
            }
        }
        break;
    default:
        /* Nobody sends under this tag. */
        do {
            MPI(MPI_Iprobe(MPI_ANY_SOURCE, STORM_MAX_TAG, storm_tokens, &flag, MPI_STATUS_IGNORE));
        } while (vt_now() < end);
        break;
    }
}
