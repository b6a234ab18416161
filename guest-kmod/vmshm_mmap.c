// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings. Who may map what is asked twice: by mmap, so that a mistake gives an error, and by
 * every fault, so that a right that ended is gone.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "vmshm.h"
#include "vmshm_compat.h"

enum right { RIGHT_NONE, RIGHT_READ, RIGHT_WRITE };

/* What a mapping is of, for as long as it lives, whatever is handed out at that place later: stands
 * in vm_private_data. Indices and generations begin anew in another segment, and in that of another VM they are
 * its word. After the last serial that fits nothing can be mapped.
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

/* What the range is part of, as a whole. */
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

/* Open windows are there to be written, but where the device guards the sections of others a store to
 * them costs an exit and is lost.
 */
static bool can_store(const struct vmshm_dev *dev, const struct vmshm_found *f)
{
	return f->kind == VMSHM_KIND_OPEN &&
	       (f->vm == dev->vm || !(dev->features & VMSHM_FEATURE_WRITE_WINDOWS));
}

/* What the file may do now with this range of it. Tables of another segment may lie elsewhere. */
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

/* A 2 MiB entry where one fits into the mapping, at the same alignment. Whether one fits follows
 * from the mapping alone: for one place it is always the same, and never meets a table of small
 * entries.
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

/* Large entries are made here, too: some kernels never call .huge_fault for such a mapping, and those that
 * do differ in what they hand it.
 */
static vm_fault_t vma_fault(struct vm_fault *vmf)
{
	const pmd_t pmd = READ_ONCE(*vmf->pmd);
	vm_fault_t ret = VM_FAULT_FALLBACK;

	/* Another thread was quicker: its large entry must not be taken for a table. */
	if (!pmd_none(pmd) && pmd_leaf(pmd))
		return VM_FAULT_NOPAGE;
	if (pmd_none(pmd))
		ret = vma_fault_pmd(vmf);
	return ret & VM_FAULT_FALLBACK ? vma_fault_pte(vmf) : ret;
}

/* With MADV_DOFORK a fork copies the mapping nevertheless. Its entries must not come along: the child is
 * another process. The tables are anybody's, and a mapping that is split or moved stays its process's.
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
	/* For writing: where others have to fault, too, zapping must not meet an entry that comes. */
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

	/* A private mapping would copy, and show the copy's reader what is not there any more. Of a
	 * file that is open for reading only a shared one has no VM_SHARED.
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
	/* The child of a fork is another process: it opens the device itself. */
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
