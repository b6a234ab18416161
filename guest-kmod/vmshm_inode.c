// SPDX-License-Identifier: GPL-2.0-only
/*
 * The inode whose address space all open files of a device share, so that zapping finds every mapping. It belongs to
 * a private file system. The device node's inode would not do, since a device may have several nodes, and a
 * container's node is destroyed with the container's file system.
 */
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>

#include "vmshm.h"

#define VMSHM_FS_MAGIC	0x4d485356	/* "VSHM" */

static struct vfsmount *vmshm_mount;
static int vmshm_mounted;

static int vmshm_fs_init(struct fs_context *fc)
{
	return init_pseudo(fc, VMSHM_FS_MAGIC) ? 0 : -ENOMEM;
}

/* No owner, since the mount exists as long as there is a device, and would prevent unloading the module. Open files
 * hold references to the module and to the inode.
 */
static struct file_system_type vmshm_fs = {
	.name = "vmshm",
	.init_fs_context = vmshm_fs_init,
	.kill_sb = kill_anon_super,
};

int vmshm_inode_make(struct vmshm_dev *dev)
{
	struct inode *inode;
	int rc = simple_pin_fs(&vmshm_fs, &vmshm_mount, &vmshm_mounted);

	if (rc)
		return rc;
	inode = alloc_anon_inode(vmshm_mount->mnt_sb);
	if (IS_ERR(inode)) {
		simple_release_fs(&vmshm_mount, &vmshm_mounted);
		return PTR_ERR(inode);
	}
	dev->inode = inode;
	return 0;
}

void vmshm_inode_drop(struct vmshm_dev *dev)
{
	if (!dev->inode)
		return;
	iput(dev->inode);
	simple_release_fs(&vmshm_mount, &vmshm_mounted);
}
