/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl show --json */
#include "vmshmctl.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>

/* The numbers of cJSON are doubles, which would round integers above 2^53. */
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
    cJSON_AddStringToObject(o, "state", ctl_proc_state(p->state, buf));
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
    cJSON_AddStringToObject(o, "state", ctl_window_state(w->state, buf));
    add_u64(o, "generation", w->generation);
    add_u64(o, "offset", w->offset);
    add_u64(o, "length", w->length);
    add_u64(o, "owner", w->proc);
    add_u64(o, "uid", w->uid);
    cJSON_AddStringToObject(o, "kind", ctl_window_kind(w->kind, buf));
    cJSON_AddStringToObject(o, "job", ctl_hex_text(w->job, sizeof w->job, buf));
    json_readers(o, s, views, vm, index);
    cJSON_AddItemToArray(list, o);
}

static cJSON *json_vm(const struct vmshm_segment *s, const struct ctl_view *views, uint32_t vm)
{
    const struct vmshm_section_entry *entry = &s->sections[vm];
    const struct ctl_view *v = &views[vm];
    cJSON *o = cJSON_CreateObject();
    struct ctl_totals t;
    cJSON *list;
    char buf[40];

    ctl_view_totals(s, vm, v, &t);
    add_u64(o, "vm", vm);
    add_u64(o, "offset", entry->offset);
    add_u64(o, "length", entry->length);
    add_u64(o, "open_offset", entry->open_offset);
    if (VMSHM_NO_NUMA == entry->numa_node) {
        cJSON_AddNullToObject(o, "numa_node");
    } else {
        add_u64(o, "numa_node", entry->numa_node);
    }
    cJSON_AddStringToObject(o, "state", ctl_section_state(v->section->state, buf));
    cJSON_AddStringToObject(o, "mark", ctl_mark_name(v->mark.mark, buf));
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

int ctl_show_json(const struct vmshm_segment *s, const struct ctl_view *views)
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
        fputs("vmshmctl: show: out of memory\n  This is not a problem of the segment.\n", stderr);
        return CTL_FAILED;
    }
    puts(text);
    free(text);
    return CTL_OK;
}
