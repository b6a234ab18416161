/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl show: what a segment says about itself. Sections are written by guests: everything is
 * copied once, no number is used as an index or an address before it was compared with a bound,
 * and no text comes from them.
 */
#include "vmshmctl.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct totals {
    uint64_t messages, bytes, heap, used, quarantined, dirty;
};

static const char *name_of(const char *const *names, uint32_t n, uint32_t value, char *buf)
{
    if (value < n) {
        return names[value];
    }
    snprintf(buf, 16, "bad:%u", value);
    return buf;
}

static const char *section_state(uint32_t state, char *buf)
{
    static const char *const names[] = { "never", "up", "leaving" };

    return name_of(names, 3, state, buf);
}

static const char *proc_state(uint32_t state, char *buf)
{
    static const char *const names[] = { "free", "live", "left", "dead" };

    return name_of(names, 4, state, buf);
}

static const char *window_state(uint32_t state, char *buf)
{
    static const char *const names[] = { "empty", "live", "quarantine" };

    return name_of(names, 3, state, buf);
}

static const char *window_kind(uint32_t kind, char *buf)
{
    static const char *const names[] = { "private", "open" };

    return name_of(names, 2, kind, buf);
}

static const char *mark_name(uint32_t mark, char *buf)
{
    static const char *const names[] = { "unknown", "up", "gone" };

    return name_of(names, 3, mark, buf);
}

static void sum_up(const struct vmshm_segment *s, uint32_t vm, const struct ctl_view *v,
                   struct totals *t)
{
    const uint64_t heap = vmshm_heap_offset(&s->header);
    const uint64_t length = s->sections[vm].length;
    const uint64_t dirty = v->section->dirty_end < length ? v->section->dirty_end : length;

    memset(t, 0, sizeof *t);
    t->messages = v->section->messages;
    t->bytes = v->section->bytes;
    t->heap = length - heap;
    t->dirty = dirty > heap ? dirty - heap : 0;
    for (uint32_t i = 0; i < s->header.procs; ++i) {
        if (VMSHM_PROC_LIVE == v->procs[i].state) {
            t->messages += v->procs[i].messages;
            t->bytes += v->procs[i].bytes;
        }
    }
    for (uint32_t i = 0; i < s->header.windows; ++i) {
        if (!ctl_window_in_heap(s, vm, &v->windows[i])) {
            continue;
        }
        if (VMSHM_WINDOW_LIVE == v->windows[i].state) {
            t->used += v->windows[i].length;
        } else if (VMSHM_WINDOW_QUARANTINE == v->windows[i].state) {
            t->quarantined += v->windows[i].length;
        }
    }
}

/* ----------------------------------------------------------------------------------------- JSON */

/* cJSON's numbers are doubles: above 2^53 they would be rounded. */
static void add_u64(cJSON *object, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    cJSON_AddRawToObject(object, name, text);
}

static void add_hex64(cJSON *object, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "0x%016" PRIx64, value);
    cJSON_AddStringToObject(object, name, text);
}

static void json_readers(cJSON *window, const struct vmshm_segment *s, const struct ctl_view *views,
                         uint32_t of_vm, uint32_t index)
{
    cJSON *list = cJSON_AddArrayToObject(window, "read_by");

    for (uint32_t vm = 0; vm < s->header.vms; ++vm) {
        for (uint32_t slot = 0; slot < s->header.procs; ++slot) {
            if (ctl_view_reads(&views[vm], &s->header, slot, of_vm, index)) {
                cJSON *reader = cJSON_CreateObject();

                add_u64(reader, "vm", vm);
                add_u64(reader, "slot", slot);
                cJSON_AddItemToArray(list, reader);
            }
        }
    }
}

static void json_proc(cJSON *list, uint32_t slot, const struct vmshm_proc *p)
{
    cJSON *o = cJSON_CreateObject();
    char buf[40];

    add_u64(o, "slot", slot);
    cJSON_AddStringToObject(o, "state", proc_state(p->state, buf));
    add_u64(o, "generation", p->generation);
    add_u64(o, "pid", p->pid);
    add_u64(o, "uid", p->uid);
    snprintf(buf, sizeof buf, "%" PRIu64 "/%" PRIu64, p->name >> 32, p->name & UINT32_MAX);
    cJSON_AddStringToObject(o, "name", buf);
    cJSON_AddStringToObject(o, "job", ctl_hex_text(p->job, sizeof p->job, buf));
    if (UINT32_MAX == p->window) {
        cJSON_AddNullToObject(o, "window");
    } else {
        add_u64(o, "window", p->window);
    }
    cJSON_AddStringToObject(o, "joined", ctl_time_text(p->joined_sec, buf));
    add_u64(o, "messages", p->messages);
    add_u64(o, "bytes", p->bytes);
    cJSON_AddItemToArray(list, o);
}

static void json_window(cJSON *list, const struct vmshm_segment *s, const struct ctl_view *views,
                        uint32_t vm, uint32_t index)
{
    const struct vmshm_window *w = &views[vm].windows[index];
    cJSON *o = cJSON_CreateObject();
    char buf[40];

    add_u64(o, "index", index);
    cJSON_AddStringToObject(o, "state", window_state(w->state, buf));
    add_u64(o, "generation", w->generation);
    add_u64(o, "offset", w->offset);
    add_u64(o, "length", w->length);
    add_u64(o, "owner", w->proc);
    add_u64(o, "uid", w->uid);
    cJSON_AddStringToObject(o, "kind", window_kind(w->kind, buf));
    cJSON_AddStringToObject(o, "job", ctl_hex_text(w->job, sizeof w->job, buf));
    json_readers(o, s, views, vm, index);
    cJSON_AddItemToArray(list, o);
}

static cJSON *json_vm(const struct vmshm_segment *s, const struct ctl_view *views, uint32_t vm)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];
    const struct ctl_view *v = &views[vm];
    cJSON *o = cJSON_CreateObject();
    struct totals t;
    cJSON *list;
    char buf[40];

    sum_up(s, vm, v, &t);
    add_u64(o, "vm", vm);
    add_u64(o, "offset", entry->offset);
    add_u64(o, "length", entry->length);
    add_u64(o, "open_offset", entry->open_offset);
    if (VMSHM_NO_NUMA == entry->numa_node) {
        cJSON_AddNullToObject(o, "numa_node");
    } else {
        add_u64(o, "numa_node", entry->numa_node);
    }
    cJSON_AddStringToObject(o, "state", section_state(v->section->state, buf));
    cJSON_AddStringToObject(o, "mark", mark_name(v->mark.mark, buf));
    add_hex64(o, "epoch", v->section->epoch);
    add_u64(o, "heartbeat", v->section->heartbeat);
    add_u64(o, "messages", t.messages);
    add_u64(o, "bytes", t.bytes);
    add_u64(o, "heap_bytes", t.heap);
    add_u64(o, "used_bytes", t.used);
    add_u64(o, "quarantined_bytes", t.quarantined);
    add_u64(o, "dirty_bytes", t.dirty);
    list = cJSON_AddArrayToObject(o, "processes");
    for (uint32_t i = 0; i < s->header.procs; ++i) {
        if (VMSHM_PROC_FREE != v->procs[i].state) {
            json_proc(list, i, &v->procs[i]);
        }
    }
    list = cJSON_AddArrayToObject(o, "windows");
    for (uint32_t i = 0; i < s->header.windows; ++i) {
        if (VMSHM_WINDOW_EMPTY != v->windows[i].state) {
            json_window(list, s, views, vm, i);
        }
    }
    return o;
}

static int show_json(const struct vmshm_segment *s, const struct ctl_view *views)
{
    const struct vmshm_header *h = &s->header;
    cJSON *root = cJSON_CreateObject();
    char buf[40];
    cJSON *vms;
    char *text;

    cJSON_AddStringToObject(root, "path", s->path);
    add_u64(root, "format", h->version);
    cJSON_AddStringToObject(root, "segment_uuid", ctl_uuid_text(h->segment_uuid, buf));
    cJSON_AddStringToObject(root, "node_uuid", ctl_uuid_text(h->node_uuid, buf));
    add_u64(root, "total_bytes", h->total_bytes);
    add_u64(root, "page_bytes", h->page_bytes);
    cJSON_AddStringToObject(root, "created", ctl_time_text(h->created_sec, buf));
    add_u64(root, "procs", h->procs);
    add_u64(root, "windows", h->windows);
    vms = cJSON_AddArrayToObject(root, "vms");
    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        cJSON_AddItemToArray(vms, json_vm(s, views, vm));
    }
    ctl_holders_json(s, root);
    text = cJSON_Print(root);
    cJSON_Delete(root);
    if (NULL == text) {
        fputs("vmshmctl: show: out of memory\n  Nothing to do about the segment.\n", stderr);
        return CTL_FAILED;
    }
    puts(text);
    free(text);
    return CTL_OK;
}

/* ----------------------------------------------------------------------------------------- text */

static void text_procs(const struct vmshm_segment *s, const struct ctl_view *v)
{
    bool head = false;

    for (uint32_t i = 0; i < s->header.procs; ++i) {
        const struct vmshm_proc *p = &v->procs[i];
        char state[16], job[33], window[16] = "-", bytes[32];

        if (VMSHM_PROC_FREE == p->state || VMSHM_PROC_LEFT == p->state) {
            continue;
        }
        if (!head) {
            printf("  process  state  pid      uid    jobid/rank        job       window  "
                   "messages      bytes\n");
            head = true;
        }
        if (UINT32_MAX != p->window) {
            snprintf(window, sizeof window, "%u", p->window);
        }
        ctl_hex_text(p->job, sizeof p->job, job);
        printf("  %-7u  %-5s  %-7u  %-5u  %10" PRIu64 "/%-5" PRIu64 "  %.8s  %-6s  %-12" PRIu64
               "  %s\n", i, proc_state(p->state, state), p->pid, p->uid, p->name >> 32,
               p->name & UINT32_MAX, job, window, p->messages, ctl_size_text(p->bytes, bytes));
    }
}

static void text_windows(const struct vmshm_segment *s, const struct ctl_view *views, uint32_t vm)
{
    bool head = false;

    for (uint32_t i = 0; i < s->header.windows; ++i) {
        const struct vmshm_window *w = &views[vm].windows[i];
        char state[16], kind[16], length[32];

        if (VMSHM_WINDOW_EMPTY == w->state) {
            continue;
        }
        if (!head) {
            printf("  window  state       offset          length  owner  kind     read by "
                   "(vm.process)\n");
            head = true;
        }
        printf("  %-6u  %-10s  0x%-12" PRIx64 "  %-6s  %-5u  %-7s ", i,
               window_state(w->state, state), w->offset, ctl_size_text(w->length, length), w->proc,
               window_kind(w->kind, kind));
        for (uint32_t by = 0; by < s->header.vms; ++by) {
            for (uint32_t slot = 0; slot < s->header.procs; ++slot) {
                if (ctl_view_reads(&views[by], &s->header, slot, vm, i)) {
                    printf(" %u.%u", by, slot);
                }
            }
        }
        putchar('\n');
    }
}

static void text_vm(const struct vmshm_segment *s, const struct ctl_view *views, uint32_t vm)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];
    const struct ctl_view *v = &views[vm];
    char a[32], b[32], c[32], d[32];
    struct totals t;

    sum_up(s, vm, v, &t);
    printf("\nVM %u: %s", vm, section_state(v->section->state, a));
    printf(", host's mark %s", mark_name(v->mark.mark, a));
    if (0 != v->mark.changed_sec) {
        printf(" since %s", ctl_time_text(v->mark.changed_sec, a));
    }
    printf(", epoch %016" PRIx64 ", heartbeat %" PRIu64 "\n", v->section->epoch,
           v->section->heartbeat);
    printf("  section at 0x%" PRIx64 ", %s", entry->offset, ctl_size_text(entry->length, a));
    if (entry->open_offset < entry->length) {
        printf(", open half %s", ctl_size_text(entry->length - entry->open_offset, a));
    }
    if (VMSHM_NO_NUMA != entry->numa_node) {
        printf(", NUMA node %u", entry->numa_node);
    }
    printf("\n  heap %s: used %s, quarantined %s, free %s\n", ctl_size_text(t.heap, a),
           ctl_size_text(t.used, b), ctl_size_text(t.quarantined, c),
           ctl_size_text(t.heap > t.used + t.quarantined ? t.heap - t.used - t.quarantined : 0,
                         d));
    printf("  sent %" PRIu64 " messages, %s\n", t.messages, ctl_size_text(t.bytes, a));
    text_procs(s, v);
    text_windows(s, views, vm);
}

static void show_text(const struct vmshm_segment *s, const struct ctl_view *views)
{
    const struct vmshm_header *h = &s->header;
    char buf[40];

    printf("%s (%s), format %u\n", s->path, s->provider, h->version);
    printf("segment %s\n", ctl_uuid_text(h->segment_uuid, buf));
    printf("node    %s\n", ctl_uuid_text(h->node_uuid, buf));
    printf("%s", ctl_size_text(h->total_bytes, buf));
    printf(" in pages of %s", ctl_size_text(h->page_bytes, buf));
    printf(", created %s; %u VMs, %u processes and %u windows each\n",
           ctl_time_text(h->created_sec, buf), h->vms, h->procs, h->windows);
    for (uint32_t vm = 0; vm < h->vms; ++vm) {
        text_vm(s, views, vm);
    }
    ctl_holders_text(s);
}

static int show(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    struct ctl_view views[VMSHM_MAX_VMS] = { 0 };
    const char *path = NULL;
    struct vmshm_segment s;
    struct vmshm_error e;
    bool json = false;
    int status = CTL_OK, c;

    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('j' != c) {
            return ctl_option_end(self, c, argv);
        }
        json = true;
    }
    /* In a VM there is mostly one. */
    if (optind < argc) {
        status = ctl_path_argument(self, argc, argv, &path);
        if (CTL_OK != status) {
            return status;
        }
    }
    if (VMSHM_OK != vmshm_segment_open(path, &s, &e)) {
        return ctl_fail(&e, NULL);
    }
    for (uint32_t vm = 0; vm < s.header.vms && CTL_OK == status; ++vm) {
        if (VMSHM_OK != ctl_view_load(&s, vm, &views[vm], &e)) {
            status = ctl_fail(&e, NULL);
        }
    }
    if (CTL_OK == status) {
        if (json) {
            status = show_json(&s, views);
        } else {
            show_text(&s, views);
        }
    }
    for (uint32_t vm = 0; vm < s.header.vms; ++vm) {
        ctl_view_free(&views[vm]);
    }
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_show = {
    "show", "tell what a segment holds",
    "show [--json] [PATH]\n"
    "Tell what a segment holds: VMs, processes, windows and who reads them, traffic. Without PATH, in a\n"
    "VM, that of its device. Of /dev/vmshmN root also sees what the kernel module holds, and for whom.\n\n"
    "  --json   for programs; vmshmctl(1) lists the names\n",
    show
};
