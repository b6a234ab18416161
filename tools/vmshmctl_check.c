/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl check: is every field of the header and of all sections one that can be?
 *
 * Guests go on writing while we look: an entry read in the middle of a change may look wrong. What
 * is wrong is therefore looked at twice, and only what stands both times is told.
 */
#define _GNU_SOURCE
#include "vmshmctl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmshm_provider.h"

struct problems {
    char **lines;
    size_t n;
    bool no_memory;
};

/* "FIELD: DETAIL ; REMEDY" */
static void problem(struct problems *p, const char *field, const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void problem(struct problems *p, const char *field, const char *remedy, const char *fmt, ...)
{
    char detail[256];
    char **lines = realloc(p->lines, (p->n + 1) * sizeof *lines);
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    if (NULL == lines) {
        p->no_memory = true;
        return;
    }
    p->lines = lines;
    if (asprintf(&p->lines[p->n], "%s: %s ; %s", field, detail, remedy) < 0) {
        p->no_memory = true;
        return;
    }
    ++p->n;
}

static void problems_free(struct problems *p)
{
    for (size_t i = 0; i < p->n; ++i) {
        free(p->lines[i]);
    }
    free(p->lines);
    memset(p, 0, sizeof *p);
}

/* ----------------------------------------------------------------------------------- the header */

static const char recreate[] = "`vmshmctl create --force` with the same size, while no VM uses it";

static bool all_zero(const void *data, size_t bytes)
{
    const uint8_t *p = data;

    while (bytes > 0 && 0 == *p) {
        ++p;
        --bytes;
    }
    return 0 == bytes;
}

/* Returns whether the numbers of VMs, processes and windows can be worked with. */
static bool check_header(struct problems *p, const struct vmshm_header *h, const uint8_t *image,
                         uint64_t available)
{
    const uint64_t sum = vmshm_header_checksum(image);
    bool usable = true;

    if (VMSHM_FORMAT_VERSION != h->version || VMSHM_CHECKED_BYTES != h->checked_bytes) {
        problem(p, "header.version", vmshm_error_remedy(VMSHM_ERR_VERSION),
                "format %u (checked bytes %u), this program reads format %u", h->version,
                h->checked_bytes, VMSHM_FORMAT_VERSION);
        return false;
    }
    if (sum != h->checksum) {
        problem(p, "header.checksum", recreate, "0x%016" PRIx64 " stands there, the content gives "
                "0x%016" PRIx64, h->checksum, sum);
    }
    if (h->total_bytes > available) {
        problem(p, "header.total_bytes", recreate, "%" PRIu64 " bytes, the file has %" PRIu64,
                h->total_bytes, available);
        usable = false;
    } else if (UINT64_MAX != available && h->total_bytes < available) {
        problem(p, "header.total_bytes", recreate, "%" PRIu64 " bytes, the file has %" PRIu64
                ": a VM attached with another size than the file's does not find the segment",
                h->total_bytes, available);
    }
    if (h->page_bytes < 4096 || 0 != (h->page_bytes & (h->page_bytes - 1))) {
        problem(p, "header.page_bytes", recreate, "%" PRIu64 " is not a page size", h->page_bytes);
    }
    if (h->vms < 1 || h->vms > VMSHM_MAX_VMS) {
        problem(p, "header.vms", recreate, "%u is not in 1 .. %u", h->vms, VMSHM_MAX_VMS);
        usable = false;
    }
    if (h->procs < 1 || h->procs > VMSHM_MAX_PROCS) {
        problem(p, "header.procs", recreate, "%u is not in 1 .. %u", h->procs, VMSHM_MAX_PROCS);
        usable = false;
    }
    if (h->windows < 64 || h->windows > VMSHM_MAX_WINDOWS || 0 != h->windows % 64) {
        problem(p, "header.windows", recreate, "%u is not a multiple of 64 in 64 .. %u",
                h->windows, VMSHM_MAX_WINDOWS);
        usable = false;
    }
    if (0 != h->reserved) {
        problem(p, "header.reserved", recreate, "%u instead of 0", h->reserved);
    }
    return usable;
}

/* Returns whether the section's place in the segment can be worked with. */
static bool check_entry(struct problems *p, const struct vmshm_segment *s, uint32_t vm,
                        uint64_t *end)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];
    const uint64_t heap = vmshm_heap_offset(&s->header);
    const bool inside = vmshm_range_inside(entry->offset, entry->length, 0, s->header.total_bytes)
                        && entry->length >= heap + VMSHM_GRANULE_BYTES
                        && 0 == entry->offset % VMSHM_ALIGN_BYTES;
    char field[64];

    snprintf(field, sizeof field, "header.section[%u].vm_id", vm);
    if (entry->vm_id != vm) {
        problem(p, field, recreate, "%u instead of %u", entry->vm_id, vm);
    }
    snprintf(field, sizeof field, "header.section[%u].offset", vm);
    if (0 != entry->offset % VMSHM_ALIGN_BYTES) {
        problem(p, field, recreate, "%" PRIu64 " is not a multiple of %" PRIu64, entry->offset,
                VMSHM_ALIGN_BYTES);
    }
    if (entry->offset < *end) {
        problem(p, field, recreate, "%" PRIu64 " lies before %" PRIu64 ", where what precedes it "
                "ends: they overlap", entry->offset, *end);
    }
    snprintf(field, sizeof field, "header.section[%u].length", vm);
    if (!vmshm_range_inside(entry->offset, entry->length, 0, s->header.total_bytes)) {
        problem(p, field, recreate, "[%" PRIu64 ", +%" PRIu64 ") is not inside %" PRIu64 " bytes",
                entry->offset, entry->length, s->header.total_bytes);
    } else {
        *end = entry->offset + entry->length;
    }
    if (0 != entry->length % VMSHM_ALIGN_BYTES || entry->length < heap + VMSHM_GRANULE_BYTES) {
        problem(p, field, recreate, "%" PRIu64 " is not a multiple of %" PRIu64 " with room for "
                "tables of %" PRIu64 " bytes", entry->length, VMSHM_ALIGN_BYTES, heap);
    }
    snprintf(field, sizeof field, "header.section[%u].open_offset", vm);
    if (entry->open_offset < heap || entry->open_offset > entry->length
        || 0 != entry->open_offset % VMSHM_GRANULE_BYTES) {
        problem(p, field, recreate, "%" PRIu64 " is not a multiple of %" PRIu64 " in %" PRIu64
                " .. %" PRIu64, entry->open_offset, VMSHM_GRANULE_BYTES, heap, entry->length);
    }
    if (!all_zero(entry->reserved, sizeof entry->reserved)) {
        snprintf(field, sizeof field, "header.section[%u].reserved", vm);
        problem(p, field, recreate, "it is not zero");
    }
    return inside;
}

/* -------------------------------------------------------------------------------- the sections */

struct checked {
    struct problems *p;
    const struct vmshm_segment *s;
    struct ctl_view view[VMSHM_MAX_VMS];
    bool have[VMSHM_MAX_VMS];
};

static const char *reset_remedy(uint32_t vm, char *buf)
{
    snprintf(buf, 96, "`vmshmctl reset-vm --vm %u` once its jobs have ended", vm);
    return buf;
}

static void check_section(const struct checked *c, uint32_t vm)
{
    const struct vmshm_section *section = c->view[vm].section;
    const struct vmshm_section_entry *entry = &c->s->sections[vm];
    const uint64_t heap = vmshm_heap_offset(&c->s->header);
    const bool set_up = VMSHM_SECTION_MAGIC == section->magic;
    char field[64], remedy[96];

    reset_remedy(vm, remedy);
    if (c->view[vm].mark.mark > VMSHM_MARK_GONE) {
        char mark_remedy[64];

        snprintf(field, sizeof field, "mark[%u].mark", vm);
        snprintf(mark_remedy, sizeof mark_remedy, "`vmshmctl mark-vm --vm %u`", vm);
        problem(c->p, field, mark_remedy, "%u is no mark", c->view[vm].mark.mark);
    }
    if (!set_up && 0 != section->magic) {
        snprintf(field, sizeof field, "section[%u].magic", vm);
        problem(c->p, field, remedy, "0x%016" PRIx64 " instead of 0x%016" PRIx64, section->magic,
                VMSHM_SECTION_MAGIC);
    }
    snprintf(field, sizeof field, "section[%u].state", vm);
    if (section->state > VMSHM_SECTION_LEAVING) {
        problem(c->p, field, remedy, "%u is no state", section->state);
    } else if (set_up != (VMSHM_SECTION_NEVER != section->state)) {
        problem(c->p, field, remedy, "%u does not go with a section that is%s set up",
                section->state, set_up ? "" : " not");
    }
    if (set_up && section->vm_id != vm) {
        snprintf(field, sizeof field, "section[%u].vm_id", vm);
        problem(c->p, field, remedy, "%u instead of %u", section->vm_id, vm);
    }
    if (set_up && 0 == section->epoch) {
        snprintf(field, sizeof field, "section[%u].epoch", vm);
        problem(c->p, field, remedy, "it is 0 though the section is set up");
    }
    if (set_up && 0 == section->arbiter) {
        snprintf(field, sizeof field, "section[%u].arbiter", vm);
        problem(c->p, field, remedy, "it is 0 though the section is set up");
    }
    if (0 != section->dirty_end
        && (section->dirty_end < heap || section->dirty_end > entry->length)) {
        snprintf(field, sizeof field, "section[%u].dirty_end", vm);
        problem(c->p, field, remedy, "%" PRIu64 " is not in the heap, %" PRIu64 " .. %" PRIu64,
                section->dirty_end, heap, entry->length);
    }
}

static void check_proc(const struct checked *c, uint32_t vm, uint32_t slot)
{
    const struct ctl_view *v = &c->view[vm];
    const struct vmshm_header *h = &c->s->header;
    const struct vmshm_proc *proc = &v->procs[slot];
    const uint64_t row_bytes = vmshm_reader_row_bytes(h);
    char field[64], remedy[96];

    reset_remedy(vm, remedy);
    if (proc->state > VMSHM_PROC_DEAD) {
        snprintf(field, sizeof field, "section[%u].process[%u].state", vm, slot);
        problem(c->p, field, remedy, "%u is no state", proc->state);
    }
    if (VMSHM_PROC_LIVE != proc->state) {
        if (!all_zero((const uint8_t *) v->readers + slot * row_bytes, row_bytes)) {
            snprintf(field, sizeof field, "section[%u].reader[%u]", vm, slot);
            problem(c->p, field, remedy, "process slot %u is not live but lists windows it reads: "
                    "their memory is never reused", slot);
        }
        return;
    }
    if (VMSHM_SECTION_MAGIC != v->section->magic) {
        snprintf(field, sizeof field, "section[%u].process[%u].state", vm, slot);
        problem(c->p, field, remedy, "live in a section that is not set up");
    }
    if (0 == proc->nonce) {
        snprintf(field, sizeof field, "section[%u].process[%u].nonce", vm, slot);
        problem(c->p, field, remedy, "0 in a live process: no peer can prove that it is there");
    }
    snprintf(field, sizeof field, "section[%u].process[%u].window", vm, slot);
    if (UINT32_MAX == proc->window) {
        problem(c->p, field, remedy, "a live process without a control window: no peer reaches it");
    } else if (proc->window >= h->windows) {
        problem(c->p, field, remedy, "%u is not in a table of %u windows", proc->window,
                h->windows);
    } else if (VMSHM_WINDOW_LIVE != v->windows[proc->window].state
               || slot != v->windows[proc->window].proc) {
        problem(c->p, field, remedy, "window %u is not a live window of process %u", proc->window,
                slot);
    }
    for (uint32_t of = 0; of < h->vms; ++of) {
        for (uint32_t i = 0; i < h->windows && c->have[of]; ++i) {
            if (VMSHM_WINDOW_EMPTY == c->view[of].windows[i].state
                && ctl_view_reads(v, h, slot, of, i)) {
                snprintf(field, sizeof field, "section[%u].reader[%u]", vm, slot);
                problem(c->p, field, remedy, "it lists window %u of VM %u, which is empty", i, of);
            }
        }
    }
}

static void check_window(const struct checked *c, uint32_t vm, uint32_t i)
{
    const struct ctl_view *v = &c->view[vm];
    const struct vmshm_section_entry *entry = &c->s->sections[vm];
    const struct vmshm_window *w = &v->windows[i];
    const uint64_t heap = vmshm_heap_offset(&c->s->header);
    char field[64], remedy[96];

    reset_remedy(vm, remedy);
    if (VMSHM_WINDOW_EMPTY == w->state) {
        return;
    }
    if (w->state > VMSHM_WINDOW_QUARANTINE) {
        snprintf(field, sizeof field, "section[%u].window[%u].state", vm, i);
        problem(c->p, field, remedy, "%u is no state", w->state);
        return;
    }
    snprintf(field, sizeof field, "section[%u].window[%u].offset", vm, i);
    if (w->offset < entry->offset + heap || w->offset >= entry->offset + entry->length) {
        problem(c->p, field, remedy, "0x%" PRIx64 " is not in the section's heap, 0x%" PRIx64
                " .. 0x%" PRIx64, w->offset, entry->offset + heap, entry->offset + entry->length);
    } else if (0 != w->offset % VMSHM_GRANULE_BYTES) {
        problem(c->p, field, remedy, "0x%" PRIx64 " is not a multiple of %" PRIu64, w->offset,
                VMSHM_GRANULE_BYTES);
    }
    snprintf(field, sizeof field, "section[%u].window[%u].length", vm, i);
    if (0 == w->length || 0 != w->length % VMSHM_GRANULE_BYTES) {
        problem(c->p, field, remedy, "%" PRIu64 " is not a multiple of %" PRIu64, w->length,
                VMSHM_GRANULE_BYTES);
    }
    snprintf(field, sizeof field, "section[%u].window[%u].kind", vm, i);
    if (w->kind > VMSHM_KIND_OPEN) {
        problem(c->p, field, remedy, "%u is no kind", w->kind);
    } else if (ctl_window_in_heap(c->s, vm, w)) {
        const uint64_t border = entry->offset + entry->open_offset;

        if (VMSHM_KIND_OPEN == w->kind ? w->offset < border : w->offset + w->length > border) {
            problem(c->p, field, remedy, "%s, but it lies in the other half of the section",
                    VMSHM_KIND_OPEN == w->kind ? "open" : "private");
        }
        snprintf(field, sizeof field, "section[%u].window[%u].length", vm, i);
        if (w->offset + w->length - entry->offset > v->section->dirty_end) {
            problem(c->p, field, remedy, "it ends beyond dirty_end (%" PRIu64 "): its memory would "
                    "be handed out again without being zeroed", v->section->dirty_end);
        }
    } else if (w->offset >= entry->offset + heap && w->offset < entry->offset + entry->length
               && 0 != w->length) {
        snprintf(field, sizeof field, "section[%u].window[%u].length", vm, i);
        problem(c->p, field, remedy, "%" PRIu64 " bytes reach beyond the section's end", w->length);
    }
    snprintf(field, sizeof field, "section[%u].window[%u].proc", vm, i);
    if (w->proc >= c->s->header.procs) {
        problem(c->p, field, remedy, "%u is not in a table of %u processes", w->proc,
                c->s->header.procs);
    } else if (VMSHM_WINDOW_LIVE == w->state && VMSHM_PROC_LIVE != v->procs[w->proc].state) {
        problem(c->p, field, remedy, "a live window of process %u, which is not live", w->proc);
    } else if (VMSHM_WINDOW_LIVE == w->state && w->uid != v->procs[w->proc].uid) {
        snprintf(field, sizeof field, "section[%u].window[%u].uid", vm, i);
        problem(c->p, field, remedy, "%u, its process %u has uid %u", w->uid, w->proc,
                v->procs[w->proc].uid);
    }
}

static const struct vmshm_window *sorting;      /* qsort has no context argument */

static int by_offset(const void *a, const void *b)
{
    const uint64_t x = sorting[*(const uint32_t *) a].offset;
    const uint64_t y = sorting[*(const uint32_t *) b].offset;

    return x < y ? -1 : x > y;
}

static void check_overlaps(const struct checked *c, uint32_t vm)
{
    const struct vmshm_window *windows = c->view[vm].windows;
    uint32_t order[VMSHM_MAX_WINDOWS], n = 0, last = 0;
    char field[64], remedy[96];

    for (uint32_t i = 0; i < c->s->header.windows; ++i) {
        if (VMSHM_WINDOW_EMPTY != windows[i].state && ctl_window_in_heap(c->s, vm, &windows[i])) {
            order[n++] = i;
        }
    }
    sorting = windows;
    qsort(order, n, sizeof order[0], by_offset);
    for (uint32_t k = 1; k < n; ++k) {
        const struct vmshm_window *before = &windows[order[last]];
        const struct vmshm_window *w = &windows[order[k]];

        if (w->offset < before->offset + before->length) {
            snprintf(field, sizeof field, "section[%u].window[%u].offset", vm, order[k]);
            problem(c->p, field, reset_remedy(vm, remedy), "0x%" PRIx64 " lies in window %u, "
                    "[0x%" PRIx64 ", +%" PRIu64 "): two owners write the same memory", w->offset,
                    order[last], before->offset, before->length);
        }
        if (w->offset + w->length > before->offset + before->length) {
            last = k;
        }
    }
}

/* ---------------------------------------------------------------------------------- everything */

/* One look at it all. CTL_USAGE: it cannot be read. */
static int look(struct vmshm_segment *s, uint64_t available, struct problems *p)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    static const uint8_t zero[sizeof image];
    struct checked c = { .p = p, .s = s };
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
        problem(p, "header", vmshm_error_remedy(VMSHM_ERR_ZERO), "it is filled with zeros");
    } else if (VMSHM_MAGIC != s->header.magic) {
        problem(p, "header.magic", vmshm_error_remedy(VMSHM_ERR_MAGIC), "0x%016" PRIx64
                " instead of 0x%016" PRIx64, s->header.magic, VMSHM_MAGIC);
    } else {
        usable = check_header(p, &s->header, image, available);
    }
    for (uint32_t vm = 0; usable && vm < s->header.vms; ++vm) {
        c.have[vm] = check_entry(p, s, vm, &end);
        if (c.have[vm] && VMSHM_OK != ctl_view_load(s, vm, &c.view[vm], &e)) {
            ctl_fail(&e, NULL);
            c.have[vm] = false;
            status = CTL_USAGE;
        }
    }
    for (uint32_t vm = 0; usable && vm < s->header.vms; ++vm) {
        if (!c.have[vm]) {
            continue;
        }
        check_section(&c, vm);
        for (uint32_t slot = 0; slot < s->header.procs; ++slot) {
            check_proc(&c, vm, slot);
        }
        for (uint32_t i = 0; i < s->header.windows; ++i) {
            check_window(&c, vm, i);
        }
        check_overlaps(&c, vm);
    }
    for (uint32_t vm = 0; vm < VMSHM_MAX_VMS; ++vm) {
        ctl_view_free(&c.view[vm]);
    }
    if (p->no_memory) {
        fputs("vmshmctl: check: out of memory\n  Nothing to do about the segment.\n", stderr);
        status = CTL_USAGE;
    }
    return status;
}

/* As vmshm_segment_open, but for a segment with a header that may be wrong: nothing in it is
 * believed here. */
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
        /* A device cannot be read but only mapped, and only its header tells how far. */
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
        printf("header: the file has %" PRIu64 " bytes, a header alone needs %u ; %s\n",
               *available, VMSHM_CHECKED_BYTES, recreate);
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
    struct problems first = { 0 }, second = { 0 };
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
    problems_free(&first);
    problems_free(&second);
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_check = {
    "check", "look for damage in a segment",
    "check PATH\n"
    "Check every field of the header and of all sections. Prints one line per problem:\n"
    "FIELD: WHAT ; REMEDY. Exit status: 0 none, 1 problems, 2 the segment cannot be read.\n",
    check
};
