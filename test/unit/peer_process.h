/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer in VM 1, in a process of its own, for tests that attach as VM 0.
 */
#ifndef VMSHM_UNIT_PEER_PROCESS_H
#define VMSHM_UNIT_PEER_PROCESS_H

#include "unit.h"

#include "vmshm_attach.h"

#define WORD UINT64_C(0x1122334455667788)

struct peer_process {
    const char *dir;
    int sockets[2];
    pid_t pid;
    struct vmshm_address address;
    uint64_t place;                     /* of a word in its control window */
    uint64_t far_place;                 /* and in a window that it grew by */
};

/* How a process of that VM attaches to dir/segment. */
struct vmshm_attach_options attach_options(const char *dir, uint32_t vm);
/* This one does, and it must work. */
struct vmshm_attached *attach(const char *dir, uint32_t vm, vmshm_tick_fn tick);

/* It has joined, and WORD and ~WORD stand at its two places, when this returns. */
void peer_start(struct peer_process *p, const char *dir);
/* It has ended, or will by itself, with that status. */
void peer_end(struct peer_process *p, int status);
void peer_kill(struct peer_process *p);
/* A process of VM 1 has to find out that its sibling is dead. */
void peer_reap(const char *dir);

#endif
