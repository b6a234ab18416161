// SPDX-License-Identifier: GPL-2.0-only
/* /dev/vmshmN: copies arguments in, checks them, makes one call, copies results out. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vmshm.h"

static int vmshm_open(struct inode *inode, struct file *filp)
{
	struct vmshm_dev *dev = container_of(filp->private_data, struct vmshm_dev, misc);
	struct vmshm_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	file->dev = dev;
	file->slot = VMSHM_NO_SLOT;
	INIT_LIST_HEAD(&file->windows);
	INIT_LIST_HEAD(&file->found);
	down_write(&dev->lock);
	if (dev->phase == VMSHM_PHASE_GONE) {
		up_write(&dev->lock);
		kfree(file);
		return -ENODEV;
	}
	filp->f_mapping = dev->inode->i_mapping;
	filp->private_data = file;
	/* The host may have created the segment again while nobody used it. */
	if (vmshm_is_known(dev) && !dev->members && list_empty(&dev->files) &&
	    memcmp(dev->mem, &dev->header, sizeof(dev->header)))
		vmshm_section_lost(dev);
	list_add_tail(&file->list, &dev->files);
	vmshm_dev_get(dev);
	mod_delayed_work(system_wq, &dev->beat, 0);
	up_write(&dev->lock);
	return 0;
}

static int vmshm_close(struct inode *inode, struct file *filp)
{
	struct vmshm_file *file = filp->private_data;
	struct vmshm_dev *dev = file->dev;

	down_write(&dev->lock);
	vmshm_leave(file, VMSHM_PROC_DEAD);
	list_del(&file->list);
	vmshm_unclaim(dev);
	up_write(&dev->lock);
	kfree(file);
	vmshm_dev_put(dev);
	return 0;
}

static __poll_t vmshm_poll(struct file *filp, poll_table *wait)
{
	struct vmshm_file *file = filp->private_data;
	u32 events;

	poll_wait(filp, &file->dev->wait, wait);
	events = READ_ONCE(file->events);
	return (events ? EPOLLIN | EPOLLRDNORM : 0) | (events & VMSHM_EVENT_GONE ? EPOLLHUP : 0);
}

static int call_describe(struct vmshm_file *file, struct vmshm_describe *d)
{
	struct vmshm_dev *dev = file->dev;
	int rc = vmshm_take_up(dev);

	if (rc)
		return rc;
	*d = (struct vmshm_describe) {
		.uapi = VMSHM_UAPI_VERSION, .format = VMSHM_FORMAT_VERSION, .vm = dev->vm,
		.vm_source = dev->vm_source, .total_bytes = dev->header.total_bytes,
		.epoch = dev->epoch, .features = dev->features, .generation = dev->generation,
	};
	return 0;
}

static int call_join(struct vmshm_file *file, struct vmshm_join *j)	/* takes the lock */
{
	static const u8 none[16];

	if (j->flags || !memcmp(j->job, none, sizeof(none)))
		return -EINVAL;
	return vmshm_join(file, j);
}

static int call_release(struct vmshm_file *file, struct vmshm_release *r)
{
	if (r->vm == file->dev->vm && !vmshm_window_release(file, r))
		return 0;
	return vmshm_found_release(file, r);
}

static int call_publish(struct vmshm_file *file, const struct vmshm_publish *p)
{
	return p->reserved ? -EINVAL : vmshm_window_publish(file, p->index);
}

static int call_ring(struct vmshm_file *file, const struct vmshm_ring_bell *r)
{
	struct vmshm_dev *dev = file->dev;
	u32 *bell;

	if (r->vm >= dev->header.vms || r->slot >= dev->header.procs)
		return -EINVAL;
	bell = dev->mem + dev->sections[dev->vm].offset + vmshm_bells_offset(&dev->header) +
	       vmshm_proc_index(&dev->header, r->vm, r->slot) * sizeof(*bell);
	vmshm_add(bell, 1);
	return 0;
}

static int call_count(struct vmshm_file *file, const struct vmshm_count *c)
{
	struct vmshm_proc *proc = vmshm_proc_of(file->dev, file->dev->vm, file->slot);

	WRITE_ONCE(proc->messages, c->messages);
	WRITE_ONCE(proc->bytes, c->bytes);
	return 0;
}

static int call_find(struct vmshm_file *file, struct vmshm_find *f)
{
	return f->flags ? -EINVAL : vmshm_find(file, f);
}

/* Precondition of all calls but DESCRIBE, JOIN and WAIT. */
static int file_check_member(const struct vmshm_file *file)
{
	lockdep_assert_held(&file->dev->lock);
	if (file->slot == VMSHM_NO_SLOT)
		return -ENOTCONN;
	return file->mm == current->mm ? 0 : -EPERM;
}

union argument {
	struct vmshm_describe describe;
	struct vmshm_join join;
	struct vmshm_alloc alloc;
	struct vmshm_find find;
	struct vmshm_release release;
	struct vmshm_publish publish;
	struct vmshm_ring_bell ring;
	struct vmshm_count count;
	struct vmshm_wait wait;
};

static bool call_is_known(unsigned int cmd)
{
	static const unsigned int calls[] = {
		VMSHM_IOC_DESCRIBE, VMSHM_IOC_JOIN, VMSHM_IOC_LEAVE, VMSHM_IOC_ALLOC,
		VMSHM_IOC_FIND, VMSHM_IOC_RELEASE, VMSHM_IOC_PUBLISH, VMSHM_IOC_RING,
		VMSHM_IOC_COUNT, VMSHM_IOC_WAIT,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i] == cmd)
			return true;
	return false;
}

static int call_locked(struct vmshm_file *file, unsigned int cmd, union argument *a)
{
	int rc = 0;

	if (vmshm_is_away(file->dev))
		return -ENODEV;
	if (cmd != VMSHM_IOC_DESCRIBE)
		rc = file_check_member(file);
	if (rc)
		return rc;
	switch (cmd) {
	case VMSHM_IOC_DESCRIBE:
		return call_describe(file, &a->describe);
	case VMSHM_IOC_LEAVE:
		vmshm_leave(file, VMSHM_PROC_LEFT);
		return 0;
	case VMSHM_IOC_FIND:
		return call_find(file, &a->find);
	case VMSHM_IOC_RELEASE:
		return call_release(file, &a->release);
	case VMSHM_IOC_PUBLISH:
		return call_publish(file, &a->publish);
	case VMSHM_IOC_RING:
		return call_ring(file, &a->ring);
	case VMSHM_IOC_COUNT:
		return call_count(file, &a->count);
	}
	return -ENOTTY;
}

static int call_alloc(struct vmshm_file *file, struct vmshm_alloc *a)
{
	int rc;

	if (a->flags || a->reserved || !a->bytes ||
	    (a->kind != VMSHM_KIND_PRIVATE && a->kind != VMSHM_KIND_OPEN))
		return -EINVAL;
	down_read(&file->dev->lock);
	rc = vmshm_is_away(file->dev) ? -ENODEV : file_check_member(file);
	up_read(&file->dev->lock);
	return rc ? rc : vmshm_window_alloc(file, a);
}

static int call_any(struct vmshm_file *file, unsigned int cmd, union argument *a)
{
	int rc;

	switch (cmd) {
	case VMSHM_IOC_WAIT:
		return a->wait.flags ? -EINVAL : vmshm_wait(file, &a->wait);
	case VMSHM_IOC_JOIN:
		return call_join(file, &a->join);
	case VMSHM_IOC_ALLOC:
		return call_alloc(file, &a->alloc);
	}
	down_write(&file->dev->lock);
	rc = call_locked(file, cmd, a);
	up_write(&file->dev->lock);
	return rc;
}

static long vmshm_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	union argument a = {};
	int rc;

	if (!call_is_known(cmd))
		return -ENOTTY;
	if (cmd == VMSHM_IOC_JOIN && !(filp->f_mode & FMODE_WRITE))
		return -EBADF;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(&a, (void __user *)arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	rc = call_any(filp->private_data, cmd, &a);
	if (!rc && (_IOC_DIR(cmd) & _IOC_READ) &&
	    copy_to_user((void __user *)arg, &a, _IOC_SIZE(cmd)))
		return -EFAULT;
	return rc;
}

const struct file_operations vmshm_fops = {
	.owner = THIS_MODULE,
	.open = vmshm_open,
	.release = vmshm_close,
	.unlocked_ioctl = vmshm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = vmshm_poll,
	.mmap = vmshm_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.llseek = noop_llseek,
};
