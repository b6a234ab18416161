/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process's membership in a segment: its slot, its windows, and the windows of others that it maps.
 *
 * Slots and windows of the own section are allocated under the lock file's mutex (vmshm_lock.h), or by the kernel
 * module if there is one (segment.managed), and released by their owner. The mutex may be held by a stopped process,
 * so joining and allocating wait for it only for a limited time, and nothing else waits. The tables of other sections
 * are only read, and each entry is copied to private memory and checked before it is used. All functions may be
 * called from any thread.
 */
#ifndef VMSHM_MEMBER_H
#define VMSHM_MEMBER_H

#include <stdbool.h>

#include "vmshm_identity.h"
#include "vmshm_lock.h"
#include "vmshm_mapped.h"
#include "vmshm_segment.h"

#define VMSHM_NO_WINDOW UINT32_MAX

struct vmshm_member {
    struct vmshm_segment segment;
    struct vmshm_identity id;
    struct vmshm_lock lock;
    struct vmshm_mapped mapped;
    uint32_t slot;
    uint32_t generation;
    uint64_t nonce;
    uint8_t job[16];
    uint32_t uid;              /* as in the process entry */
    uint32_t looks_seen;       /* the section's looks as last seen here; for vmshm_look_after()'s thread only */
    uint32_t marked_gone;      /* how often the VM had been marked as gone when this process joined */
    bool joined;
};

/* A process's address in the segment, as published through the modex. */
struct vmshm_address {
    uint8_t  segment_uuid[16];
    uint32_t format;
    uint32_t vm;
    uint64_t epoch;
    uint64_t nonce;
    uint32_t slot;
    uint32_t generation;
    uint8_t  job[16];
};

struct vmshm_join_options {
    const char *segment;       /* path, or NULL or "auto" */
    const char *lock_dir;      /* NULL or "": that of vmshm_lock_dir() */
    const char *root;          /* prefix of identity files; NULL: "" */
    uint32_t patience_ms;      /* how long to wait for the lock file's mutex; 0: VMSHM_LOCK_PATIENCE_MS */
    int vm_id;                 /* or VMSHM_VM_ID_UNSET, VMSHM_VM_ID_BAD */
    uint8_t job[16];           /* key of the job */
    uint64_t name;             /* Open MPI's process name, for `vmshmctl show` and peers that connect later */
};

/* Open the segment and take a process slot in the own VM's section; the first process since the VM booted also sets
 * the section up. If the section has another epoch, this watches it for a heartbeat, which takes up to 1.5 s.
 * Errors: all. */
int vmshm_join(const struct vmshm_join_options *options, struct vmshm_member *m,
               struct vmshm_error *e);

/* Release all windows and the slot. Peers see the slot as left, not as dead. Does not wait for other processes. */
void vmshm_leave(struct vmshm_member *m);

void vmshm_member_address(const struct vmshm_member *m, struct vmshm_address *a);

/* Increment the section's heartbeat. Some process of the VM must do so at least once a second, or other VMs report
 * this one as silent. */
void vmshm_heartbeat(struct vmshm_member *m);

/* Tell a process that there is a new ring to it. */
void vmshm_ring_bell(struct vmshm_member *m, uint32_t vm, uint32_t slot);

/* Publish how much was sent since the join, for `vmshmctl show`. */
void vmshm_count(struct vmshm_member *m, uint64_t messages, uint64_t bytes);

/* Has this process lost the segment, because the host migrates the VM, marked it as gone or unplugged the device?
 * Returns the reason, or NULL. Called by one thread, which then calls vmshm_let_go(). */
const char *vmshm_lost(struct vmshm_member *m);

/* Unmap the segment by replacing it with private zeros, so that threads which still access it neither fault nor
 * damage anything; later attempts to map windows fail. The caller must publish the reason first: a thread that sees
 * the zeros before it would blame a peer for them. */
void vmshm_let_go(struct vmshm_member *m);

/* --- the dead: vmshm_reap.c */

/* To be called every 2 s by one thread of each process; one process of the VM at a time then does the work of
 * vmshm_reap(). Returns how many died. Does not wait. */
int vmshm_look_after(struct vmshm_member *m);

/* Mark the slots of this VM's dead processes and quarantine their windows. Returns how many died. Does
 * nothing while another process or thread has the mutex. */
int vmshm_reap(struct vmshm_member *m);

/* The same, with the mutex held already. */
int vmshm_reap_locked(struct vmshm_member *m);
/* Release a slot and its windows, and set its state. Called by its own process, or with the mutex held. */
void vmshm_bury(struct vmshm_member *m, uint32_t slot, uint32_t state);

/* Is there a live process of the VM that looks for dead ones? */
bool vmshm_is_looked_after(struct vmshm_member *m);

/* The section's `arbiter` value that identifies the processes of this boot that share this lock file; and is it the
 * present one, so that they may write the tables? */
uint64_t vmshm_arbiter(const struct vmshm_member *m);
bool vmshm_is_arbiter(const struct vmshm_member *m);

/* --- windows: vmshm_window.c */

/* Allocate a zeroed window of `bytes` (rounded up to VMSHM_GRANULE_BYTES) in the own section. *offset is its
 * offset in the segment. Errors: FULL, HELD, MAP, SYSTEM. */
int vmshm_window_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind, uint32_t *index,
                       uint64_t *offset, struct vmshm_error *e);

/* Release a window, which stays in quarantine until no reader lists it. Does not wait. */
void vmshm_window_release(struct vmshm_member *m, uint32_t index);

/* Make `index` the control window of this process, where peers look for rings. */
void vmshm_window_publish(struct vmshm_member *m, uint32_t index);

/* --- released windows: vmshm_quarantine.c */

/* Free the windows in quarantine that nobody reads. Mutex held. */
void vmshm_window_collect(struct vmshm_member *m);
/* Are there windows in quarantine? */
bool vmshm_window_has_quarantined(const struct vmshm_member *m);

/* Put all windows of a slot in quarantine. Called by its own process, or with the mutex held. */
void vmshm_window_quarantine_slot(struct vmshm_member *m, uint32_t slot);

/* --- helpers */

static inline void *vmshm_at(const struct vmshm_member *m, uint64_t offset)
{
    return m->segment.base + offset;
}

#endif
