// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits on how much of the section one process, one user, and all users together may have.
 *
 * Everything counts for as long as nobody else can have it: a window in quarantine counts for the user who
 * released it, even if all processes of that user have ended. With CAP_SYS_RESOURCE nothing is refused, like for
 * RLIMIT_NPROC and disk quotas, but everything counts. Users are those of the initial user namespace.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/lockdep.h>
#include <linux/math.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "vmshm.h"

/* All windows of a user lie within a range of this percentage of a half, unless the user may have more than that. */
#define REACH_LEAST	90U

static unsigned int process_slots = 1;
module_param(process_slots, uint, 0644);
MODULE_PARM_DESC(process_slots, "memberships that one process may have at a time (default: 1)");

static unsigned int user_slots = 90;
module_param(user_slots, uint, 0644);
MODULE_PARM_DESC(user_slots, "percent of the section's process slots that one user may have, rounded down (default: 90)");

static unsigned int user_windows = 90;
module_param(user_windows, uint, 0644);
MODULE_PARM_DESC(user_windows, "percent of the section's windows that one user may have, rounded down (default: 90)");

static unsigned int user_bytes = 90;
module_param(user_bytes, uint, 0644);
MODULE_PARM_DESC(user_bytes, "percent of the private and of the open half of the section's memory that one user may have (default: 90)");

static unsigned int all_slots = 100;
module_param(all_slots, uint, 0644);
MODULE_PARM_DESC(all_slots, "percent of the section's process slots that all unprivileged users may have together (default: 100)");

static unsigned int all_windows = 100;
module_param(all_windows, uint, 0644);
MODULE_PARM_DESC(all_windows, "percent of the section's windows that all unprivileged users may have together (default: 100)");

static unsigned int all_bytes = 100;
module_param(all_bytes, uint, 0644);
MODULE_PARM_DESC(all_bytes, "percent of the private and of the open half of the section's memory that all unprivileged users may have together (default: 100)");

/* `percent` of `whole`, rounded down to a multiple of `piece` so that something is left for others unless it is all,
 * but at least one piece.
 */
static u64 limit_part(u64 whole, unsigned int percent, u64 piece)
{
	if (!percent || percent >= 100)
		return percent ? whole : 0;
	return min(whole, max(piece * div64_u64(whole * percent, 100 * piece), piece));
}

static u64 half_bytes(const struct vmshm_dev *dev, u32 kind)
{
	return vmshm_half_end(dev, kind) - vmshm_half_start(dev, kind);
}

static struct vmshm_limits limits_of(const struct vmshm_dev *dev, unsigned int slots,
				     unsigned int windows, unsigned int bytes)
{
	const u32 slots_there_are = dev->header.procs - vmshm_spare_slots(dev);
	const u64 granule = VMSHM_GRANULE_BYTES;

	return (struct vmshm_limits) {
		.slots = limit_part(slots_there_are, slots, 1),
		.windows = limit_part(dev->header.windows, windows, 1),
		.bytes = {
			limit_part(half_bytes(dev, VMSHM_KIND_PRIVATE), bytes, granule),
			limit_part(half_bytes(dev, VMSHM_KIND_OPEN), bytes, granule),
		},
	};
}

struct vmshm_limits vmshm_limits_of_user(const struct vmshm_dev *dev)
{
	return limits_of(dev, READ_ONCE(user_slots), READ_ONCE(user_windows), READ_ONCE(user_bytes));
}

struct vmshm_limits vmshm_limits_of_all(const struct vmshm_dev *dev)
{
	return limits_of(dev, READ_ONCE(all_slots), READ_ONCE(all_windows), READ_ONCE(all_bytes));
}

static bool one_is_over(u64 has, u64 more, u64 limit)
{
	return more && has + more > limit;
}

static bool limit_is_over(const struct vmshm_limits *has, const struct vmshm_limits *more,
			  const struct vmshm_limits *limit)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(has->bytes); kind++)
		if (one_is_over(has->bytes[kind], more->bytes[kind], limit->bytes[kind]))
			return true;
	return one_is_over(has->slots, more->slots, limit->slots) ||
	       one_is_over(has->windows, more->windows, limit->windows);
}

bool vmshm_limits_may_exceed(void)
{
	return capable(CAP_SYS_RESOURCE);
}

static int limit_check(const struct vmshm_dev *dev, const struct vmshm_user *user,
		       const struct vmshm_limits *more)
{
	const struct vmshm_limits of_user = vmshm_limits_of_user(dev), of_all = vmshm_limits_of_all(dev);

	if (!limit_is_over(&user->has, more, &of_user) && !limit_is_over(&dev->has, more, &of_all))
		return 0;
	/* Check the capability last, since the kernel records its use. */
	return vmshm_limits_may_exceed() ? 0 : -EDQUOT;
}

static struct vmshm_user *user_of(struct vmshm_dev *dev, kuid_t uid)
{
	struct vmshm_user *user;

	list_for_each_entry(user, &dev->users, list)
		if (uid_eq(user->uid, uid))
			return user;
	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (user) {
		user->uid = uid;
		list_add_tail(&user->list, &dev->users);
	}
	return user;
}

static void user_drop(struct vmshm_user *user)
{
	if (user->has.slots || user->has.windows)
		return;
	list_del(&user->list);
	kfree(user);
}

/* Counts the slots of this address space, which several processes can share. */
static u32 slots_of_process(const struct vmshm_dev *dev)
{
	const struct vmshm_file *file;
	u32 n = 0;

	list_for_each_entry(file, &dev->files, list)
		n += file->slot != VMSHM_NO_SLOT && file->mm == current->mm;
	return n;
}

int vmshm_limits_join(struct vmshm_file *file)
{
	const struct vmshm_limits more = { .slots = 1 };
	struct vmshm_dev *dev = file->dev;
	struct vmshm_user *user;
	int rc;

	lockdep_assert_held_write(&dev->lock);
	if (slots_of_process(dev) >= READ_ONCE(process_slots))
		return -EMFILE;
	user = user_of(dev, current_uid());
	if (!user)
		return -ENOMEM;
	rc = limit_check(dev, user, &more);
	if (rc) {
		user_drop(user);
		return rc;
	}
	user->has.slots++;
	dev->has.slots++;
	file->user = user;
	return 0;
}

void vmshm_limits_leave(struct vmshm_file *file)
{
	struct vmshm_user *user = file->user;

	lockdep_assert_held_write(&file->dev->lock);
	file->dev->has.slots--;
	user->has.slots--;
	file->user = NULL;
	user_drop(user);
}

int vmshm_limits_check_window(const struct vmshm_file *file, u64 bytes, u32 kind)
{
	struct vmshm_limits more = { .windows = 1 };

	more.bytes[kind] = bytes;
	lockdep_assert_held_write(&file->dev->lock);
	return limit_check(file->dev, file->user, &more);
}

/* A few small windows could fragment the heap so that other users find no large gap. So the windows of one user must
 * lie within nine tenths of a half; the remaining tenth is in at most two pieces, before and behind them.
 */
void vmshm_limits_reach(const struct vmshm_file *file, u64 *start, u64 *end)
{
	const u64 reach = limit_part(*end - *start, max(READ_ONCE(user_bytes), REACH_LEAST),
				     VMSHM_GRANULE_BYTES);
	const struct vmshm_dev *dev = file->dev;
	const struct vmshm_own_window *w;
	u64 first = *end, last = *start;

	lockdep_assert_held_write(&dev->lock);
	list_for_each_entry(w, &dev->taken_windows, taken) {
		if (w->user != file->user || w->offset < *start || w->offset >= *end)
			continue;
		first = min(first, w->offset);
		last = max(last, w->offset + w->length);
	}
	if (first >= last)
		return;
	if (last - *start > reach)
		*start = min(first, last - reach);
	if (*end - first > reach)
		*end = max(last, first + reach);
}

/* Bytes of a window in one half; windows of an earlier boot can extend over both. */
static u64 bytes_in_half(const struct vmshm_dev *dev, const struct vmshm_own_window *w, u32 kind)
{
	const u64 start = max(w->offset, vmshm_half_start(dev, kind));
	const u64 end = min(w->offset + w->length, vmshm_half_end(dev, kind));

	return start < end ? end - start : 0;
}

static void bytes_add(struct vmshm_limits *has, const struct vmshm_dev *dev,
		      const struct vmshm_own_window *w)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(has->bytes); kind++)
		has->bytes[kind] += bytes_in_half(dev, w, kind);
}

static void bytes_subtract(struct vmshm_limits *has, const struct vmshm_dev *dev,
			   const struct vmshm_own_window *w)
{
	u32 kind;

	for (kind = 0; kind < ARRAY_SIZE(has->bytes); kind++)
		has->bytes[kind] -= bytes_in_half(dev, w, kind);
}

void vmshm_limits_take(struct vmshm_dev *dev, struct vmshm_own_window *w, struct vmshm_user *user)
{
	lockdep_assert_held_write(&dev->lock);
	w->user = user;
	dev->has.windows++;
	bytes_add(&dev->has, dev, w);
	if (!user)
		return;
	user->has.windows++;
	bytes_add(&user->has, dev, w);
}

void vmshm_limits_give(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	struct vmshm_user *user = w->user;

	lockdep_assert_held_write(&dev->lock);
	w->user = NULL;
	dev->has.windows--;
	bytes_subtract(&dev->has, dev, w);
	if (!user)
		return;
	user->has.windows--;
	bytes_subtract(&user->has, dev, w);
	user_drop(user);
}

void vmshm_limits_forget(struct vmshm_dev *dev)
{
	struct vmshm_user *user, *next;

	list_for_each_entry_safe(user, next, &dev->users, list) {
		list_del(&user->list);
		kfree(user);
	}
	memset(&dev->has, 0, sizeof(dev->has));
}
