/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl show: the text. */
#include "vmshmctl.h"

#include <inttypes.h>

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
               "  %s\n", i, ctl_proc_state(p->state, state), p->pid, p->uid, p->name >> 32,
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
               ctl_window_state(w->state, state), w->offset, ctl_size_text(w->length, length), w->proc,
               ctl_window_kind(w->kind, kind));
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
    struct ctl_totals t;

    ctl_view_totals(s, vm, v, &t);
    printf("\nVM %u: %s", vm, ctl_section_state(v->section->state, a));
    printf(", host's mark %s", ctl_mark_name(v->mark.mark, a));
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

void ctl_show_text(const struct vmshm_segment *s, const struct ctl_view *views)
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
