/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the unit tests share: a temporary directory, segments made without vmshmctl, a fake root
 * directory for identity files, members and child processes.
 */
#ifndef VMSHM_UNIT_H
#define VMSHM_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/types.h>

#include "vmshm_layout.h"
#include "vmshm_check.h"

#define UNIT_MIB (UINT64_C(1) << 20)

/* A fresh directory, removed by unit_dir_remove() with everything in it. */
void unit_dir_make(char dir[64]);
void unit_dir_remove(const char *dir);
/* cmocka setup and teardown: *state becomes the directory's name. */
int unit_setup(void **state);
int unit_teardown(void **state);

/* dir/name; sixteen results are kept at a time, the other functions here use none of them. */
const char *unit_path(const char *dir, const char *name);
void unit_write(const char *path, const void *data, size_t bytes);
void unit_write_text(const char *path, const char *text);
void unit_mkdirs(const char *path);
void unit_copy_file(const char *from, const char *to);

/* A right header image: equal sections of section_bytes, open half of open_bytes each. */
void unit_image(uint8_t image[VMSHM_CHECKED_BYTES], uint32_t vms, uint32_t procs, uint32_t windows,
                uint64_t section_bytes, uint64_t open_bytes);
/* Put the checksum right after a change. */
void unit_image_seal(uint8_t image[VMSHM_CHECKED_BYTES]);
/* A segment of 2 VMs, 8 processes and 64 windows each. */
void unit_segment(const char *path, uint64_t section_bytes, uint64_t open_bytes);

/* cmocka setup: a directory with such a segment, of sections of 16 MiB without an open half. */
int unit_setup_segment(void **state);
#define UNIT_SECTION (16 * UNIT_MIB)
#define UNIT_HEAP    (14 * UNIT_MIB)    /* the tables take 2 MiB */

/* A fake root directory below dir whose kernel has this boot id; returns its path (eight are kept
 * at a time). */
const char *unit_root(const char *dir, const char *name, const char *boot_id);

/* Join dir/segment as VM `vm`; lock files lie in dir/locks-BOOT, the boot id follows from BOOT.
 * Returns the code. */
int unit_try_join(const char *dir, uint32_t vm, const char *boot, struct vmshm_member *m,
                  struct vmshm_error *e);
/* As unit_try_join, and it must work. */
void unit_join(const char *dir, uint32_t vm, const char *boot, struct vmshm_member *m);

/* Join until the slot is `slot`: which free slot is handed out first is not the tests' business. */
void unit_join_slot(const char *dir, uint32_t vm, const char *boot, uint32_t slot,
                    struct vmshm_member *m);

/* A private window, which there must be room for: its index, and its place. */
uint32_t unit_alloc(struct vmshm_member *m, uint64_t bytes, uint64_t *offset);
uint32_t unit_window_state(const struct vmshm_member *m, uint32_t index);

/* A control window with its header, published. Returns its index. */
uint32_t unit_publish(struct vmshm_member *m);

/* Fork a child that runs `run` and then exits with its result. cmocka's assertions must not be used
 * in it: they would unwind into the parent's test. */
pid_t unit_fork(int (*run)(void *), void *arg);
/* Wait for it; its exit status, or 128 + signal. */
int unit_wait(pid_t pid);

#endif
