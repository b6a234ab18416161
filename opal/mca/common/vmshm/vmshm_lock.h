/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock file of a section, local to the VM: it synchronizes the processes of one VM.
 *
 * There is one file per segment and VM, on a file system that only this VM has (vmshm_lock_dir()).
 * Byte 0 is the mutex of the section's tables; byte 1 + slot is held by the process that owns the
 * slot for as long as it lives, so the kernel can tell which processes are dead. The locks are open
 * file description locks (fcntl(2), F_OFD_SETLK): the kernel drops them with the last descriptor; they need no pid,
 * and so work across PID namespaces. A child that was forked without exec keeps its parent's slot
 * alive until the child ends.
 *
 * Whoever may open the file can lock any byte of it, and so block other users. Its owner, group and mode
 * are therefore those of the segment: a user who may open the segment can do more harm there. A file that a user
 * without access to the segment created is refused, even by root, since that user may still have it open.
 *
 * While byte 0 is held the file contains the holder's pid, for diagnosis only.
 */
#ifndef VMSHM_LOCK_H
#define VMSHM_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_error.h"

/* How long a process waits for the mutex. A holder may clear windows, or watch another epoch's heartbeat for 1.5 s,
 * but one that takes this long is stopped. */
#define VMSHM_LOCK_PATIENCE_MS 10000

struct vmshm_lock {
    int fd;
    pthread_mutex_t mutex;     /* excludes the threads of this process, which share the open file description */
    uint32_t patience_ms;      /* how long vmshm_lock_enter() waits */
    bool was_held;             /* the last wait timed out, so the next ones are shorter; written under mutex */
    uint64_t device, inode;    /* of the lock file */
    char path[256];
};

/* The default directory of lock files, the same for all users of the VM: /run/vmshm if an administrator made it, else
 * /run/lock if all users may write there, else /tmp. root: prefix of these paths, "" except in tests. */
const char *vmshm_lock_dir(const char *root);

/* segment_fd: the segment, whose owner, group and mode the file gets. Errors: SYSTEM (also if there is no such
 * directory), PERMISSION (also if users who may not open the segment can open the file). */
int vmshm_lock_open(struct vmshm_lock *lock, const char *dir, const uint8_t uuid[16], uint32_t vm,
                    int segment_fd, struct vmshm_error *e);
void vmshm_lock_close(struct vmshm_lock *lock);

/* Lock the mutex, waiting patience_ms at most. The kernel releases it when its holder dies. Errors: HELD, SYSTEM. */
int vmshm_lock_enter(struct vmshm_lock *lock, struct vmshm_error *e);
/* Try to lock the mutex. False: another process, or another thread of this one, holds it. Does not wait. */
bool vmshm_lock_try(struct vmshm_lock *lock);
void vmshm_lock_leave(struct vmshm_lock *lock);

/* Lock a slot's byte for the life of this process; false if another process holds it. */
bool vmshm_lock_claim(struct vmshm_lock *lock, uint32_t slot);
void vmshm_lock_unclaim(struct vmshm_lock *lock, uint32_t slot);

/* Does another process hold the slot's byte? Always false for this process's own slot. */
bool vmshm_lock_is_claimed(struct vmshm_lock *lock, uint32_t slot);

#endif
