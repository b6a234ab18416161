/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl: makes, shows, checks and removes segments on the host.
 *
 * One file per command (vmshmctl_NAME.c); what they share is declared here. A command gets its own
 * arguments (argv[0] is the command's name) and returns the program's exit status.
 */
#ifndef VMSHMCTL_H
#define VMSHMCTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "vmshm_layout.h"
#include "vmshm_segment.h"

enum ctl_status {
    CTL_OK = 0,
    CTL_FAILED = 1,             /* an error, told on stderr; `check`: problems found */
    CTL_USAGE = 2,              /* wrong arguments; `check`: the segment cannot be read */
    CTL_IN_USE = 3              /* refused because a VM runs; --force overrides */
};

#define CTL_VM_UNSET UINT32_MAX
#define CTL_WATCH_MS 1500       /* how long a heartbeat is watched before a VM counts as off */

struct ctl_command {
    const char *name;
    const char *summary;        /* one line */
    const char *usage;          /* what --help prints */
    int (*run)(const struct ctl_command *self, int argc, char **argv);
};

extern const struct ctl_command ctl_create, ctl_show, ctl_check, ctl_reset_vm, ctl_mark_vm,
    ctl_destroy, ctl_qemu_args, ctl_libvirt_xml, ctl_identity;

/* --- vmshmctl.c: messages */

/* Print "vmshmctl: FILE: FIELD: DETAIL" and the remedy (NULL: the code's own). Returns
 * CTL_FAILED. */
int ctl_fail(const struct vmshm_error *e, const char *remedy);

/* The same for a wrong argument. Returns CTL_USAGE. */
int ctl_usage_error(const struct ctl_command *self, const char *option, const char *remedy,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* What getopt_long said: --help (prints, returns CTL_OK) or an unknown option. */
int ctl_option_end(const struct ctl_command *self, int option, char **argv);

/* The one PATH argument behind the options; CTL_USAGE was told if there is none or one too many. */
int ctl_path_argument(const struct ctl_command *self, int argc, char **argv, const char **path);

/* A parameter as Open MPI's processes of this user would have it on this machine. */
struct ctl_parameter {
    char value[1024];
    char from[256];             /* the file, or the environment variable */
};

bool ctl_parameter_find(const char *name, struct ctl_parameter *p);

/* Open the segment at `path` and see that it has a VM `vm` (CTL_VM_UNSET: --vm was not given).
 * Tells its errors itself. */
int ctl_open_for_vm(const struct ctl_command *self, const char *path, uint32_t vm,
                    struct vmshm_segment *s);

/* --- vmshmctl_parse.c */

/* "512M", "1G", "4096": bytes, binary multiples K M G T. */
bool ctl_parse_size(const char *text, uint64_t *bytes);
bool ctl_parse_u32(const char *text, uint32_t *value);
/* "N:REST": *rest points behind the colon. */
bool ctl_parse_indexed(const char *text, uint32_t *index, const char **rest);
/* Bytes as people write them: "64M", "1.5G"; buf of 32. */
const char *ctl_size_text(uint64_t bytes, char *buf);
const char *ctl_hex_text(const uint8_t *bytes, size_t n, char *buf);   /* buf of 2n + 1 */
const char *ctl_uuid_text(const uint8_t uuid[16], char *buf);          /* buf of 37 */
const char *ctl_time_text(uint64_t seconds, char *buf);                /* buf of 32, UTC */

/* --- vmshmctl_holders.c: what vmshm.ko of this VM holds; nothing where it does not manage the segment */

struct cJSON;
void ctl_holders_text(const struct vmshm_segment *s);
void ctl_holders_json(const struct vmshm_segment *s, struct cJSON *root);

/* --- vmshmctl_view.c: what a section says now, copied so that it cannot change while it is read */

struct ctl_view {
    uint8_t *control;           /* copy of the section before its heap */
    const struct vmshm_section *section;
    const struct vmshm_proc *procs;
    const struct vmshm_window *windows;
    const uint64_t *readers;
    struct vmshm_vm_mark mark;
};

/* Copy [offset, +bytes) of the segment. Files are read, not mapped: touching a hole of a sparse
 * file through a mapping takes memory, and kills the reader when there is none. */
int ctl_read(const struct vmshm_segment *s, uint64_t offset, void *to, uint64_t bytes,
             struct vmshm_error *e);
int ctl_view_load(const struct vmshm_segment *s, uint32_t vm, struct ctl_view *view,
                  struct vmshm_error *e);
void ctl_view_free(struct ctl_view *view);
/* Is the bit of window `index` of `of_vm` set in the row of `slot`? */
bool ctl_view_reads(const struct ctl_view *view, const struct vmshm_header *h, uint32_t slot,
                    uint32_t of_vm, uint32_t index);
/* Is a window entry a range of the heap of its section? */
bool ctl_window_in_heap(const struct vmshm_segment *s, uint32_t vm, const struct vmshm_window *w);

/* Watch the heartbeats of all VMs (or of one) for CTL_WATCH_MS or until one moves. Returns the
 * first VM that beats or CTL_VM_UNSET. */
uint32_t ctl_watch(const struct vmshm_segment *s, uint32_t only_vm);

/* --- vmshmctl_numa.c */

/* Ask for the memory of [addr, +bytes) on a host NUMA node (OS index), before it is touched. */
int ctl_numa_bind(void *addr, uint64_t bytes, uint32_t node, const char *path,
                  struct vmshm_error *e);
/* OS index of the n-th node with memory, counting round and round. */
int ctl_numa_nth(uint32_t n, uint32_t *node, struct vmshm_error *e);

#endif
