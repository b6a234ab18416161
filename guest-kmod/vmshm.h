/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside vmshm.ko.
 *
 * The module is the one writer of its VM's section. What it decided stands in its own memory
 * (struct vmshm_own_proc, struct vmshm_own_window) and is only published in the segment: it never
 * believes its own tables there, which on a stock hypervisor any VM can overwrite. What other VMs
 * wrote is copied, checked, then used.
 *
 * Locks, outermost first: mmap_lock, vmshm_dev.lock, the kernel's for the inode's mappings and for page
 * tables. Nothing is copied from or to user space under vmshm_dev.lock, and nobody sleeps under it for
 * longer than an allocation takes: all page faults wait for it. It is held for writing by whatever changes
 * what stands in vmshm_dev or in a file, so by all calls but mmap; for reading by faults and mmap, and
 * while a new window is zeroed or a section is watched, in pieces. Looks for who holds windows are bounded
 * under one hold (VMSHM_LOOKS_MAX), but not those when nobody has the memory any more, which have nobody wait.
 *
 * A page that somebody has pinned is nobody's who maps it: see vmshm_pin.c. The memory behind it goes back
 * to the host, and a window is handed out again, when there is no such page; a device may go before.
 *
 * How what other VMs see is loaded and stored is in vmshm_access.h, what the states there mean in vmshm_states.h,
 * which user space has, too.
 */
#ifndef VMSHM_H
#define VMSHM_H

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
	bool leaving;			/* about to be gone: nobody joins */
	bool gone;			/* unplugged, or the driver was unbound */
	bool detached;			/* the host has the memory back */
	bool letting_go;		/* it gets it as soon as no page is pinned */
	bool asleep;			/* suspended: the registers may be out of reach */
	bool woke;			/* suspended until now */
	unsigned long detach_by;	/* jiffies: then the processes lose it; 0: nobody asked */
	unsigned long expelled_by;	/* the same when the VM is expelled; 0: it is not */
	bool usable;			/* header and vm are valid */
	bool taken;			/* the section is this boot's */
	bool old_pins;			/* somebody holds pages from before the memory was lost */
	u64 old_pins_at;		/* none of them lies before it */
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

extern const struct file_operations vmshm_fops;

/* vmshm_device.c: dev->ref */
struct vmshm_dev *vmshm_dev_make(struct pci_dev *pdev);
void vmshm_dev_get(struct vmshm_dev *dev);
void vmshm_dev_put(struct vmshm_dev *dev);

/* vmshm_memory.c: dev->mem. No lock is held. */
/* How long processes have to let go when the device is unplugged or the driver unbound. */
#define VMSHM_GRACE_JIFFIES	(2 * HZ)
int vmshm_memory_init(void);
void vmshm_memory_exit(void);
int vmshm_memory_map(struct vmshm_dev *dev);
/* No page of it is pinned. */
void vmshm_memory_unmap(struct vmshm_dev *dev);
/* Nobody maps it any more. Who has pages pinned may be done with them in a moment, or never: then it lingers. */
bool vmshm_memory_is_let_go(struct vmshm_dev *dev);
void vmshm_memory_linger(struct vmshm_dev *dev);

/* vmshm_regs.c */
u32 vmshm_reg(struct vmshm_dev *dev, u32 offset);
void vmshm_reg_set(struct vmshm_dev *dev, u32 offset, u32 value);
u64 vmshm_reg64(struct vmshm_dev *dev, u32 offset);
/* The device is about to be looked at: it may interrupt for what comes from now on. */
void vmshm_interrupt_again(struct vmshm_dev *dev);

/* Any user can provoke it: it is logged once, until something else is the matter. `key` tells complaints
 * apart, by its address.
 */
__printf(3, 4)
void vmshm_complain(struct vmshm_dev *dev, const char *key, const char *format, ...);

/* vmshm_inode.c: dev->inode. No lock is held. */
int vmshm_inode_make(struct vmshm_dev *dev);
void vmshm_inode_drop(struct vmshm_dev *dev);

/* vmshm_header.c: read the segment's header and this VM's id. Lock held for writing.
 * 0, -EPROTO or -ENXIO, which the log explains.
 */
int vmshm_header_read(struct vmshm_dev *dev);
void vmshm_header_drop(struct vmshm_dev *dev);

/* vmshm_attach.c: what the host gives and takes. Lock held for writing. */
/* Look at the header, unless it is known; claims the memory. 0, or DESCRIBE's error. */
int vmshm_take_up(struct vmshm_dev *dev);
/* May the memory be used from now on? A VM that travels finds another one where it arrives. */
bool vmshm_claim(struct vmshm_dev *dev);
/* Give a claim back of which nobody made use. Where pages are pinned it stays for now. */
void vmshm_unclaim(struct vmshm_dev *dev);
/* Is there such a claim? */
bool vmshm_is_idle(const struct vmshm_dev *dev);
/* Does somebody hold pages from before the memory went? He would read what comes to lie there. */
bool vmshm_is_held(struct vmshm_dev *dev);
/* What did the host do, what does it want? */
void vmshm_attach_look(struct vmshm_dev *dev);

/* vmshm_join.c */
int vmshm_join(struct vmshm_file *file, struct vmshm_join *join);	/* takes the lock */

/* vmshm_section.c. Lock held for writing. */
/* Give back all that the file has; `state` is what others see: VMSHM_PROC_LEFT or _DEAD. */
void vmshm_leave(struct vmshm_file *file, u32 state);
/* Everybody loses the segment: told in the section, or, when other memory lies there by now, nowhere. */
void vmshm_section_shut(struct vmshm_dev *dev);
void vmshm_section_lost(struct vmshm_dev *dev);
/* Is the section this boot's no more? Others hand out again what the processes of a VM read that the host
 * has marked as gone, also if it marked it otherwise since; and a section that somebody else has is not
 * to be written.
 */
bool vmshm_is_expelled(const struct vmshm_dev *dev);
bool vmshm_is_arbiter(const struct vmshm_dev *dev);
void vmshm_expel(struct vmshm_dev *dev);
/* Release the slots of address spaces that are no more. */
void vmshm_reap(struct vmshm_dev *dev);

/* vmshm_slot.c. Lock held for writing. */
/* Other VMs are to look at this one's section. */
void vmshm_changed(struct vmshm_dev *dev);
/* VMSHM_NO_SLOT: no more than `spare` are free. */
u32 vmshm_slot_find_free(struct vmshm_dev *dev, u32 spare);
/* Returns the nonce of the new process. */
u64 vmshm_slot_publish(struct vmshm_dev *dev, u32 slot, u32 pid, kuid_t uid, u64 name, const u8 *job);
void vmshm_slot_bury(struct vmshm_dev *dev, u32 slot, u32 state);
/* The file is a member no more. */
void vmshm_slot_free(struct vmshm_file *file);
/* A slot for the module itself. */
u32 vmshm_slot_hold(struct vmshm_dev *dev);
void vmshm_slot_drop(struct vmshm_dev *dev, u32 slot);

/* vmshm_window.c */
int vmshm_window_alloc(struct vmshm_file *file, struct vmshm_alloc *alloc);	/* takes the lock */
int vmshm_window_release(struct vmshm_file *file, struct vmshm_release *r);
int vmshm_window_publish(struct vmshm_file *file, u32 index);
void vmshm_window_release_all(struct vmshm_file *file);
void vmshm_window_inherit(struct vmshm_dev *dev);

/* vmshm_quarantine.c */
void vmshm_window_quarantine(struct vmshm_dev *dev, struct vmshm_own_window *w);
/* A file found an own window, or let go of it. */
void vmshm_window_read(struct vmshm_dev *dev, u32 index);
void vmshm_window_unread(struct vmshm_dev *dev, u32 index);
/* Hand out again what is in quarantine and held by nobody, as far as one hold of the lock allows: a
 * bounded number of looks. Is there more to look at? Then let others have the lock first.
 */
bool vmshm_window_collect(struct vmshm_dev *dev);
/* What is left over the next beat does, which comes at once. */
void vmshm_window_collect_soon(struct vmshm_dev *dev);
/* Who held up to `windows` windows may hold them no more: the next vmshm_window_collect() looks anew. */
void vmshm_window_look_again(struct vmshm_dev *dev, u32 windows);

/* vmshm_limits.c. Lock held for writing. May this process, this user have one slot more? Counts it.
 * 0, -EMFILE, -EDQUOT or -ENOMEM.
 */
int vmshm_limits_join(struct vmshm_file *file);
void vmshm_limits_leave(struct vmshm_file *file);
/* And a window of that kind? 0 or -EDQUOT. It is counted when it is taken, until others may have it. */
int vmshm_limits_check_window(const struct vmshm_file *file, u64 bytes, u32 kind);
/* Where may it lie? Narrows the range, which is that kind's half of the section. */
void vmshm_limits_reach(const struct vmshm_file *file, u64 *start, u64 *end);
/* May this process have it nevertheless? */
bool vmshm_limits_may_exceed(void);
void vmshm_limits_take(struct vmshm_dev *dev, struct vmshm_own_window *w, struct vmshm_user *user);
void vmshm_limits_give(struct vmshm_dev *dev, struct vmshm_own_window *w);
/* All windows are gone, and nobody is a member any more. */
void vmshm_limits_forget(struct vmshm_dev *dev);
struct vmshm_limits vmshm_limits_of_user(const struct vmshm_dev *dev);
struct vmshm_limits vmshm_limits_of_all(const struct vmshm_dev *dev);

/* vmshm_debugfs.c: the list of who has what. Without debugfs there is none. */
void vmshm_debugfs_init(void);
void vmshm_debugfs_exit(void);
void vmshm_debugfs_add(struct vmshm_dev *dev);
void vmshm_debugfs_remove(struct vmshm_dev *dev);

/* vmshm_found.c */
int vmshm_find(struct vmshm_file *file, struct vmshm_find *find);
int vmshm_found_release(struct vmshm_file *file, struct vmshm_release *r);
void vmshm_found_release_all(struct vmshm_file *file);
/* Without a word to others. */
void vmshm_found_forget_all(struct vmshm_file *file);
/* Let go of what is pinned no more, as far as one hold of the lock allows: a bounded number of looks. Is
 * there more to look at? Then let others have the lock first.
 */
bool vmshm_pins_look(struct vmshm_dev *dev);
/* What was pinned may be so no more: the next vmshm_pins_look() looks anew. */
void vmshm_pins_look_again(struct vmshm_dev *dev);
void vmshm_pins_forget(struct vmshm_dev *dev);

/* vmshm_mmap.c */
int vmshm_mmap(struct file *filp, struct vm_area_struct *vma);
/* Take a range out of all page tables; who may still have it faults it in again. */
void vmshm_zap(struct vmshm_dev *dev, u64 offset, u64 length);

/* vmshm_pin.c */
enum vmshm_look { VMSHM_LOOK_FREE, VMSHM_LOOK_HELD, VMSHM_LOOK_UNFINISHED };
/* Does somebody hold pages of a range that nobody maps? The look goes on at `seen`, and ends for now when
 * none of `looks` is left.
 */
enum vmshm_look vmshm_look_pages(const struct vmshm_dev *dev, u64 offset, u64 length, u64 *seen, u32 *looks);
/* So many looks were taken under this hold of the lock. */
void vmshm_looked(struct vmshm_dev *dev, u32 looks);
/* Does somebody hold pages of a range that was zapped? */
bool vmshm_is_pinned(const struct vmshm_dev *dev, u64 offset, u64 length);
/* Where the first of them lies, `end`: nobody does. */
u64 vmshm_first_pin(const struct vmshm_dev *dev, u64 offset, u64 end);
/* The same of the whole segment, of which nobody has mappings any more. Slowly. */
bool vmshm_still_pinned(struct vmshm_dev *dev);
/* How many pages are pinned of all that anybody can have mapped. Lock held for writing. */
u32 vmshm_pins(const struct vmshm_dev *dev);

/* vmshm_event.c */
void vmshm_beat(struct work_struct *work);
int vmshm_wait(struct vmshm_file *file, struct vmshm_wait *wait);	/* takes the lock */

/* vmshm_notify.c */
/* Tell all open files. Lock held for writing: each adds to what the file has not taken yet. */
void vmshm_notify(struct vmshm_dev *dev, u32 events);
/* Those who have not joined. */
void vmshm_notify_outside(struct vmshm_dev *dev, u32 events);

/* Is there no memory to be had, or soon none? Lock held. */
static inline bool vmshm_is_away(const struct vmshm_dev *dev)
{
	return dev->gone || dev->detached || dev->letting_go;
}

#include "vmshm_tables.h"

#endif
