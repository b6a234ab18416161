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
#include "vmshm_dev.h"
#include "vmshm_tables.h"

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

#endif
