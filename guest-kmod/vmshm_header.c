// SPDX-License-Identifier: GPL-2.0-only
/* The segment's header, which the host wrote, and this VM's id. */
#include <linux/dmi.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "vmshm.h"
#include "vmshm_registers.h"

static int vm_id = -1;
module_param(vm_id, int, 0444);
MODULE_PARM_DESC(vm_id,
		 "id of this VM in the segment's table, used if neither the device nor the SMBIOS OEM string vmshm.vm-id=N gives one (default: -1, not set)");

static const char *header_limits_fault(const struct vmshm_header *h)
{
	if (h->vms < 1 || h->vms > VMSHM_MAX_VMS)
		return "vms";
	if (h->procs < 1 || h->procs > VMSHM_MAX_PROCS)
		return "procs";
	if (h->windows < 64 || h->windows > VMSHM_MAX_WINDOWS || h->windows % 64)
		return "windows";
	return NULL;
}

/* Returns the name of an invalid field, or NULL. */
static const char *header_fault(const struct vmshm_dev *dev, const u8 *image)
{
	const struct vmshm_header *h = (const void *)image;
	const struct vmshm_section_entry *table = (const void *)(image + VMSHM_TABLE_OFFSET);
	const char *fault;
	u64 end = VMSHM_HEADER_BYTES;
	u32 vm;

	if (h->magic != VMSHM_MAGIC)
		return "magic";
	if (h->version != VMSHM_FORMAT_VERSION || h->checked_bytes != VMSHM_CHECKED_BYTES)
		return "version";
	if (h->checksum != vmshm_header_checksum(image))
		return "checksum";
	if (h->total_bytes > dev->bytes)
		return "total_bytes";
	fault = header_limits_fault(h);
	if (fault)
		return fault;
	for (vm = 0; vm < h->vms; vm++) {
		if (table[vm].vm_id != vm || !vmshm_entry_fits(h, &table[vm], end) ||
		    !vmshm_open_half_fits(h, &table[vm]))
			return "section table";
		end = table[vm].offset + table[vm].length;
	}
	return NULL;
}

/* Returns N of an OEM string vmshm.vm-id=N, or -1. */
static long vm_id_from_smbios(void)
{
	static const char key[] = "vmshm.vm-id=";
	const struct dmi_device *d = NULL;
	unsigned int id;

	while ((d = dmi_find_device(DMI_DEV_TYPE_OEM_STRING, NULL, d)) != NULL)
		if (!strncmp(d->name, key, sizeof(key) - 1) &&
		    !kstrtouint(d->name + sizeof(key) - 1, 10, &id))
			return id;
	return -1;
}

static int vm_identify(struct vmshm_dev *dev)
{
	const struct vmshm_section_entry *own;
	long id = -1;

	if (dev->generation && vmshm_reg(dev, VMSHM_REG_VM_ID) != VMSHM_NO_VM_ID) {
		id = vmshm_reg(dev, VMSHM_REG_VM_ID);
		dev->vm_source = VMSHM_ID_DEVICE;
	}
	if (id < 0) {
		id = vm_id_from_smbios();
		dev->vm_source = VMSHM_ID_SMBIOS;
	}
	if (id < 0) {
		id = vm_id;
		dev->vm_source = VMSHM_ID_PARAMETER;
	}
	if (id < 0) {
		vmshm_complain(dev, "no id",
			       "this VM has no id: give the VM the SMBIOS OEM string vmshm.vm-id=N, or load the module with vm_id=N\n");
		return -ENXIO;
	}
	if (id >= dev->header.vms) {
		vmshm_complain(dev, "id",
			       "VM id %ld is not in the segment's table, which has 0 to %u\n", id,
			       dev->header.vms - 1);
		return -ENXIO;
	}
	dev->vm = id;
	own = &dev->sections[id];
	if ((dev->features & VMSHM_FEATURE_WRITE_WINDOWS) &&
	    !vmshm_range_inside(own->offset, own->length,
				vmshm_reg64(dev, VMSHM_REG_WINDOW_OFFSET),
				vmshm_reg64(dev, VMSHM_REG_WINDOW_SIZE))) {
		vmshm_complain(dev, "window",
			       "the device lets this VM write outside of section %ld: set window-offset=%llu,window-size=%llu\n",
			       id, own->offset, own->length);
		return -ENXIO;
	}
	return 0;
}

int vmshm_header_read(struct vmshm_dev *dev)
{
	const char *fault;
	u8 *image;
	int rc;

	lockdep_assert_held_write(&dev->lock);
	if (vmshm_is_known(dev))
		return 0;
	image = kmalloc(VMSHM_CHECKED_BYTES, GFP_KERNEL);
	if (!image)
		return -ENOMEM;
	memcpy(image, dev->mem, VMSHM_CHECKED_BYTES);
	fault = header_fault(dev, image);
	if (fault) {
		vmshm_complain(dev, fault,
			       "the segment's header is not usable (%s): run vmshmctl create on the host\n",
			       fault);
		rc = -EPROTO;
		goto free_image;
	}
	memcpy(&dev->header, image, sizeof(dev->header));
	memcpy(dev->sections, image + VMSHM_TABLE_OFFSET, sizeof(dev->sections));
	rc = vm_identify(dev);
	if (rc)
		goto free_image;
	rc = -ENOMEM;
	dev->procs = kvcalloc(dev->header.procs, sizeof(*dev->procs), GFP_KERNEL);
	dev->windows = kvcalloc(dev->header.windows, sizeof(*dev->windows), GFP_KERNEL);
	if (!dev->procs || !dev->windows) {
		vmshm_header_drop(dev);
		goto free_image;
	}
	do {
		dev->epoch = get_random_u64();
	} while (!dev->epoch);
	INIT_LIST_HEAD(&dev->taken_windows);
	INIT_LIST_HEAD(&dev->to_look);
	INIT_LIST_HEAD(&dev->held);
	memset(dev->seen, 0, sizeof(dev->seen));
	dev->phase = VMSHM_PHASE_KNOWN;
	dev->complaint = NULL;
	rc = 0;
free_image:
	kfree(image);
	return rc;
}

void vmshm_header_drop(struct vmshm_dev *dev)
{
	vmshm_limits_forget(dev);
	kvfree(dev->procs);
	kvfree(dev->windows);
	dev->procs = NULL;
	dev->windows = NULL;
}
