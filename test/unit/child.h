/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of VM 0 that has a window and lives until it is killed.
 */
#ifndef CHILD_H
#define CHILD_H

#include "unit.h"

struct child {
    const char *dir;
    int ready[2];               /* the child writes its slot, then waits to be killed */
    bool hold_mutex, read_peer, beat;
    long beat_ms;               /* 0: 50 */
    const char *boot;
};

/* Its slot goes to *slot. */
pid_t start_child(struct child *c, uint32_t *slot);
void kill_child(pid_t pid);

uint32_t proc_state(const struct vmshm_member *m, uint32_t slot);
/* Windows of the own section that are not empty. */
uint32_t used_windows(const struct vmshm_member *m);

#endif
