/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses of the segment's tables and entries. Included by vmshm.h.
 */
#ifndef VMSHM_TABLES_H
#define VMSHM_TABLES_H

static inline struct vmshm_section *vmshm_section_of(const struct vmshm_dev *dev, u32 vm)
{
	return dev->mem + dev->sections[vm].offset;
}

/* Number of process slots that the module reserves for windows of other VMs that stay pinned. */
static inline u32 vmshm_spare_slots(const struct vmshm_dev *dev)
{
	return dev->features & VMSHM_FEATURE_PAGES && dev->header.procs > 1;
}

/* Start of a half of the own section's heap. */
static inline u64 vmshm_half_start(const struct vmshm_dev *dev, u32 kind)
{
	const struct vmshm_section_entry *own = &dev->sections[dev->vm];

	return own->offset + (kind == VMSHM_KIND_OPEN ? own->open_offset :
			      vmshm_heap_offset(&dev->header));
}

static inline u64 vmshm_half_end(const struct vmshm_dev *dev, u32 kind)
{
	const struct vmshm_section_entry *own = &dev->sections[dev->vm];

	return own->offset + (kind == VMSHM_KIND_OPEN ? own->length : own->open_offset);
}

static inline struct vmshm_proc *vmshm_proc_of(const struct vmshm_dev *dev, u32 vm, u32 slot)
{
	return dev->mem + dev->sections[vm].offset + vmshm_procs_offset() +
	       slot * sizeof(struct vmshm_proc);
}

static inline struct vmshm_window *vmshm_window_of(const struct vmshm_dev *dev, u32 vm, u32 index)
{
	return dev->mem + dev->sections[vm].offset + vmshm_windows_offset(&dev->header) +
	       index * sizeof(struct vmshm_window);
}

static inline u64 *vmshm_row_of(const struct vmshm_dev *dev, u32 vm, u32 slot)
{
	return dev->mem + dev->sections[vm].offset + vmshm_readers_offset(&dev->header) +
	       slot * vmshm_reader_row_bytes(&dev->header);
}

static inline struct vmshm_vm_mark *vmshm_mark_of(const struct vmshm_dev *dev, u32 vm)
{
	return dev->mem + VMSHM_MARK_OFFSET + vm * sizeof(struct vmshm_vm_mark);
}

#endif
