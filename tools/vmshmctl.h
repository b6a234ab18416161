/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl: makes, shows, checks and removes segments on the host.
 *
 * One file per command (vmshmctl_NAME.c); the parts of a larger command are in vmshmctl_NAME_PART.c. What the files
 * share is declared here, in the order of use: a file calls only what is declared below its own part. A command gets
 * its own arguments (argv[0] is the command's name) and returns the program's exit status.
 *
 * Unless said otherwise sizes and offsets are in bytes, offsets count from the start of the segment, and a function
 * with a `struct vmshm_error *` returns VMSHM_OK or a VMSHM_ERR code, prints nothing, and describes its error there.
 */
#ifndef VMSHMCTL_H
#define VMSHMCTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "vmshm_layout.h"
#include "vmshm_segment.h"

enum ctl_status {
    CTL_OK = 0,
    CTL_FAILED = 1,             /* an error, reported on stderr; `check`: problems found */
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

/* ------------------------------------------------------------------------------------ the parts of create */

#define CTL_NUMA_AUTO (VMSHM_NO_NUMA - 1)

/* What create is asked for, and what follows from it. */
struct ctl_plan {
    const char *path;
    bool force, sparse, any_size;
    uint64_t total;                          /* bytes; 0: as many as the sections need */
    uint64_t section[VMSHM_MAX_VMS];         /* requested bytes; 0: section_all */
    uint64_t section_all;                    /* bytes; 0: an equal share of the rest */
    const char *open;                        /* PERCENT or SIZE; NULL: none */
    uint32_t numa[VMSHM_MAX_VMS];            /* OS index of a node, CTL_NUMA_AUTO or VMSHM_NO_NUMA */
    mode_t mode;
    const char *group;                       /* NULL: the default one */
    uint64_t page;                           /* bytes of a page of the file system */
    bool in_memory;                          /* tmpfs or hugetlbfs */
    struct vmshm_header header;
    struct vmshm_section_entry entry[VMSHM_MAX_VMS];
};

/* --- vmshmctl_create_options.c */

/* Fill a zeroed plan from the command line. Returns CTL_OK, or CTL_USAGE with the error printed. After --help, CTL_OK
 * and p->path is NULL. */
int ctl_create_options(const struct ctl_command *self, int argc, char **argv, struct ctl_plan *p);

/* --- vmshmctl_create_layout.c: after the options */

/* Set p->page and p->in_memory from the file system that holds, or will hold, the file. VMSHM_ERR_ABSENT: its
 * directory does not exist. */
int ctl_create_find_page(struct ctl_plan *p, struct vmshm_error *e);
/* Lay the sections out one after the other, each on whole pages and with room for its tables, and set p->total and
 * p->entry. Call after ctl_create_find_page(). Returns CTL_OK, or CTL_USAGE with the error printed. */
int ctl_create_sections(const struct ctl_command *self, struct ctl_plan *p);

/* --- vmshmctl_create_file.c: the last step. Both fill the file and give it its group and mode. */

/* Make a file under the name p->path, which must not exist. VMSHM_ERR_FULL: there is too little memory. */
int ctl_create_new(struct ctl_plan *p, struct vmshm_error *e);
/* Fill the file that is open as fd. Prints its errors itself and returns an exit status: CTL_IN_USE if --force is
 * needed. */
int ctl_create_in_place(struct ctl_plan *p, int fd);

/* --- vmshmctl_create_memory.c: called to fill the file, in this order; `base` is where all of it is mapped */

/* Bind the sections to NUMA nodes, and set their numa_node. */
int ctl_create_bind(struct ctl_plan *p, uint8_t *base, struct vmshm_error *e);
/* Allocate the memory of the file, unless --sparse is given. VMSHM_ERR_FULL: there is not enough. */
int ctl_create_allocate(const struct ctl_plan *p, int fd, struct vmshm_error *e);

/* --- vmshmctl_create_header.c */

/* Fill in p->header, with a new UUID. Call after ctl_create_sections(). */
int ctl_create_header(struct ctl_plan *p, struct vmshm_error *e);
/* Write the header and the table of sections. Call last: from then on the file is a segment. */
void ctl_create_write_header(const struct ctl_plan *p, uint8_t *base);

/* ------------------------------------------------------------------------------------ the parts of check */

struct ctl_problems {
    char **lines;               /* as they are printed, without a newline */
    size_t n;
    bool no_memory;             /* lines are missing */
};

/* --- vmshmctl_check_header.c: the checks below only add to the problems */

/* `image`: the first VMSHM_CHECKED_BYTES; `available`: bytes that the file has, UINT64_MAX: unknown. Returns whether
 * the numbers of VMs, processes and windows can be relied on. */
bool ctl_check_header(struct ctl_problems *p, const struct vmshm_header *h, const uint8_t *image, uint64_t available);
/* *end: where what precedes the section ends; on return, where the section ends. Returns whether its place in the
 * segment can be relied on. */
bool ctl_check_entry(struct ctl_problems *p, const struct vmshm_segment *s, uint32_t vm, uint64_t *end);

struct ctl_view;

/* What the checks of sections work on. */
struct ctl_checked {
    struct ctl_problems *p;
    const struct vmshm_segment *s;
    const struct ctl_view *view;        /* of each VM */
    bool have[VMSHM_MAX_VMS];           /* the view is loaded */
};

/* --- vmshmctl_check_section.c: of a VM whose view is loaded */
void ctl_check_section(const struct ctl_checked *c, uint32_t vm);
void ctl_check_proc(const struct ctl_checked *c, uint32_t vm, uint32_t slot);

/* --- vmshmctl_check_windows.c: likewise */
void ctl_check_window(const struct ctl_checked *c, uint32_t vm, uint32_t index);
void ctl_check_overlaps(const struct ctl_checked *c, uint32_t vm);

/* --- vmshmctl_check_problems.c */

/* Add "FIELD: DETAIL ; REMEDY". */
void ctl_problem(struct ctl_problems *p, const char *field, const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void ctl_problems_free(struct ctl_problems *p);
/* Remedies: for the header, and for a VM's section (buf of 96, returned). */
extern const char ctl_check_recreate[];
const char *ctl_reset_remedy(uint32_t vm, char *buf);

/* ------------------------------------------------------------------------------------ the parts of show */

/* --- vmshmctl_show_json.c, vmshmctl_show_text.c: print the segment; `views` has one of each VM */

/* Returns CTL_OK, or CTL_FAILED with the error printed. */
int ctl_show_json(const struct vmshm_segment *s, const struct ctl_view *views);
void ctl_show_text(const struct vmshm_segment *s, const struct ctl_view *views);

/* --- vmshmctl_show_names.c: "bad:NUMBER" for an unknown number, in buf of 16 */
const char *ctl_section_state(uint32_t state, char *buf);
const char *ctl_proc_state(uint32_t state, char *buf);
const char *ctl_window_state(uint32_t state, char *buf);
const char *ctl_window_kind(uint32_t kind, char *buf);
const char *ctl_mark_name(uint32_t mark, char *buf);

/* --- vmshmctl_holders.c: what vmshm.ko of this VM holds; nothing where it does not manage the segment */

struct cJSON;
void ctl_holders_text(const struct vmshm_segment *s);
void ctl_holders_json(const struct vmshm_segment *s, struct cJSON *root);

/* ------------------------------------------------------------------------------------ for all commands */

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
 * file through a mapping allocates memory, and kills the reader when there is none. */
int ctl_read(const struct vmshm_segment *s, uint64_t offset, void *to, uint64_t bytes,
             struct vmshm_error *e);
int ctl_view_load(const struct vmshm_segment *s, uint32_t vm, struct ctl_view *view,
                  struct vmshm_error *e);
void ctl_view_free(struct ctl_view *view);
bool ctl_all_zero(const void *data, size_t bytes);
/* Is the bit of window `index` of `of_vm` set in the row of `slot`? */
bool ctl_view_reads(const struct ctl_view *view, const struct vmshm_header *h, uint32_t slot,
                    uint32_t of_vm, uint32_t index);
/* Does a window entry describe a range of the heap of its section? */
bool ctl_window_in_heap(const struct vmshm_segment *s, uint32_t vm, const struct vmshm_window *w);

struct ctl_totals {
    uint64_t messages, bytes;                   /* sent so far */
    uint64_t heap, used, quarantined, dirty;    /* bytes */
};

void ctl_view_totals(const struct vmshm_segment *s, uint32_t vm, const struct ctl_view *v, struct ctl_totals *t);

/* Watch the heartbeats of all VMs (or of one) for CTL_WATCH_MS or until one moves. Returns the
 * first VM that beats or CTL_VM_UNSET. */
uint32_t ctl_watch(const struct vmshm_segment *s, uint32_t only_vm);

/* --- vmshmctl_numa.c */

/* Request that the memory of [addr, +bytes) comes from a host NUMA node (OS index). Call before it is touched. */
int ctl_numa_bind(void *addr, uint64_t bytes, uint32_t node, const char *path,
                  struct vmshm_error *e);
/* OS index of the n-th node with memory; after the last node the count starts again at the first. */
int ctl_numa_nth(uint32_t n, uint32_t *node, struct vmshm_error *e);

/* --- vmshmctl_parameter.c */

/* A parameter as an Open MPI process of this user on this machine would get it. */
struct ctl_parameter {
    char value[1024];
    char from[256];             /* the file, or the environment variable */
};

/* Returns whether the parameter is set; if not, *p stays as it is. */
bool ctl_parameter_find(const char *name, struct ctl_parameter *p);

/* --- vmshmctl_argument.c */

/* Handle what getopt_long returned for --help (prints, returns CTL_OK) or for an unknown option. */
int ctl_option_end(const struct ctl_command *self, int option, char **argv);

/* The one PATH argument after the options. If there is none, or more than one: CTL_USAGE, with the error printed. */
int ctl_path_argument(const struct ctl_command *self, int argc, char **argv, const char **path);

/* Open the segment at `path` and check that it has a VM `vm` (CTL_VM_UNSET: --vm was not given).
 * Prints its errors itself. */
int ctl_open_for_vm(const struct ctl_command *self, const char *path, uint32_t vm,
                    struct vmshm_segment *s);

/* --- vmshmctl_message.c */

/* Print "vmshmctl: FILE: FIELD: DETAIL" and the remedy (NULL: the code's own). Returns
 * CTL_FAILED. */
int ctl_fail(const struct vmshm_error *e, const char *remedy);

/* The same for a wrong argument. Returns CTL_USAGE. */
int ctl_usage_error(const struct ctl_command *self, const char *option, const char *remedy,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* --- vmshmctl_parse.c: text and numbers. Parsers return whether the text is valid. */

/* "512M", "1G", "4096": bytes, binary multiples K M G T. */
bool ctl_parse_size(const char *text, uint64_t *bytes);
bool ctl_parse_u32(const char *text, uint32_t *value);
/* "N:REST": *rest points after the colon. */
bool ctl_parse_indexed(const char *text, uint32_t *index, const char **rest);
/* Bytes as people write them: "64M", "1.5G"; buf of 32. */
const char *ctl_size_text(uint64_t bytes, char *buf);
const char *ctl_hex_text(const uint8_t *bytes, size_t n, char *buf);   /* buf of 2n + 1 */
const char *ctl_uuid_text(const uint8_t uuid[16], char *buf);          /* buf of 37 */
const char *ctl_time_text(uint64_t seconds, char *buf);                /* buf of 32, UTC */

#endif
