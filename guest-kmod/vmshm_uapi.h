/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR BSD-3-Clause */
/*
 * The interface of /dev/vmshmN for processes of a guest.
 *
 * Each open file can have one membership, and a process one or few (the module's parameter
 * process_slots). VMSHM_IOC_JOIN takes a process slot for the calling address space; VMSHM_IOC_LEAVE,
 * the last close of the file or the end of the address space releases it with all its windows. After a
 * fork the child has neither the membership nor the mappings: it must open the device itself. Other
 * address spaces than the one that joined may use the file for DESCRIBE and WAIT only.
 *
 * mmap: the file's offset is the offset in the segment; MAP_SHARED only, never executable. A mapping
 * must lie within one of
 * - the header, or the tables at the start of a section: read-only, for any process that opened the
 *   device;
 * - an own window: read-write;
 * - a window of another process, found by VMSHM_IOC_FIND: read-only; an open window read-write, but one
 *   of another VM only without VMSHM_FEATURE_WRITE_WINDOWS, since the device then drops the stores.
 *   Anything else is refused with EACCES. When the right to a window ends (release, unplugging,
 *   detach) while it is mapped, the next access gives SIGBUS.
 *
 * All structures have a fixed size. `flags` and `reserved` must be zero, else EINVAL. Errors common
 * to all calls that need a membership: ENOTCONN (not joined), EPERM (not the address space that
 * joined), ENODEV (the device is gone, or its memory detached), EFAULT. ENOMEM: of open, DESCRIBE, JOIN
 * and FIND.
 */
#ifndef VMSHM_UAPI_H
#define VMSHM_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VMSHM_UAPI_VERSION	1

/* Sources of the VM's id. */
enum {
	VMSHM_ID_DEVICE = 1,		/* register of the patched device */
	VMSHM_ID_SMBIOS = 2,		/* OEM string vmshm.vm-id=N */
	VMSHM_ID_PARAMETER = 3,		/* module parameter vm_id, also as vmshm.vm_id=N at boot */
};

/* Any process that opened the device. Errors: EPROTO (no usable header in the segment; the kernel
 * log names the field), ENXIO (this VM's id is unknown, or not in the segment's table), ENODEV and
 * EBUSY as with JOIN.
 */
struct vmshm_describe {
	__u32 uapi;			/* VMSHM_UAPI_VERSION of the module */
	__u32 format;			/* VMSHM_FORMAT_VERSION of the module */
	__u32 vm;
	__u32 vm_source;		/* VMSHM_ID_* */
	__u64 total_bytes;
	__u64 epoch;			/* of this VM; changes when the module is loaded again, when the
					 * memory was detached, and, if nobody has joined yet, when the device
					 * is closed
					 */
	__u32 features;			/* VMSHM_FEATURE_* */
	__u32 generation;		/* of the device's attachment; 0: the device has no such counter */
	__u64 reserved[3];
};

#define VMSHM_FEATURE_WRITE_WINDOWS	(1U << 0) /* the hypervisor protects other VMs' sections */
#define VMSHM_FEATURE_DETACH		(1U << 1) /* the host may request the segment back */
#define VMSHM_FEATURE_INTERRUPT		(1U << 2) /* events are delivered at once, not by polling */
#define VMSHM_FEATURE_PAGES		(1U << 3) /* the memory can be pinned, for RDMA */

/* Errors: EISCONN (joined already), EBADF (not open for writing), EINVAL (the job's key is zero),
 * EMFILE (the process has joined through another open file: process_slots), EDQUOT (the user, or all
 * users together, have as many slots as they may: user_slots, all_slots; not with CAP_SYS_RESOURCE),
 * ENOSPC (no process slot left), EADDRINUSE (another VM with this id is running), ENODEV (also while the
 * host requests the memory, or the VM is being migrated), EBUSY (pages of the memory that was lost
 * earlier are still pinned: by RDMA, a pipe, a GPU), EHOSTDOWN (the host has
 * marked this VM as gone), EINTR (killed), EPROTO, ENXIO.
 * Takes up to 1.5 s when an earlier boot of the VM left processes in the tables. Clears pending events
 * DETACH, ATTACH and EXPELLED.
 */
struct vmshm_join {
	__u8 job[16];			/* key of the job: processes of the user that know it may map the windows */
	__u64 name;			/* of the process, for `vmshmctl show` */
	__u32 flags;
	__u32 slot;			/* from here on: results */
	__u32 generation;
	__u32 vm;
	__u64 nonce;
	__u64 epoch;
};

/* Allocate a zeroed window of the own section. Errors: EINVAL (no bytes, unknown kind), ENOSPC (no window
 * slot, or no free range of that size), EDQUOT (the user, or all users together, would have more windows, or
 * bytes of that kind, than they may, including windows in quarantine: user_windows, user_bytes, all_windows,
 * all_bytes; or the user's windows would be too far apart: user_bytes), EINTR (killed).
 */
struct vmshm_alloc {
	__u64 bytes;			/* rounded up to 64 KiB */
	__u32 kind;			/* VMSHM_KIND_PRIVATE or _OPEN */
	__u32 flags;
	__u64 offset;			/* from here on: results */
	__u64 length;
	__u32 index;
	__u32 reserved;
};

/* Find a window of another process, in this VM or in another: by its index, or with VMSHM_ANY_WINDOW the
 * one that contains [offset, offset + length). It cannot be reused until VMSHM_IOC_RELEASE. It may be found
 * several times, and is then released only once.
 * Errors: EINVAL (vm, slot or index out of range), ENOENT (no live window there), EACCES (the
 * window belongs to a job with another key, or to another user), EPROTO (the other VM's entry for it is
 * invalid), ENOSPC (more than 65536 windows found).
 */
struct vmshm_find {
	__u8 job[16];
	__u64 offset;
	__u64 length;
	__u32 vm;
	__u32 slot;
	__u32 index;			/* result with VMSHM_ANY_WINDOW */
	__u32 flags;
	__u64 window_offset;		/* from here on: results */
	__u64 window_length;
	__u32 generation;
	__u32 kind;
};

#define VMSHM_ANY_WINDOW	0xffffffffU

/* Release an own window (vm: the own id; its memory is reused when no other process
 * reads it), or one that was found. Errors: ENOENT (neither of these).
 */
struct vmshm_release {
	__u32 vm;
	__u32 index;
	__u64 offset;			/* results: the window's range */
	__u64 length;
};

/* Make an own window the process's control window, whose index is in the process entry. Errors: ENOENT. */
struct vmshm_publish {
	__u32 index;
	__u32 reserved;
};

/* Tell a process that there is a new ring to it. Errors: EINVAL (vm or slot out of range). */
struct vmshm_ring_bell {
	__u32 vm;
	__u32 slot;
};

/* Publish how much was sent since the join, for `vmshmctl show`. */
struct vmshm_count {
	__u64 messages;
	__u64 bytes;
};

/* Wait for events, and clear them. poll(2) works, too: EPOLLIN while there are events, EPOLLHUP when the
 * device is gone. For any process that opened the device. Errors: ETIMEDOUT, EINTR.
 */
struct vmshm_wait {
	__u64 timeout_ns;		/* 0: do not wait, ~0: for ever */
	__u32 events;			/* result: VMSHM_EVENT_* */
	__u32 flags;
};

#define VMSHM_EVENT_PEER	(1U << 0) /* a process or VM joined, left, died or was marked */
#define VMSHM_EVENT_DETACH	(1U << 1) /* the host requests the memory: leave */
#define VMSHM_EVENT_ATTACH	(1U << 2) /* there is memory (again): use DESCRIBE, then JOIN */
#define VMSHM_EVENT_GONE	(1U << 3) /* the device was unplugged */
#define VMSHM_EVENT_EXPELLED	(1U << 4) /* the host marked this VM as gone, or another VM got its
					   * section: leave
					   */

#define VMSHM_IOC_DESCRIBE	_IOR('V', 0x40, struct vmshm_describe)
#define VMSHM_IOC_JOIN		_IOWR('V', 0x41, struct vmshm_join)
#define VMSHM_IOC_LEAVE		_IO('V', 0x42)
#define VMSHM_IOC_ALLOC		_IOWR('V', 0x43, struct vmshm_alloc)
#define VMSHM_IOC_FIND		_IOWR('V', 0x44, struct vmshm_find)
#define VMSHM_IOC_RELEASE	_IOWR('V', 0x45, struct vmshm_release)
#define VMSHM_IOC_PUBLISH	_IOW('V', 0x46, struct vmshm_publish)
#define VMSHM_IOC_RING		_IOW('V', 0x47, struct vmshm_ring_bell)
#define VMSHM_IOC_COUNT		_IOW('V', 0x48, struct vmshm_count)
#define VMSHM_IOC_WAIT		_IOWR('V', 0x49, struct vmshm_wait)

#endif
