// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings. Access rights are checked twice: by mmap(), so that a mistake gives an error, and by
 * every page fault, so that a right that has ended has an effect.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "vmshm.h"
#include "vmshm_compat.h"

enum right { RIGHT_NONE, RIGHT_READ, RIGHT_WRITE };

/* Identifies the object that was mapped, even if the range is handed out again later; stored in vm_private_data.
 * Serial numbers, since indices and generations start again in another segment, and other VMs can choose theirs
 * freely. When the serial numbers are used up nothing can be mapped any more.
 */
union identity {
	struct {
		u64 serial : 46;
		u64 index : 16;		/* OF_OWN */
		u64 kind : 2;
	};
	void *data;
};

enum { OF_TABLES = 1, OF_OWN, OF_FOUND };

static_assert(sizeof(union identity) == sizeof(void *));
static_assert(VMSHM_MAX_WINDOWS <= 0x10000);

static bool range_in_tables(const struct vmshm_dev *dev, u64 offset, u64 length)
{
	u32 vm;

	if (vmshm_range_inside(offset, length, 0, PAGE_ALIGN(VMSHM_HEADER_BYTES)))
		return true;
	for (vm = 0; vm < dev->header.vms; vm++)
		if (vmshm_range_inside(offset, length, dev->sections[vm].offset,
				       vmshm_heap_offset(&dev->header)))
			return true;
	return false;
}

/* The object that contains the whole range. */
static union identity identity_of_range(const struct vmshm_file *file, u64 offset, u64 length)
{
	const struct vmshm_dev *dev = file->dev;
	const struct vmshm_own_window *w;
	const struct vmshm_found *f;

	lockdep_assert_held(&dev->lock);
	list_for_each_entry(w, &file->windows, of_file)
		if (vmshm_range_inside(offset, length, w->offset, w->length))
			return (union identity) { .kind = OF_OWN, .index = w - dev->windows,
				.serial = w->serial };
	list_for_each_entry(f, &file->found, list)
		if (vmshm_range_inside(offset, length, f->offset, f->length))
			return (union identity) { .kind = OF_FOUND, .serial = f->serial };
	return (union identity) { .kind = range_in_tables(dev, offset, length) ? OF_TABLES : 0 };
}

/* Open windows may be written, but if the device protects other VMs' sections, a store to them causes a VM exit and is
 * lost.
 */
static bool can_store(const struct vmshm_dev *dev, const struct vmshm_found *f)
{
	return f->kind == VMSHM_KIND_OPEN &&
	       (f->vm == dev->vm || !(dev->features & VMSHM_FEATURE_WRITE_WINDOWS));
}

/* The file's present right to this range. Tables are checked again, since another segment may have them elsewhere. */
static enum right right_to_identity(const struct vmshm_file *file, union identity id, u64 offset,
				    u64 length)
{
	const struct vmshm_dev *dev = file->dev;
	const struct vmshm_own_window *w;
	const struct vmshm_found *f;

	lockdep_assert_held(&dev->lock);
	if (vmshm_is_away(dev) || !vmshm_is_known(dev))
		return RIGHT_NONE;
	switch (id.kind) {
	case OF_TABLES:
		return range_in_tables(dev, offset, length) ? RIGHT_READ : RIGHT_NONE;
	case OF_OWN:
		w = id.index < dev->header.windows ? &dev->windows[id.index] : NULL;
		return w && w->state == VMSHM_OWN_LIVE && w->slot == file->slot &&
		       w->serial == id.serial && vmshm_range_inside(offset, length, w->offset, w->length) ?
		       RIGHT_WRITE : RIGHT_NONE;
	case OF_FOUND:
		list_for_each_entry(f, &file->found, list)
			if (f->serial == id.serial &&
			    vmshm_range_inside(offset, length, f->offset, f->length))
				return can_store(dev, f) ? RIGHT_WRITE : RIGHT_READ;
	}
	return RIGHT_NONE;
}

static bool vma_may_fault(const struct vm_area_struct *vma, u64 offset, u64 length)
{
	const union identity id = { .data = vma->vm_private_data };
	const struct vmshm_file *file = vma->vm_file->private_data;

	if (id.kind != OF_TABLES && vma->vm_mm != file->mm)
		return false;
	return right_to_identity(file, id, offset, length) >=
	       (vma->vm_flags & VM_WRITE ? RIGHT_WRITE : RIGHT_READ);
}

/* Insert a 2 MiB entry if one fits into the mapping, with the right alignment. This depends only on the mapping, so an
 * address always gets the same kind of entry, and a large one never meets a table of small ones.
 */
static vm_fault_t vma_fault_pmd(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct vmshm_file *file = vma->vm_file->private_data;
	const unsigned long start = vmf->address & PMD_MASK;
	vm_fault_t ret = VM_FAULT_SIGBUS;
	u64 offset;

	if (!vmshm_may_be_large(vma->vm_flags & VM_MIXEDMAP))
		return VM_FAULT_FALLBACK;
	if (start < vma->vm_start || start + PMD_SIZE > vma->vm_end)
		return VM_FAULT_FALLBACK;
	offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) + (start - vma->vm_start);
	if (((file->dev->phys + offset) & ~PMD_MASK) != 0)
		return VM_FAULT_FALLBACK;
	down_read(&file->dev->lock);
	if (vma_may_fault(vma, offset, PMD_SIZE))
		ret = vmshm_insert_pmd(vmf, (file->dev->phys + offset) >> PAGE_SHIFT,
				       vma->vm_flags & VM_WRITE);
	up_read(&file->dev->lock);
	return ret;
}

static vm_fault_t vma_fault_pte(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct vmshm_file *file = vma->vm_file->private_data;
	struct vmshm_dev *dev = file->dev;
	const unsigned long pfn = (dev->phys >> PAGE_SHIFT) + vmf->pgoff;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	down_read(&dev->lock);
	if (vma_may_fault(vma, (u64)vmf->pgoff << PAGE_SHIFT, PAGE_SIZE))
		ret = vma->vm_flags & VM_MIXEDMAP ? vmshm_insert_page(vma, vmf->address, pfn) :
						    vmf_insert_pfn(vma, vmf->address, pfn);
	up_read(&dev->lock);
	return ret;
}

/* Large entries are inserted here, too, because some kernels never call .huge_fault for such a mapping, and the others
 * pass it different arguments.
 */
static vm_fault_t vma_fault(struct vm_fault *vmf)
{
	const pmd_t pmd = READ_ONCE(*vmf->pmd);
	vm_fault_t ret = VM_FAULT_FALLBACK;

	/* Another thread has inserted a large entry meanwhile, which must not be taken for a page table. */
	if (!pmd_none(pmd) && pmd_leaf(pmd))
		return VM_FAULT_NOPAGE;
	if (pmd_none(pmd))
		ret = vma_fault_pmd(vmf);
	return ret & VM_FAULT_FALLBACK ? vma_fault_pte(vmf) : ret;
}

/* With MADV_DOFORK a fork copies the mapping in spite of VM_DONTCOPY. The child must not inherit the entries of
 * windows, since it is another process; every process may map the tables. Splitting or moving a mapping keeps its
 * process, so nothing has to be done then.
 */
static void vmshm_vma_open(struct vm_area_struct *vma)
{
	const union identity id = { .data = vma->vm_private_data };
	struct vmshm_file *file = vma->vm_file->private_data;
	bool forked;

	down_read(&file->dev->lock);
	forked = id.kind != OF_TABLES && file->mm && file->mm != vma->vm_mm;
	up_read(&file->dev->lock);
	if (!forked)
		return;
	/* For writing, since on some kernels this zaps other processes' entries, too, racing with faults. */
	down_write(&file->dev->lock);
	vmshm_disinherit(vma);
	up_write(&file->dev->lock);
}

static const struct vm_operations_struct vm_ops = {
	.open = vmshm_vma_open,
	.fault = vma_fault,
};

int vmshm_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct vmshm_file *file = filp->private_data;
	struct vmshm_dev *dev = file->dev;
	const u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT, length = vma->vm_end - vma->vm_start;
	unsigned long drop = VM_MAYEXEC;
	union identity id = {};
	enum right right = RIGHT_NONE;
	int rc = 0;

	/* Refuse private mappings, which would show stale copies. Check VM_MAYSHARE, because the kernel clears
	 * VM_SHARED if the file is open for reading only.
	 */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (!vmshm_range_inside(vma->vm_pgoff, length >> PAGE_SHIFT, 0, dev->bytes >> PAGE_SHIFT))
		return -EINVAL;
	down_read(&dev->lock);
	if (vmshm_is_known(dev)) {
		id = identity_of_range(file, offset, length);
		right = right_to_identity(file, id, offset, length);
	}
	if (vmshm_is_away(dev))
		rc = -ENODEV;
	else if (right == RIGHT_NONE || (vma->vm_flags & VM_WRITE && right != RIGHT_WRITE))
		rc = -EACCES;
	else if (file->mm && file->mm != current->mm)
		rc = -EPERM;
	up_read(&dev->lock);
	if (rc)
		return rc;
	if (right != RIGHT_WRITE)
		drop |= VM_MAYWRITE;
	/* VM_DONTCOPY: the child of a fork is another process, and has to open the device itself. */
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY | VM_HUGEPAGE |
			  (dev->features & VMSHM_FEATURE_PAGES ? VM_MIXEDMAP : VM_PFNMAP), drop);
	vma->vm_private_data = id.data;
	vma->vm_ops = &vm_ops;
	return 0;
}

void vmshm_zap(struct vmshm_dev *dev, u64 offset, u64 length)
{
	unmap_mapping_range(dev->inode->i_mapping, offset, length, 1);
}
