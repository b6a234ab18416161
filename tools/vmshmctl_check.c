/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl check: does every field of the header and of all sections have a valid value?
 *
 * Guests go on writing meanwhile, so an entry that is read in the middle of a change may look wrong. Everything is
 * therefore checked twice if a problem is found, and only problems found both times are reported.
 */
#include "vmshmctl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "vmshm_provider.h"

/* Check everything once. Returns CTL_USAGE if the segment cannot be read. */
static int look(struct vmshm_segment *s, uint64_t available, struct ctl_problems *p)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    static const uint8_t zero[sizeof image];
    struct ctl_view view[VMSHM_MAX_VMS] = { 0 };
    struct ctl_checked c = { .p = p, .s = s, .view = view };
    uint64_t end = VMSHM_HEADER_BYTES;
    int status = CTL_OK;
    struct vmshm_error e;
    bool usable = false;

    if (VMSHM_OK != ctl_read(s, 0, image, sizeof image, &e)) {
        ctl_fail(&e, NULL);
        return CTL_USAGE;
    }
    memcpy(&s->header, image, sizeof s->header);
    memcpy(s->sections, image + VMSHM_TABLE_OFFSET, sizeof s->sections);
    if (0 == memcmp(image, zero, sizeof image)) {
        ctl_problem(p, "header", vmshm_error_remedy(VMSHM_ERR_ZERO), "it is filled with zeros");
    } else if (VMSHM_MAGIC != s->header.magic) {
        ctl_problem(p, "header.magic", vmshm_error_remedy(VMSHM_ERR_MAGIC), "0x%016" PRIx64
                    " instead of 0x%016" PRIx64, s->header.magic, VMSHM_MAGIC);
    } else {
        usable = ctl_check_header(p, &s->header, image, available);
    }
    for (uint32_t vm = 0; usable && vm < s->header.vms; ++vm) {
        c.have[vm] = ctl_check_entry(p, s, vm, &end);
        if (c.have[vm] && VMSHM_OK != ctl_view_load(s, vm, &view[vm], &e)) {
            ctl_fail(&e, NULL);
            c.have[vm] = false;
            status = CTL_USAGE;
        }
    }
    for (uint32_t vm = 0; usable && vm < s->header.vms; ++vm) {
        if (!c.have[vm]) {
            continue;
        }
        ctl_check_section(&c, vm);
        for (uint32_t slot = 0; slot < s->header.procs; ++slot) {
            ctl_check_proc(&c, vm, slot);
        }
        for (uint32_t i = 0; i < s->header.windows; ++i) {
            ctl_check_window(&c, vm, i);
        }
        ctl_check_overlaps(&c, vm);
    }
    for (uint32_t vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
        ctl_view_free(&view[vm]);
    }
    if (p->no_memory) {
        fputs("vmshmctl: check: out of memory\n  This is not a problem of the segment.\n", stderr);
        status = CTL_USAGE;
    }
    return status;
}

/* Like vmshm_segment_open, but for a segment whose header may be damaged: nothing in it is relied on. */
static int open_raw(const char *path, struct vmshm_segment *s, uint64_t *available)
{
    struct vmshm_error e;

    memset(s, 0, sizeof *s);
    s->fd = -1;
    if (VMSHM_OK != vmshm_provider_find(path, s->path, sizeof s->path, &s->provider, &e)) {
        ctl_fail(&e, NULL);
        return CTL_USAGE;
    }
    if (0 != strcmp(s->provider, "file")) {
        /* A device can only be mapped, not read, and only its header says how large it is. */
        if (VMSHM_OK != vmshm_segment_open(path, s, &e)) {
            printf("header.%s: %s ; %s\n", e.field, e.detail, vmshm_error_remedy(e.code));
            return VMSHM_ERR_ABSENT == e.code || VMSHM_ERR_PERMISSION == e.code
                   || VMSHM_ERR_SYSTEM == e.code ? CTL_USAGE : CTL_FAILED;
        }
        *available = s->header.total_bytes;
        return CTL_OK;
    }
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) {
        vmshm_fail_errno(&e, s->path, "PATH", "open");
    } else if (VMSHM_OK == vmshm_provider_size(s->fd, s->path, available, &e)) {
        if (*available >= VMSHM_CHECKED_BYTES) {
            return CTL_OK;
        }
        printf("header: the file has %" PRIu64 " bytes, the header alone needs %u ; %s\n",
               *available, VMSHM_CHECKED_BYTES, ctl_check_recreate);
        vmshm_segment_close(s);
        return CTL_FAILED;
    }
    vmshm_segment_close(s);
    ctl_fail(&e, NULL);
    return CTL_USAGE;
}

static int check(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    const struct timespec pause = { 0, 200000000 };
    struct ctl_problems first = { 0 }, second = { 0 };
    const char *path = NULL;
    struct vmshm_segment s;
    uint64_t available;
    int status, c;

    c = getopt_long(argc, argv, ":h", options, NULL);
    if (-1 != c) {
        return ctl_option_end(self, c, argv);
    }
    status = ctl_path_argument(self, argc, argv, &path);
    if (CTL_OK == status) {
        status = open_raw(path, &s, &available);
    }
    if (CTL_OK != status) {
        return status;
    }
    status = look(&s, available, &first);
    if (CTL_OK == status && first.n > 0) {
        nanosleep(&pause, NULL);
        status = look(&s, available, &second);
    }
    for (size_t i = 0; i < second.n && CTL_USAGE != status; ++i) {
        bool both = false;

        for (size_t k = 0; k < first.n && !both; ++k) {
            both = 0 == strcmp(second.lines[i], first.lines[k]);
        }
        if (both) {
            puts(second.lines[i]);
            status = CTL_FAILED;
        }
    }
    ctl_problems_free(&first);
    ctl_problems_free(&second);
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_check = {
    "check", "check a segment for damage",
    "check PATH\n"
    "Check every field of the header and of all sections. Prints one line per problem:\n"
    "FIELD: WHAT ; REMEDY. Exit status: 0 no problem, 1 problems, 2 the segment cannot be read.\n",
    check
};
