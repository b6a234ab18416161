/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internal interfaces of vmshm.ko.
 *
 * The module alone writes its VM's section. Its state is in its private memory
 * (struct vmshm_own_proc, struct vmshm_own_window) and is only published in the segment. It never
 * trusts its own tables there, which any VM can overwrite under a stock hypervisor. Data that other VMs
 * wrote is copied, checked, then used.
 *
 * Locks, outermost first: mmap_lock, vmshm_dev.lock, the kernel's locks for the inode's mappings and for page
 * tables. Under vmshm_dev.lock nothing is copied from or to user space, and nobody sleeps for
 * longer than an allocation takes, since all page faults wait for it. It is held for writing by all calls but
 * mmap, since they change vmshm_dev or a vmshm_file; for reading by faults and mmap, and, in several short
 * sections, while a new window is zeroed or a section is watched. The number of checks for holders of windows
 * under one hold of the lock is bounded (VMSHM_LOOKS_MAX), except when no process has the memory mapped any more,
 * since nobody waits then.
 *
 * Pinned pages outlive mappings: see vmshm_pin.c. While pages are pinned, their window is not handed out again and
 * the memory is not returned to the host; the device may be removed before.
 *
 * vmshm_access.h has the accesses to memory that other VMs see, vmshm_states.h the meaning of the states there, which
 * user space shares.
 */
#ifndef VMSHM_H
#define VMSHM_H
#include "vmshm_dev.h"
#include "vmshm_tables.h"

extern const struct file_operations vmshm_fops;

/* vmshm_device.c: dev->ref */
struct vmshm_dev *vmshm_dev_make(struct pci_dev *pdev);
void vmshm_dev_get(struct vmshm_dev *dev);
void vmshm_dev_put(struct vmshm_dev *dev);

/* vmshm_memory.c: dev->mem. No lock is held. */
/* How long processes have to leave when the device is unplugged or the driver unbound. */
#define VMSHM_GRACE_JIFFIES	(2 * HZ)
int vmshm_memory_init(void);
void vmshm_memory_exit(void);
int vmshm_memory_map(struct vmshm_dev *dev);
/* Only to be called when none of its pages is pinned. */
void vmshm_memory_unmap(struct vmshm_dev *dev);
/* Called when nobody maps the memory any more: waits a moment for pinned pages. Returns false if some are still
 * pinned; vmshm_memory_linger() then keeps the memory.
 */
bool vmshm_memory_is_let_go(struct vmshm_dev *dev);
void vmshm_memory_linger(struct vmshm_dev *dev);

/* vmshm_regs.c */
u32 vmshm_reg(struct vmshm_dev *dev, u32 offset);
void vmshm_reg_set(struct vmshm_dev *dev, u32 offset, u32 value);
u64 vmshm_reg64(struct vmshm_dev *dev, u32 offset);
/* Enable the interrupt again; called before the device is checked, so that later changes cause a new interrupt. */
void vmshm_interrupt_again(struct vmshm_dev *dev);

/* Log a problem that any user can provoke: only if it differs from the last one. The address of `key` identifies the
 * kind of problem.
 */
__printf(3, 4)
void vmshm_complain(struct vmshm_dev *dev, const char *key, const char *format, ...);

/* vmshm_inode.c: dev->inode. No lock is held. */
int vmshm_inode_make(struct vmshm_dev *dev);
void vmshm_inode_drop(struct vmshm_dev *dev);

/* vmshm_header.c: read the segment's header and this VM's id. Lock held for writing.
 * 0, -EPROTO or -ENXIO, which the log explains, or -ENOMEM.
 */
int vmshm_header_read(struct vmshm_dev *dev);
void vmshm_header_drop(struct vmshm_dev *dev);

/* vmshm_attach.c: attaching and detaching the memory. Lock held for writing. */
/* Claim the memory and read the header, unless it is known. Returns 0 or an error of DESCRIBE. */
int vmshm_take_up(struct vmshm_dev *dev);
/* Claim the memory (STATE: in use), so that the VM cannot be migrated. False: it cannot be used now. */
bool vmshm_claim(struct vmshm_dev *dev);
/* Give up a claim that nobody uses; not yet if pages are pinned. */
void vmshm_unclaim(struct vmshm_dev *dev);
/* Is there a claim that nobody uses? */
bool vmshm_is_idle(const struct vmshm_dev *dev);
/* Are pages from before the memory was lost still pinned? Their holder could access the new content. */
bool vmshm_is_held(struct vmshm_dev *dev);
/* Check the device for attachments, detachments and requests of the host, and act on them. */
void vmshm_attach_look(struct vmshm_dev *dev);

/* vmshm_join.c */
int vmshm_join(struct vmshm_file *file, struct vmshm_join *join);	/* takes the lock */

/* vmshm_section.c. Lock held for writing. */
/* Release everything that the file has; `state` is what others see: VMSHM_PROC_LEFT or _DEAD. */
void vmshm_leave(struct vmshm_file *file, u32 state);
/* All processes lose the segment. _shut() records that in the section; _lost() writes nothing, since the memory may
 * be other memory by now.
 */
void vmshm_section_shut(struct vmshm_dev *dev);
void vmshm_section_lost(struct vmshm_dev *dev);
/* Has this boot lost the section? Either the host marked the VM as gone: then others reuse the windows that its
 * processes were reading, so the mark counts even if it was changed back since. Or another VM has the section: then it
 * must not be written.
 */
bool vmshm_is_expelled(const struct vmshm_dev *dev);
bool vmshm_is_arbiter(const struct vmshm_dev *dev);
void vmshm_expel(struct vmshm_dev *dev);
/* Release the slots of address spaces that have ended. */
void vmshm_reap(struct vmshm_dev *dev);

/* vmshm_slot.c. Lock held for writing. */
/* Tell other VMs that this one's section has changed. */
void vmshm_changed(struct vmshm_dev *dev);
/* Returns VMSHM_NO_SLOT if no more than `spare` slots are free. */
u32 vmshm_slot_find_free(struct vmshm_dev *dev, u32 spare);
/* Returns the nonce of the new process. */
u64 vmshm_slot_publish(struct vmshm_dev *dev, u32 slot, u32 pid, kuid_t uid, u64 name, const u8 *job);
void vmshm_slot_bury(struct vmshm_dev *dev, u32 slot, u32 state);
/* End the file's membership. */
void vmshm_slot_free(struct vmshm_file *file);
/* Take a slot for the module itself. */
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
/* A file of this VM has found, or released, a window of the own section. */
void vmshm_window_read(struct vmshm_dev *dev, u32 index);
void vmshm_window_unread(struct vmshm_dev *dev, u32 index);
/* Free windows in quarantine that nobody holds. Does at most VMSHM_LOOKS_MAX checks under one hold of the lock;
 * returns true if there is more to do, after the lock was released for a while.
 */
bool vmshm_window_collect(struct vmshm_dev *dev);
/* The same; any remaining work is done by vmshm_beat(), which is scheduled at once. */
void vmshm_window_collect_soon(struct vmshm_dev *dev);
/* Make the next vmshm_window_collect() check up to `windows` windows again that were held at the last check. */
void vmshm_window_look_again(struct vmshm_dev *dev, u32 windows);

/* vmshm_limits.c. Lock held for writing. May this process and this user have one more slot? If so, counts it.
 * Returns 0, -EMFILE, -EDQUOT or -ENOMEM.
 */
int vmshm_limits_join(struct vmshm_file *file);
void vmshm_limits_leave(struct vmshm_file *file);
/* May the user have a window of this kind? Returns 0 or -EDQUOT. Windows count from vmshm_limits_take() until
 * vmshm_limits_give(), when others can have the memory.
 */
int vmshm_limits_check_window(const struct vmshm_file *file, u64 bytes, u32 kind);
/* Narrow the range, which is that kind's half of the section, to where the user's windows may be. */
void vmshm_limits_reach(const struct vmshm_file *file, u64 *start, u64 *end);
/* May this process exceed the limits? */
bool vmshm_limits_may_exceed(void);
void vmshm_limits_take(struct vmshm_dev *dev, struct vmshm_own_window *w, struct vmshm_user *user);
void vmshm_limits_give(struct vmshm_dev *dev, struct vmshm_own_window *w);
/* Reset all counts, when there are no windows and no members any more. */
void vmshm_limits_forget(struct vmshm_dev *dev);
struct vmshm_limits vmshm_limits_of_user(const struct vmshm_dev *dev);
struct vmshm_limits vmshm_limits_of_all(const struct vmshm_dev *dev);

/* vmshm_debugfs.c: the list of holders of slots, windows and pages. Does nothing without debugfs. */
void vmshm_debugfs_init(void);
void vmshm_debugfs_exit(void);
void vmshm_debugfs_add(struct vmshm_dev *dev);
void vmshm_debugfs_remove(struct vmshm_dev *dev);

/* vmshm_found.c */
int vmshm_find(struct vmshm_file *file, struct vmshm_find *find);
int vmshm_found_release(struct vmshm_file *file, struct vmshm_release *r);
void vmshm_found_release_all(struct vmshm_file *file);
/* Forget the windows without clearing their bits in the reader table. */
void vmshm_found_forget_all(struct vmshm_file *file);
/* Release windows of other VMs that are not pinned any more. Does at most VMSHM_LOOKS_MAX checks under one hold of
 * the lock; returns true if there is more to do, after the lock was released for a while.
 */
bool vmshm_pins_look(struct vmshm_dev *dev);
/* Make the next vmshm_pins_look() check again what was pinned at the last check. */
void vmshm_pins_look_again(struct vmshm_dev *dev);
void vmshm_pins_forget(struct vmshm_dev *dev);

/* vmshm_mmap.c */
int vmshm_mmap(struct file *filp, struct vm_area_struct *vma);
/* Remove a range from all page tables; processes that may still map it fault it in again. */
void vmshm_zap(struct vmshm_dev *dev, u64 offset, u64 length);

/* vmshm_pin.c */
enum vmshm_look { VMSHM_LOOK_FREE, VMSHM_LOOK_HELD, VMSHM_LOOK_UNFINISHED };
/* Are pages pinned in a range that nobody maps? Continues at *seen and decrements *looks for each page checked; returns
 * VMSHM_LOOK_UNFINISHED when *looks reaches 0.
 */
enum vmshm_look vmshm_look_pages(const struct vmshm_dev *dev, u64 offset, u64 length, u64 *seen, u32 *looks);
/* Add to the statistics of checks made under one hold of the lock. */
void vmshm_looked(struct vmshm_dev *dev, u32 looks);
/* Are pages pinned in a range that was zapped? */
bool vmshm_is_pinned(const struct vmshm_dev *dev, u64 offset, u64 length);
/* Offset of the first pinned page in [offset, end), or `end` if there is none. */
u64 vmshm_first_pin(const struct vmshm_dev *dev, u64 offset, u64 end);
/* Is any page of the segment pinned? Only when nobody maps it any more; slow. */
bool vmshm_still_pinned(struct vmshm_dev *dev);
/* Number of pinned pages in all that processes can have mapped. Lock held for writing. */
u32 vmshm_pins(const struct vmshm_dev *dev);

/* vmshm_event.c */
void vmshm_beat(struct work_struct *work);
int vmshm_wait(struct vmshm_file *file, struct vmshm_wait *wait);	/* takes the lock */

/* vmshm_notify.c */
/* Add the events to all open files. Lock held for writing. */
void vmshm_notify(struct vmshm_dev *dev, u32 events);
/* The same, only for files that have not joined. */
void vmshm_notify_outside(struct vmshm_dev *dev, u32 events);

#endif
