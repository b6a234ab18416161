// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinned pages: held by RDMA, a pipe, a GPU, or another process that copies. A page has one reference of its own, and
 * one more for each pin. Pins outlive mappings; without a mapping no new ones appear.
 */
#include <linux/mm.h>

#include "vmshm.h"

static bool page_is_pinned(unsigned long pfn)
{
	return page_ref_count(pfn_to_page(pfn)) > 1;
}

u64 vmshm_first_pin(const struct vmshm_dev *dev, u64 offset, u64 end)
{
	if (!(dev->features & VMSHM_FEATURE_PAGES))
		return end;
	for (; offset < end; offset += PAGE_SIZE)
		if (page_is_pinned((dev->phys + offset) >> PAGE_SHIFT))
			return offset;
	return end;
}

bool vmshm_is_pinned(const struct vmshm_dev *dev, u64 offset, u64 length)
{
	return vmshm_first_pin(dev, offset, offset + length) < offset + length;
}

enum vmshm_look vmshm_look_pages(const struct vmshm_dev *dev, u64 offset, u64 length, u64 *seen, u32 *looks)
{
	for (; *looks; *seen += PAGE_SIZE) {
		--*looks;
		if (*seen == length)
			return VMSHM_LOOK_FREE;
		if (vmshm_is_pinned(dev, offset + *seen, PAGE_SIZE))
			return VMSHM_LOOK_HELD;
	}
	return VMSHM_LOOK_UNFINISHED;
}

void vmshm_looked(struct vmshm_dev *dev, u32 looks)
{
	lockdep_assert_held_write(&dev->lock);
	dev->looks += looks;
	dev->looks_most = max(dev->looks_most, looks);
}

bool vmshm_still_pinned(struct vmshm_dev *dev)
{
	const u64 piece = VMSHM_ALIGN_BYTES;

	/* No new pins can appear, so pages before the first pinned one need not be checked again. */
	while (dev->old_pins_at < dev->bytes) {
		const u64 end = min(dev->old_pins_at + piece, dev->bytes);

		dev->old_pins_at = vmshm_first_pin(dev, dev->old_pins_at, end);
		if (dev->old_pins_at < end)
			return true;
		cond_resched();
	}
	return false;
}

static u32 pins_in(const struct vmshm_dev *dev, u64 offset, u64 length)
{
	unsigned long pfn = (dev->phys + offset) >> PAGE_SHIFT;
	const unsigned long end = (dev->phys + offset + length) >> PAGE_SHIFT;
	u32 pins = 0;

	for (; pfn < end; pfn++)
		pins += page_is_pinned(pfn);
	return pins;
}

static u32 pins_in_found(const struct vmshm_dev *dev, const struct list_head *found)
{
	const struct vmshm_found *f;
	u32 pins = 0;

	list_for_each_entry(f, found, list)
		if (f->vm != dev->vm)
			pins += pins_in(dev, f->offset, f->length);
	return pins;
}

u32 vmshm_pins(const struct vmshm_dev *dev)
{
	const struct vmshm_file *file;
	u32 pins, i;

	lockdep_assert_held_write(&dev->lock);
	if (!vmshm_is_known(dev) || !(dev->features & VMSHM_FEATURE_PAGES))
		return 0;
	pins = pins_in(dev, 0, PAGE_ALIGN(VMSHM_HEADER_BYTES));
	for (i = 0; i < dev->header.vms; i++)
		pins += pins_in(dev, dev->sections[i].offset, vmshm_heap_offset(&dev->header));
	for (i = 0; i < dev->header.windows; i++)
		if (dev->windows[i].state != VMSHM_OWN_EMPTY)
			pins += pins_in(dev, dev->windows[i].offset, dev->windows[i].length);
	pins += pins_in_found(dev, &dev->pins_to_look);
	pins += pins_in_found(dev, &dev->pins_held);
	list_for_each_entry(file, &dev->files, list)
		pins += pins_in_found(dev, &file->found);
	return pins;
}
