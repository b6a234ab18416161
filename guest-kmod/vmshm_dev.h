/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module's private data structures: devices, windows, users and open files. Included by vmshm.h.
 */
#ifndef VMSHM_DEV_H
#define VMSHM_DEV_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm_types.h>
#include <linux/pci.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "vmshm_layout.h"
#include "vmshm_states.h"
#include "vmshm_uapi.h"

#define VMSHM_NO_SLOT	U32_MAX
#define VMSHM_FOUND_MAX	65536
#define VMSHM_IRQ_HELD	0
/* Maximum number of reader table entries and pages that are checked under one hold of the lock, since all page
 * faults wait for it.
 */
#define VMSHM_LOOKS_MAX	1024

struct dentry;
struct vmshm_file;

/* What a user, or all users together, have of the section, or may have. */
struct vmshm_limits {
	u64 slots;
	u64 windows;
	u64 bytes[VMSHM_KIND_OPEN + 1];	/* by kind, that is by the section's two halves */
};

struct vmshm_user {
	struct list_head list;		/* vmshm_dev.users, while the user has any slot or window */
	kuid_t uid;
	struct vmshm_limits has;
};

struct vmshm_own_proc {
	struct vmshm_file *file;	/* NULL: the slot is free, or the module's own */
	u32 generation;
	u64 joined;			/* vmshm_dev.joins at the last join; 0: never used */
};

enum vmshm_own_state {
	VMSHM_OWN_EMPTY,
	VMSHM_OWN_ZEROING,		/* allocated, not published yet */
	VMSHM_OWN_LIVE,
	VMSHM_OWN_QUARANTINE		/* released, but others may still read it */
};

struct vmshm_own_window {
	enum vmshm_own_state state;
	u32 generation;
	u32 slot;
	u32 kind;
	u64 offset;
	u64 length;
	struct list_head of_file;	/* vmshm_file.windows */
	struct list_head taken;		/* vmshm_dev.taken_windows, in all states but EMPTY */
	struct vmshm_user *user;	/* whose limits it counts against; NULL: of an earlier boot */
	u64 serial;			/* from vmshm_dev.serials */
	u32 readers;			/* number of files of this VM that found it */
	/* In quarantine: progress of the search for holders. */
	struct list_head quarantined;	/* vmshm_dev.to_look or .held */
	u32 readers_seen;		/* number of reader table entries checked: none of these reads it */
	u64 bytes_seen;			/* bytes from its start that were checked: no page of these is pinned */
};

/* A window of another process that a file may map. */
struct vmshm_found {
	struct list_head list;		/* vmshm_file.found, or vmshm_dev.pins_to_look or .pins_held */
	struct rb_node pinned;		/* vmshm_dev.pinned */
	u32 vm;
	u32 index;
	u32 slot;
	u32 generation;
	u32 kind;
	u64 offset;
	u64 length;
	u64 bytes_seen;			/* after its release: bytes from its start that are known not to be pinned */
	u64 serial;			/* from vmshm_dev.serials */
};

/* The state of the segment in this VM.
 *
 *       vmshm_attach_look(): the host gives memory, perhaps other
 *     +------------------------+
 *     |                        |
 *     |                        v   vmshm_header_read()         vmshm_join()
 *   DETACHED <------------- UNKNOWN -----------------> KNOWN --------------> TAKEN
 *     |  vmshm_attach_look():  |  ^                      |                     |
 *     |  the host got it back  |  +----------------------+---------------------+
 *     |  or took it            |      vmshm_section_shut(), vmshm_section_lost()
 *     |                        |
 *     +------------------------+-----> GONE, for ever
 *                  dev_end() in vmshm_pci.c
 *
 * A device begins as UNKNOWN, or as DETACHED if the host has its memory at that time. Before the memory goes the
 * section is shut or lost: KNOWN and TAKEN lead to DETACHED and GONE only by way of UNKNOWN, possibly within one hold of
 * the lock.
 */
enum vmshm_phase {
	VMSHM_PHASE_UNKNOWN,		/* there is memory; its header was not read yet */
	VMSHM_PHASE_KNOWN,		/* header and vm are valid */
	VMSHM_PHASE_TAKEN,		/* and the section belongs to this boot */
	VMSHM_PHASE_DETACHED,		/* the host has the memory back */
	VMSHM_PHASE_GONE		/* unplugged, the driver was unbound, or the VM is switched off */
};

/* Independent of the phase: a VM can be suspended in any phase, and the host can request the memory, or mark the VM,
 * during that time.
 *     AWAKE --suspend--> ASLEEP --resume--> WOKEN --vmshm_beat()--> AWAKE
 */
enum vmshm_sleep {
	VMSHM_AWAKE,
	VMSHM_ASLEEP,			/* suspended: the registers may be inaccessible */
	VMSHM_WOKEN			/* resumed, but the device and the marks were not checked yet */
};

struct vmshm_dev {
	struct kref ref;
	struct miscdevice misc;
	char name[16];
	int number;
	struct pci_dev *pdev;
	void __iomem *regs;
	void *mem;			/* the segment */
	struct dev_pagemap pages;	/* with VMSHM_FEATURE_PAGES */
	phys_addr_t phys;
	u64 bytes;			/* of the BAR */
	bool vector;			/* there is an interrupt */
	int irq;
	unsigned long irq_flags;	/* VMSHM_IRQ_HELD: disabled until the next vmshm_beat() */
	unsigned long looked;		/* jiffies at the last one; without the lock */
	bool msix;			/* the interrupt comes from the doorbell */
	u32 features;			/* VMSHM_FEATURE_* */
	u32 generation;			/* of the attachment */
	struct inode *inode;		/* whose mapping all open files share: vmshm_inode.c */

	struct rw_semaphore lock;	/* protects everything below */
	enum vmshm_phase phase;
	/* Each of these can be set in several phases. */
	bool leaving;			/* the device is about to be removed: nobody can join. In any phase, since the
					 * host may take or give memory while processes have time to leave
					 */
	bool letting_go;		/* the host gets the memory as soon as no page is pinned. In UNKNOWN, KNOWN and
					 * TAKEN; cleared with DETACHED, or when the host withdraws the request
					 */
	bool old_pins;			/* pages of memory that was lost may still be pinned. In any phase, since other
					 * memory may be attached by now
					 */
	u64 old_pins_at;		/* offset below which none of these pages is pinned */
	enum vmshm_sleep sleep;
	unsigned long detach_by;	/* jiffies when the processes lose the memory to the host; 0: no request */
	unsigned long expelled_by;	/* jiffies when they lose it since the VM is expelled; 0: it is not */
	u32 told_pages;			/* number of pinned pages last reported to the host */
	u64 serials;			/* last serial number given to a window; never reset, so all are unique */
	const char *complaint;		/* key of the last message of vmshm_complain() */
	struct vmshm_header header;
	struct vmshm_section_entry sections[VMSHM_MAX_VMS];
	u32 vm;
	u32 vm_source;
	u64 epoch;
	u32 marked_gone;		/* how often the VM had been marked as gone when the section was taken */
	u64 dirty_end;			/* offset in the section: memory from here on was never handed out */
	u64 joins;			/* number of joins so far */
	u32 members;			/* number of files that have joined */
	struct vmshm_own_proc *procs;		/* [header.procs] */
	struct vmshm_own_window *windows;	/* [header.windows] */
	struct list_head taken_windows;	/* own windows that are not EMPTY, sorted by offset */
	struct list_head to_look;	/* windows in quarantine that have to be checked (again) */
	struct list_head held;		/* windows in quarantine that had a holder at the last check */
	u64 looks;			/* statistics: reader table entries and pages checked so far */
	u32 looks_most;			/* and the maximum under one hold of the lock */
	struct list_head users;
	struct vmshm_limits has;	/* all users and earlier boots together */
	struct list_head files;
	struct rb_root pinned;		/* windows of other VMs that were released while pinned, each once */
	struct list_head pins_to_look;	/* those of them that have to be checked (again) */
	struct list_head pins_held;	/* those that were pinned at the last check */
	u32 pin_slot;			/* the module's slot, whose reader row lists them; VMSHM_NO_SLOT: none */
	u64 seen[VMSHM_MAX_VMS];	/* each VM's state at the last vmshm_beat() */
	struct delayed_work beat;
	struct delayed_work linger;	/* waits for pinned pages after the device was unplugged */
	struct resource range;		/* reserves their addresses while the driver is unbound */
	struct resource *region;	/* and when the device is gone */
	bool holds_module;
	wait_queue_head_t wait;
	struct dentry *holders;
};

struct vmshm_file {
	struct vmshm_dev *dev;
	struct list_head list;		/* vmshm_dev.files */
	struct mm_struct *mm;		/* address space that joined; holds a reference (mmgrab) */
	u32 slot;			/* VMSHM_NO_SLOT: not joined */
	pid_t pid;			/* process that joined, in the initial pid namespace */
	kuid_t uid;
	struct vmshm_user *user;
	u8 job[16];
	u32 found_count;
	struct list_head windows;
	struct list_head found;
	u32 events;			/* pending VMSHM_EVENT_* */
};

/* Are header and vm valid? Lock held. */
static inline bool vmshm_is_known(const struct vmshm_dev *dev)
{
	return dev->phase == VMSHM_PHASE_KNOWN || dev->phase == VMSHM_PHASE_TAKEN;
}

/* Is the memory detached or gone, or about to be detached? Lock held. */
static inline bool vmshm_is_away(const struct vmshm_dev *dev)
{
	return dev->phase == VMSHM_PHASE_DETACHED || dev->phase == VMSHM_PHASE_GONE || dev->letting_go;
}

#endif
