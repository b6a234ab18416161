/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of vmshmctl create, each checked on its own; whether they fit together: vmshmctl_create_layout.c. */
#include "vmshmctl.h"

#include "vmshm_provider.h"

#include <stdlib.h>
#include <string.h>

/* The path must be one under which the segment can be opened later. */
static int new_path(const struct ctl_command *self, int argc, char **argv, const char **path)
{
    const int status = ctl_path_argument(self, argc, argv, path);
    const size_t most = sizeof ((struct vmshm_segment *) NULL)->path - 1;

    if (CTL_OK != status) {
        return status;
    }
    if (strlen(*path) > most) {
        return ctl_usage_error(self, "PATH", NULL, "it is longer than %zu bytes, so the segment could not be opened",
                               most);
    }
    if (vmshm_provider_is_name(*path)) {
        return ctl_usage_error(self, "PATH", "To make a file of this name, give its directory, too: ./NAME.",
                               "as the name of a segment, '%s' means %s", *path,
                               0 == strcmp(*path, "auto") ? "any device" : "a device or a segment's UUID");
    }
    return CTL_OK;
}

static int set_vms(const struct ctl_command *self, const char *text, struct ctl_plan *p)
{
    if (!ctl_parse_u32(text, &p->header.vms) || p->header.vms < 1 || p->header.vms > VMSHM_MAX_VMS) {
        return ctl_usage_error(self, "--vms", NULL, "'%s' is not in 1 .. %u", text, VMSHM_MAX_VMS);
    }
    return CTL_OK;
}

static int set_procs(const struct ctl_command *self, const char *text, struct ctl_plan *p)
{
    if (!ctl_parse_u32(text, &p->header.procs) || p->header.procs < 1 || p->header.procs > VMSHM_MAX_PROCS) {
        return ctl_usage_error(self, "--procs", NULL, "'%s' is not in 1 .. %u", text, VMSHM_MAX_PROCS);
    }
    return CTL_OK;
}

static int set_windows(const struct ctl_command *self, const char *text, struct ctl_plan *p)
{
    if (!ctl_parse_u32(text, &p->header.windows) || p->header.windows < 64
        || p->header.windows > VMSHM_MAX_WINDOWS || 0 != p->header.windows % 64) {
        return ctl_usage_error(self, "--windows", NULL, "'%s' is not a multiple of 64 in 64 .. %u", text,
                               VMSHM_MAX_WINDOWS);
    }
    return CTL_OK;
}

/* --size and --section-size */
static int set_size(const struct ctl_command *self, const char *option, const char *text, uint64_t *bytes)
{
    if (!ctl_parse_size(text, bytes) || 0 == *bytes) {
        return ctl_usage_error(self, option, "Give a number of bytes, or a number with K, M, G or T, such as 512M.",
                               "'%s' is not a size", text);
    }
    return CTL_OK;
}

static int set_section(const struct ctl_command *self, const char *text, struct ctl_plan *p)
{
    const char *rest;
    uint32_t vm;

    if (!ctl_parse_indexed(text, &vm, &rest) || vm >= VMSHM_MAX_VMS || !ctl_parse_size(rest, &p->section[vm])
        || 0 == p->section[vm]) {
        return ctl_usage_error(self, "--section", "Example: --section 1:512M", "'%s' is not VM:SIZE", text);
    }
    return CTL_OK;
}

static int set_numa(const struct ctl_command *self, const char *text, struct ctl_plan *p)
{
    const char *rest;
    uint32_t vm;

    if (0 == strcmp(text, "auto")) {
        for (vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
            p->numa[vm] = CTL_NUMA_AUTO;
        }
    } else if (!ctl_parse_indexed(text, &vm, &rest) || vm >= VMSHM_MAX_VMS || !ctl_parse_u32(rest, &p->numa[vm])
               || p->numa[vm] >= CTL_NUMA_AUTO) {
        return ctl_usage_error(self, "--numa", "Examples: --numa 1:0, --numa auto", "'%s' is not VM:NODE",
                               text);
    }
    return CTL_OK;
}

static int set_mode(const struct ctl_command *self, const char *text, struct ctl_plan *p)
{
    char *end;

    p->mode = (mode_t) strtoul(text, &end, 8);
    if ('\0' == text[0] || '\0' != *end || 0 != (p->mode & ~0777u)) {
        return ctl_usage_error(self, "--mode", "Give an octal number such as 0660.", "'%s' is not a mode", text);
    }
    return CTL_OK;
}

static int set_option(const struct ctl_command *self, int option, const char *text, struct ctl_plan *p)
{
    switch (option) {
    case 'f':
        p->force = true;
        return CTL_OK;
    case 'a':
        p->any_size = true;
        return CTL_OK;
    case 'z':
        p->sparse = true;
        return CTL_OK;
    case 'v':
        return set_vms(self, text, p);
    case 'p':
        return set_procs(self, text, p);
    case 'w':
        return set_windows(self, text, p);
    case 's':
        return set_size(self, "--size", text, &p->total);
    case 'S':
        return set_size(self, "--section-size", text, &p->section_all);
    case 'x':
        return set_section(self, text, p);
    case 'o':
        p->open = text;
        return CTL_OK;
    case 'n':
        return set_numa(self, text, p);
    case 'm':
        return set_mode(self, text, p);
    default:
        p->group = text;
        return CTL_OK;
    }
}

static void set_defaults(struct ctl_plan *p)
{
    p->mode = 0660;
    p->header.vms = 2;
    p->header.procs = 256;
    p->header.windows = 1024;
    for (uint32_t vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
        p->numa[vm] = VMSHM_NO_NUMA;
    }
}

/* --section and --numa may come before --vms, so they are checked against it last. */
static int check_vms(const struct ctl_command *self, const struct ctl_plan *p)
{
    for (uint32_t vm = p->header.vms; vm < VMSHM_MAX_VMS; ++vm) {
        if (0 != p->section[vm] || p->numa[vm] < CTL_NUMA_AUTO) {
            return ctl_usage_error(self, "--vms", "Raise --vms, or leave out the option for this VM.",
                                   "an option names VM %u, but there are only VMs 0 to %u", vm, p->header.vms - 1);
        }
    }
    return CTL_OK;
}

int ctl_create_options(const struct ctl_command *self, int argc, char **argv, struct ctl_plan *p)
{
    static const struct option options[] = {
        { "force", no_argument, NULL, 'f' }, { "vms", required_argument, NULL, 'v' },
        { "size", required_argument, NULL, 's' },
        { "section-size", required_argument, NULL, 'S' },
        { "section", required_argument, NULL, 'x' }, { "open", required_argument, NULL, 'o' },
        { "procs", required_argument, NULL, 'p' }, { "windows", required_argument, NULL, 'w' },
        { "numa", required_argument, NULL, 'n' }, { "mode", required_argument, NULL, 'm' },
        { "group", required_argument, NULL, 'g' }, { "any-size", no_argument, NULL, 'a' },
        { "sparse", no_argument, NULL, 'z' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    int status, c;

    set_defaults(p);
    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('h' == c || ':' == c || '?' == c) {
            return ctl_option_end(self, c, argv);
        }
        status = set_option(self, c, optarg, p);
        if (CTL_OK != status) {
            return status;
        }
    }
    status = check_vms(self, p);
    return CTL_OK != status ? status : new_path(self, argc, argv, &p->path);
}
