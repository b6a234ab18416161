/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module keeps in its own memory: of a device, its windows, its users and its open files. Included by
 * vmshm.h.
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
/* Entries of reader tables and pages that one look for who holds windows may take under one hold of the
 * lock: all page faults wait for it.
 */
#define VMSHM_LOOKS_MAX	1024

struct dentry;
struct vmshm_file;

/* What somebody has of the section, or may have. */
struct vmshm_limits {
	u64 slots;
	u64 windows;
	u64 bytes[VMSHM_KIND_OPEN + 1];	/* of the section's halves: a private window has none of the open one */
};

struct vmshm_user {
	struct list_head list;		/* vmshm_dev.users, for as long as it has anything */
	kuid_t uid;
	struct vmshm_limits has;
};

struct vmshm_own_proc {
	struct vmshm_file *file;	/* NULL: nobody's, or the module's own */
	u32 generation;
	u64 joined;			/* order of the joins, 0: never taken */
};

enum vmshm_own_state {
	VMSHM_OWN_EMPTY,
	VMSHM_OWN_ZEROING,		/* taken, not published yet */
	VMSHM_OWN_LIVE,
	VMSHM_OWN_QUARANTINE		/* released, somebody may read it */
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
	struct vmshm_user *user;	/* for whom it counts; NULL: an earlier boot's */
	u64 serial;			/* of vmshm_dev.serials */
	u32 readers;			/* files of this VM that found it */
	/* In quarantine: how far the look at who holds it came. */
	struct list_head quarantined;	/* vmshm_dev.to_look or .held */
	u32 readers_seen;		/* of the processes of all VMs: these do not read it */
	u64 bytes_seen;			/* from its start: of these nobody has pages */
};

/* A window of somebody else that a file may map. */
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
	u64 bytes_seen;			/* from its start, when it was released: of these nobody has pages */
	u64 serial;			/* of vmshm_dev.serials */
};

/* How far this VM has come with the segment.
 *
 *       vmshm_attach_look(): the host gives memory, perhaps other
 *     +------------------------+
 *     |                        |
 *     |                        v   vmshm_header_read()         vmshm_join()
 *   DETACHED <------------- UNKNOWN -----------------> KNOWN --------------> TAKEN
 *     |  vmshm_attach_look():  |  ^                      |                     |
 *     |  it has what it wished |  +----------------------+---------------------+
 *     |  or took it            |      vmshm_section_shut(), vmshm_section_lost()
 *     |                        |
 *     +------------------------+-----> GONE, for ever
 *                  dev_end() in vmshm_pci.c
 *
 * A device begins as UNKNOWN, or DETACHED if the host has its memory then. Before the memory goes the section is
 * shut or lost: to DETACHED and GONE there is no way but by UNKNOWN, if only within one hold of the lock.
 */
enum vmshm_phase {
	VMSHM_PHASE_UNKNOWN,		/* there is memory; what lies there was not looked at */
	VMSHM_PHASE_KNOWN,		/* header and vm are valid */
	VMSHM_PHASE_TAKEN,		/* and the section is this boot's */
	VMSHM_PHASE_DETACHED,		/* the host has the memory back */
	VMSHM_PHASE_GONE		/* unplugged, the driver was unbound, or the VM is switched off */
};

/* Independent of the phase: a VM can be suspended in any, and the host can want the memory, or mark the VM, while
 * it sleeps.
 *     AWAKE --suspend--> ASLEEP --resume--> WOKEN --vmshm_beat()--> AWAKE
 */
enum vmshm_sleep {
	VMSHM_AWAKE,
	VMSHM_ASLEEP,			/* suspended: the registers may be out of reach */
	VMSHM_WOKEN			/* suspended until now: what happened meanwhile was not looked at yet */
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
	unsigned long irq_flags;	/* VMSHM_IRQ_HELD: disabled until the next look */
	unsigned long looked;		/* jiffies: when it last was */
	bool msix;			/* by the doorbell */
	u32 features;			/* VMSHM_FEATURE_* */
	u32 generation;			/* of the attachment */
	struct inode *inode;		/* whose mapping all open files share: vmshm_inode.c */

	struct rw_semaphore lock;	/* everything below */
	enum vmshm_phase phase;
	/* Independent of the phase: each of these comes in several of them. */
	bool leaving;			/* about to be gone: nobody joins. In any phase: while processes have time to
					 * let go, the host may take the memory or give it
					 */
	bool letting_go;		/* the host gets the memory as soon as no page is pinned. In UNKNOWN, KNOWN and
					 * TAKEN; set back with DETACHED, or when the host wants it no more
					 */
	bool old_pins;			/* somebody holds pages from before the memory was lost. In any phase: other
					 * memory may have come
					 */
	u64 old_pins_at;		/* none of them lies before it */
	enum vmshm_sleep sleep;
	unsigned long detach_by;	/* jiffies: then the processes lose it; 0: nobody asked */
	unsigned long expelled_by;	/* the same when the VM is expelled; 0: it is not */
	u32 told_pages;			/* the host: how many its wish waits for */
	u64 serials;			/* of all that could be mapped: none comes twice, whatever lies there */
	const char *complaint;		/* what was last logged of a user's attempt */
	struct vmshm_header header;
	struct vmshm_section_entry sections[VMSHM_MAX_VMS];
	u32 vm;
	u32 vm_source;
	u64 epoch;
	u32 marked_gone;		/* how often, when the section was taken */
	u64 dirty_end;			/* of the section: behind it nothing was ever handed out */
	u64 joins;
	u32 members;
	struct vmshm_own_proc *procs;		/* [header.procs] */
	struct vmshm_own_window *windows;	/* [header.windows] */
	struct list_head taken_windows;	/* by their offset */
	struct list_head to_look;	/* in quarantine, and something changed since the last look */
	struct list_head held;		/* in quarantine, held by somebody at the last look */
	u64 looks;			/* at a reader's entry or a page, until now */
	u32 looks_most;			/* under one hold of the lock */
	struct list_head users;
	struct vmshm_limits has;	/* all users and earlier boots together */
	struct list_head files;
	struct rb_root pinned;		/* windows of other VMs that were released while pinned, each once */
	struct list_head pins_to_look;	/* of these: to be looked at, until all of the window is seen free */
	struct list_head pins_held;	/* pinned at the last look */
	u32 pin_slot;			/* in whose row they are listed; VMSHM_NO_SLOT: none are */
	u64 seen[VMSHM_MAX_VMS];	/* what the last look at each VM gave */
	struct delayed_work beat;
	struct delayed_work linger;	/* unplugged, and pages are pinned */
	struct resource range;		/* that they lie in, while the driver is unbound */
	struct resource *region;	/* the same when the device is gone */
	bool holds_module;
	wait_queue_head_t wait;
	struct dentry *holders;
};

struct vmshm_file {
	struct vmshm_dev *dev;
	struct list_head list;		/* vmshm_dev.files */
	struct mm_struct *mm;		/* that joined; mmgrab'ed */
	u32 slot;			/* VMSHM_NO_SLOT: not joined */
	pid_t pid;			/* that joined, in the first pid namespace */
	kuid_t uid;
	struct vmshm_user *user;
	u8 job[16];
	u32 found_count;
	struct list_head windows;
	struct list_head found;
	u32 events;			/* not taken yet */
};

/* Are header and vm valid? Lock held. */
static inline bool vmshm_is_known(const struct vmshm_dev *dev)
{
	return dev->phase == VMSHM_PHASE_KNOWN || dev->phase == VMSHM_PHASE_TAKEN;
}

/* Is there no memory to be had, or soon none? Lock held. */
static inline bool vmshm_is_away(const struct vmshm_dev *dev)
{
	return dev->phase == VMSHM_PHASE_DETACHED || dev->phase == VMSHM_PHASE_GONE || dev->letting_go;
}

#endif
