/*
 * The guest-local lock file of a section: arbitration among the processes of one VM.
 *
 * One file per segment and VM, on a file system that only this VM has (default /run/lock).
 * Byte 0 is the mutex of the section's tables; byte 1 + slot is held by the process that owns the
 * slot for as long as it lives, so that the kernel itself tells who is dead. The locks are open
 * file description locks (fcntl(2), F_OFD_SETLK): they go with the last descriptor, need no pid,
 * and so work across PID namespaces. A child that was forked without exec keeps its parent's slot
 * alive until it ends.
 */
#ifndef VMSHM_LOCK_H
#define VMSHM_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_error.h"

struct vmshm_lock {
    int fd;
    pthread_mutex_t mutex;     /* the threads of this process: they share the description */
    uint64_t device, inode;    /* of the file */
    char path[256];
};

/* Errors: SYSTEM, PERMISSION, ABSENT (no such directory). */
int vmshm_lock_open(struct vmshm_lock *lock, const char *dir, const uint8_t uuid[16], uint32_t vm,
                    struct vmshm_error *e);
void vmshm_lock_close(struct vmshm_lock *lock);

/* The mutex. Blocks; a holder that dies releases it. */
int vmshm_lock_enter(struct vmshm_lock *lock, struct vmshm_error *e);
void vmshm_lock_leave(struct vmshm_lock *lock);

/* Hold a slot's byte for the life of this process; false if another process has it. */
bool vmshm_lock_claim(struct vmshm_lock *lock, uint32_t slot);
void vmshm_lock_unclaim(struct vmshm_lock *lock, uint32_t slot);

/* Does another process hold the slot's byte? Always false for a slot of one's own. */
bool vmshm_lock_is_claimed(struct vmshm_lock *lock, uint32_t slot);

#endif
