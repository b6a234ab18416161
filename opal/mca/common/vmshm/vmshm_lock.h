/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest-local lock file of a section: arbitration among the processes of one VM.
 *
 * One file per segment and VM, on a file system that only this VM has (vmshm_lock_dir()).
 * Byte 0 is the mutex of the section's tables; byte 1 + slot is held by the process that owns the
 * slot for as long as it lives, so that the kernel itself tells who is dead. The locks are open
 * file description locks (fcntl(2), F_OFD_SETLK): they go with the last descriptor, need no pid,
 * and so work across PID namespaces. A child that was forked without exec keeps its parent's slot
 * alive until it ends.
 *
 * Who may open the file can lock any byte of it, and so keep others out. Its owner, group and mode
 * are therefore those of the segment: who may open that can do worse. One that somebody else made is not
 * used, by root neither: he may have it open.
 *
 * The file's content is for people only: while byte 0 is held it is the holder's pid.
 */
#ifndef VMSHM_LOCK_H
#define VMSHM_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_error.h"

/* So long a process waits for one that has the mutex. Those who have it may clear windows meanwhile,
 * or watch another epoch's heartbeat for 1.5 s, but if they need so long they stand still. */
#define VMSHM_LOCK_PATIENCE_MS 10000

struct vmshm_lock {
    int fd;
    pthread_mutex_t mutex;     /* the threads of this process: they share the description */
    uint32_t patience_ms;
    bool was_held;             /* the last wait was in vain: wait less until the mutex was had again */
    uint64_t device, inode;    /* of the file */
    char path[256];
};

/* Where the lock files lie if nobody says otherwise, the same for all users of the VM: /run/vmshm if an
 * administrator made it, else /run/lock if everybody may write there, else /tmp. root: prefix, "" but in
 * tests. */
const char *vmshm_lock_dir(const char *root);

/* segment_fd: the segment, whose owner, group and mode the file gets. Errors: SYSTEM (also no such directory), PERMISSION (also if
 * the file is open to users who may not open the segment). */
int vmshm_lock_open(struct vmshm_lock *lock, const char *dir, const uint8_t uuid[16], uint32_t vm,
                    int segment_fd, struct vmshm_error *e);
void vmshm_lock_close(struct vmshm_lock *lock);

/* The mutex. A holder that dies releases it; one that stands still is waited for patience_ms long.
 * Errors: HELD, SYSTEM. */
int vmshm_lock_enter(struct vmshm_lock *lock, struct vmshm_error *e);
/* The same without waiting, neither for a process nor for a thread of this one. */
bool vmshm_lock_try(struct vmshm_lock *lock);
void vmshm_lock_leave(struct vmshm_lock *lock);

/* Hold a slot's byte for the life of this process; false if another process has it. */
bool vmshm_lock_claim(struct vmshm_lock *lock, uint32_t slot);
void vmshm_lock_unclaim(struct vmshm_lock *lock, uint32_t slot);

/* Does another process hold the slot's byte? Always false for a slot of one's own. */
bool vmshm_lock_is_claimed(struct vmshm_lock *lock, uint32_t slot);

#endif
