/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of vmshmctl share: running its binary ($VMSHMCTL, else ./vmshmctl of the build directory), its
 * JSON, and bytes of a segment's file. */
#ifndef VMSHM_UNIT_CTL_H
#define VMSHM_UNIT_CTL_H

#define _GNU_SOURCE
#include "unit.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* small_segment() */
#define SECTION (16 * UNIT_MIB)
#define GRANULE VMSHM_GRANULE_BYTES

/* Where things stand in it. */
#define HEADER(member)     offsetof(struct vmshm_header, member)
#define ENTRY(vm, member)  (VMSHM_TABLE_OFFSET + (vm) * 64 \
                            + offsetof(struct vmshm_section_entry, member))
#define SECTION_AT(vm)     (VMSHM_HEADER_BYTES + (vm) * SECTION)
#define FIELD(vm, member)  (SECTION_AT(vm) + offsetof(struct vmshm_section, member))
#define PROC(vm, slot, member) (SECTION_AT(vm) + 4096 + (slot) * 128 \
                                + offsetof(struct vmshm_proc, member))
#define WINDOW(vm, i, member)  (SECTION_AT(vm) + 4096 + 8 * 128 + (i) * 64 \
                                + offsetof(struct vmshm_window, member))
#define READER(vm, slot)   (SECTION_AT(vm) + 4096 + 8 * 128 + 64 * 64 + 64 + (slot) * 16)

extern char out[1 << 20], err[1 << 14];         /* what the last run printed */

/* Run vmshmctl with these arguments; returns its exit status. */
int run_argv(const char *dir, const char *const *argv);
#define run(dir, ...) run_argv(dir, (const char *const[]) { "vmshmctl", __VA_ARGS__, NULL })
void expect_status(int got, int wanted);
#define must(dir, ...) expect_status(run(dir, __VA_ARGS__), 0)
void assert_contains(const char *text, const char *part);

/* --- JSON of `show --json` */
cJSON *show_json(const char *dir, const char *path);
const cJSON *vm_of(const cJSON *json, int vm);
uint64_t number(const cJSON *object, const char *name);
const char *string(const cJSON *object, const char *name);

/* --- bytes of a file */
void slurp(const char *path, char *buf, size_t bytes);
void poke(const char *path, uint64_t at, uint64_t value, size_t bytes);
uint64_t peek(const char *path, uint64_t at, size_t bytes);

/* --- a process of VM 1 that runs, in dir/segment */
pid_t start_vm(const char *dir);
void stop_vm(pid_t pid);

/* dir/segment: two VMs with sections of SECTION bytes. */
int small_segment(void **state);

#define EMPTY(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)
#define SMALL(test) cmocka_unit_test_setup_teardown(test, small_segment, unit_teardown)

#endif
