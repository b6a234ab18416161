// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/vmshm/vmshmN: the holders of slots, windows and pages of the section, for root and for
 * `vmshmctl show`. Each line has the kind of the object, then NAME=VALUE pairs. The data is the module's private
 * state, not the tables in the segment, which any VM may have overwritten.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "vmshm.h"

static struct dentry *directory;

static void show_limit(struct seq_file *m, const struct vmshm_limits *has,
		       const struct vmshm_limits *limit)
{
	seq_printf(m, " slots=%llu/%llu windows=%llu/%llu", has->slots, limit->slots, has->windows,
		   limit->windows);
	seq_printf(m, " private_bytes=%llu/%llu open_bytes=%llu/%llu\n",
		   has->bytes[VMSHM_KIND_PRIVATE], limit->bytes[VMSHM_KIND_PRIVATE],
		   has->bytes[VMSHM_KIND_OPEN], limit->bytes[VMSHM_KIND_OPEN]);
}

static void show_section(struct seq_file *m, const struct vmshm_dev *dev)
{
	static const char * const states[] = {
		[VMSHM_PHASE_UNKNOWN] = "unused", [VMSHM_PHASE_KNOWN] = "unused",
		[VMSHM_PHASE_TAKEN] = "taken", [VMSHM_PHASE_DETACHED] = "detached",
		[VMSHM_PHASE_GONE] = "gone",
	};
	struct vmshm_limits limit;
	const struct vmshm_user *user;
	const struct vmshm_found *f;
	struct rb_node *node;

	seq_printf(m, "section state=%s", states[dev->phase]);
	if (!vmshm_is_known(dev)) {
		seq_putc(m, '\n');
		return;
	}
	limit = vmshm_limits_of_all(dev);
	seq_printf(m, " vm=%u", dev->vm);
	show_limit(m, &dev->has, &limit);
	seq_printf(m, "collecting looks=%llu most=%u\n", dev->looks, dev->looks_most);
	limit = vmshm_limits_of_user(dev);
	list_for_each_entry(user, &dev->users, list) {
		seq_printf(m, "user uid=%u", from_kuid(&init_user_ns, user->uid));
		show_limit(m, &user->has, &limit);
	}
	if (dev->pin_slot != VMSHM_NO_SLOT)
		seq_printf(m, "slot index=%u holder=pins\n", dev->pin_slot);
	for (node = rb_first(&dev->pinned); node; node = rb_next(node)) {
		f = rb_entry(node, struct vmshm_found, pinned);
		seq_printf(m, "pinned vm=%u window=%u offset=0x%llx bytes=%llu\n", f->vm, f->index,
			   f->offset, f->length);
	}
}

static void show_slot(struct seq_file *m, const struct vmshm_dev *dev, u32 slot)
{
	const struct vmshm_file *file = dev->procs[slot].file;

	if (file)
		seq_printf(m, "slot index=%u holder=process pid=%d uid=%u found=%u\n", slot, file->pid,
			   from_kuid(&init_user_ns, file->uid), file->found_count);
}

/* The holder that the last check of a window in quarantine found. */
static void show_holder(struct seq_file *m, const struct vmshm_dev *dev,
			const struct vmshm_own_window *w)
{
	const u32 procs = dev->header.procs;

	if (w->readers)
		seq_puts(m, " held=here");
	else if (w->readers_seen < dev->header.vms * 2 * procs)
		seq_printf(m, " held=%u.%u", w->readers_seen / (2 * procs), w->readers_seen % procs);
	else if (w->bytes_seen < w->length)
		seq_puts(m, " held=pinned");
}

static void show_window(struct seq_file *m, const struct vmshm_dev *dev, u32 index)
{
	static const char * const states[] = { "empty", "zeroing", "live", "quarantine" };
	const struct vmshm_own_window *w = &dev->windows[index];

	if (w->state == VMSHM_OWN_EMPTY)
		return;
	seq_printf(m, "window index=%u state=%s offset=0x%llx bytes=%llu", index, states[w->state],
		   w->offset, w->length);
	if (w->user)
		seq_printf(m, " uid=%u", from_kuid(&init_user_ns, w->user->uid));
	if (w->state != VMSHM_OWN_QUARANTINE)
		seq_printf(m, " slot=%u", w->slot);
	seq_printf(m, " readers=%u", w->readers);
	if (w->state == VMSHM_OWN_QUARANTINE)
		show_holder(m, dev, w);
	seq_putc(m, '\n');
}

/* Line 0 is the section, followed by its slots, then its windows. */
static void *line_at(struct seq_file *m, loff_t *line)
{
	const struct vmshm_dev *dev = m->private;
	const u64 lines = vmshm_is_known(dev) ? 1ULL + dev->header.procs + dev->header.windows : 1;

	return *line < lines ? line : NULL;
}

static void *holders_start(struct seq_file *m, loff_t *line)
{
	struct vmshm_dev *dev = m->private;

	down_read(&dev->lock);
	return line_at(m, line);
}

static void *holders_next(struct seq_file *m, void *v, loff_t *line)
{
	++*line;
	return line_at(m, line);
}

static void holders_stop(struct seq_file *m, void *v)
{
	struct vmshm_dev *dev = m->private;

	up_read(&dev->lock);
}

static int holders_show(struct seq_file *m, void *v)
{
	const struct vmshm_dev *dev = m->private;
	const u64 line = *(loff_t *)v;

	if (!line)
		show_section(m, dev);
	else if (line <= dev->header.procs)
		show_slot(m, dev, line - 1);
	else
		show_window(m, dev, line - 1 - dev->header.procs);
	return 0;
}

static const struct seq_operations holders_sops = {
	.start = holders_start,
	.next = holders_next,
	.stop = holders_stop,
	.show = holders_show,
};
DEFINE_SEQ_ATTRIBUTE(holders);

void vmshm_debugfs_init(void)
{
	directory = debugfs_create_dir("vmshm", NULL);
}

void vmshm_debugfs_exit(void)
{
	debugfs_remove(directory);
}

void vmshm_debugfs_add(struct vmshm_dev *dev)
{
	dev->holders = debugfs_create_file(dev->name, 0400, directory, dev, &holders_fops);
}

void vmshm_debugfs_remove(struct vmshm_dev *dev)
{
	debugfs_remove(dev->holders);
}
