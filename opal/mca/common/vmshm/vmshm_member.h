/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that takes part in a segment: its slot, its windows, and the windows of others that it
 * maps.
 *
 * Slots and windows of the own section are handed out under the lock file's mutex (vmshm_lock.h), or by
 * the kernel module where that is (segment.managed), and given back by who has them. Who holds the mutex
 * may stand still: joining and allocating wait for it for a limited time, nothing else waits. The tables
 * of other sections are only read, and each entry is copied to private memory and checked before it is
 * used. All functions may be called from any thread.
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
    uint32_t uid;              /* as it stands in the process entry */
    uint32_t looks_seen;       /* the section's looks, when this process last looked */
    uint32_t marked_gone;      /* how often the VM was, before the join */
    bool joined;
};

/* A process of the segment as others know it: what the modex carries. */
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
    uint32_t patience_ms;      /* for the holder of the lock file's mutex; 0: VMSHM_LOCK_PATIENCE_MS */
    int vm_id;                 /* or VMSHM_VM_ID_UNSET, VMSHM_VM_ID_BAD */
    uint8_t job[16];           /* key of the job */
    uint64_t name;             /* Open MPI's process name, for `vmshmctl show` and lazy peers */
};

/* Open the segment, take a process slot in the own VM's section; sets the section up when this is
 * the first process since the VM booted. Takes up to 1.5 s when another epoch stands there: that
 * is how long it is watched for a heartbeat. Errors: all. */
int vmshm_join(const struct vmshm_join_options *options, struct vmshm_member *m,
               struct vmshm_error *e);

/* Give back all windows and the slot. Peers see the slot as left, not as dead. Waits for nobody. */
void vmshm_leave(struct vmshm_member *m);

void vmshm_member_address(const struct vmshm_member *m, struct vmshm_address *a);

/* Add to the section's heartbeat: at least once a second from some process of the VM, or other VMs
 * report silence. */
void vmshm_heartbeat(struct vmshm_member *m);

/* Tell a process that there is a new ring towards it. */
void vmshm_ring_bell(struct vmshm_member *m, uint32_t vm, uint32_t slot);

/* So much was sent since the join: for `vmshmctl show`. */
void vmshm_count(struct vmshm_member *m, uint64_t messages, uint64_t bytes);

/* Is the segment taken from this process, by the host that migrates the VM or marked it as gone, or by
 * unplugging? Returns why, NULL: it is still there. Called by one thread, which then lets go. */
const char *vmshm_lost(struct vmshm_member *m);

/* What was mapped is plain zeros from then on, and nothing is mapped any more, so that no thread that still
 * looks there comes to harm or does any. What is to tell the threads why stands where they see it before: who met the zeros first
 * would take them for something that a peer wrote. */
void vmshm_let_go(struct vmshm_member *m);

/* --- the dead: vmshm_reap.c */

/* To be called every 2 s by each process: one of the VM's then does as vmshm_reap(). Returns how many
 * died. Called by one thread; waits for nobody. */
int vmshm_look_after(struct vmshm_member *m);

/* Mark the slots of this VM's dead processes and quarantine their windows. Returns how many died. Does
 * nothing while another process or thread has the mutex. */
int vmshm_reap(struct vmshm_member *m);

/* Mutex held: the same. */
int vmshm_reap_locked(struct vmshm_member *m);
/* Give back what the slot has. By its own process, or with the mutex held. */
void vmshm_bury(struct vmshm_member *m, uint32_t slot, uint32_t state);

/* Does another process of the VM live that looks for the dead? */
bool vmshm_is_looked_after(struct vmshm_member *m);

/* What stands in the section if its tables are written by the processes of this boot that share this
 * lock file; does it stand there? */
uint64_t vmshm_arbiter(const struct vmshm_member *m);
bool vmshm_is_arbiter(const struct vmshm_member *m);

/* --- windows: vmshm_window.c */

/* Hand out `bytes` (rounded up to VMSHM_GRANULE_BYTES) of the own section, zeroed. *offset is the
 * window's offset in the segment. Errors: FULL, HELD, MAP, SYSTEM. */
int vmshm_window_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind, uint32_t *index,
                       uint64_t *offset, struct vmshm_error *e);

/* Give one back: quarantined until no reader lists it. Waits for nobody. */
void vmshm_window_release(struct vmshm_member *m, uint32_t index);

/* Make `index` the control window of this process: peers look there for rings. */
void vmshm_window_publish(struct vmshm_member *m, uint32_t index);

/* --- and given back: vmshm_quarantine.c */

/* Mutex held: empty quarantined windows that nobody reads. */
void vmshm_window_collect(struct vmshm_member *m);
/* Is there one? */
bool vmshm_window_has_quarantined(const struct vmshm_member *m);

/* Quarantine all windows of a slot. By its own process, or with the mutex held. */
void vmshm_window_quarantine_slot(struct vmshm_member *m, uint32_t slot);

/* --- helpers */

static inline void *vmshm_at(const struct vmshm_member *m, uint64_t offset)
{
    return m->segment.base + offset;
}

#endif
