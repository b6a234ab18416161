/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages for users: why vmshm cannot be used, and the map of ranks and transports. */
#include "opal_config.h"

#include "btl_vmshm_modex.h"
#include "btl_vmshm_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "opal/util/argv.h"
#include "opal/util/output.h"
#include "opal/util/show_help.h"

/* Largest job for which the matrix of all pairs is printed. */
#define MATRIX_RANKS 32

static bool is_listed(const char *component)
{
    const char *selection = opal_btl_base_framework.framework_selection;
    char **names;
    bool found = false;

    if (NULL == selection || '^' == selection[0]) {
        return false;
    }
    names = opal_argv_split(selection, ',');
    for (int i = 0; NULL != names && NULL != names[i]; ++i) {
        found |= 0 == strcmp(names[i], component);
    }
    opal_argv_free(names);
    return found;
}

bool mca_btl_vmshm_is_asked_for(void)
{
    return is_listed("vmshm");
}

bool mca_btl_vmshm_is_alone(void)
{
    const char *selection = opal_btl_base_framework.framework_selection;
    char **names;
    bool alone = is_listed("vmshm");

    names = alone ? opal_argv_split(selection, ',') : NULL;
    for (int i = 0; NULL != names && NULL != names[i]; ++i) {
        alone &= 0 == strcmp(names[i], "vmshm") || 0 == strcmp(names[i], "self")
                 || 0 == strcmp(names[i], "vader") || 0 == strcmp(names[i], "sm");
    }
    opal_argv_free(names);
    return alone;
}

static bool has_other_nodes(void)
{
    return mca_btl_vmshm_job_size() > (uint32_t) opal_process_info.num_local_peers + 1;
}

static void end_job(const char *why)
{
    mca_btl_vmshm_abort(why);
    /* The launcher ends the other processes; meanwhile this process must not continue. */
    _exit(1);
}

void mca_btl_vmshm_end_if_alone(void)
{
    /* Not if all ranks are on this node: they can use vader, and otherwise ob1 itself reports the error in MPI_Init. */
    if (mca_btl_vmshm_is_alone() && has_other_nodes()) {
        opal_show_help("help-btl-vmshm.txt", "alone", true,
                       opal_btl_base_framework.framework_selection);
        end_job("btl vmshm cannot start and no other BTL was asked for");
    }
}

void mca_btl_vmshm_unusable(const struct vmshm_error *e)
{
    /* It is not an error if vmshm is installed on a host without a segment. */
    if (VMSHM_ERR_ABSENT == e->code && !mca_btl_vmshm_is_asked_for()) {
        opal_output_verbose(10, opal_btl_base_framework.framework_output, "btl vmshm: %s: %s",
                            e->file, e->detail);
        return;
    }
    opal_show_help("help-btl-vmshm.txt", vmshm_error_topic(e->code), true, e->file, e->field,
                   e->detail);
    mca_btl_vmshm_end_if_alone();
}

/* If the segment is lost report that: it is the reason why the peer could not be proven. */
static void tell(const struct vmshm_error *e)
{
    const char *lost = vmshm_monitor_lost(&mca_btl_vmshm_context.attached->monitor);

    if (NULL != lost) {
        opal_show_help("help-btl-vmshm.txt", "segment lost", true, mca_btl_vmshm_member()->segment.path, lost);
    } else {
        opal_show_help("help-btl-vmshm.txt", vmshm_error_topic(e->code), true, e->file, e->field, e->detail);
    }
}

void mca_btl_vmshm_unreachable(const struct opal_proc_t *proc, const struct vmshm_error *e)
{
    static bool said = false;
    const bool local = OPAL_PROC_ON_LOCAL_NODE(proc->proc_flags);
    const bool alone = mca_btl_vmshm_is_alone() && !local;
    /* For a peer on this node ob1 ends the job itself, but does not know the cause, so report it. */
    const bool needed = alone || (mca_btl_vmshm_is_alone() && !is_listed("vader")
                                  && !is_listed("sm"));

    /* Peers on other hosts normally have another segment or none: not worth reporting unless the job fails. */
    if (!needed && (0 == strcmp(e->field, "segment_uuid") || 0 == strcmp(e->field, "address"))) {
        return;
    }
    if (!said) {
        said = true;
        tell(e);
    }
    if (alone) {
        opal_show_help("help-btl-vmshm.txt", "alone", true,
                       opal_btl_base_framework.framework_selection);
        end_job("btl vmshm cannot reach a peer and no other BTL was asked for");
    }
}

void mca_btl_vmshm_peer_name(const mca_btl_vmshm_endpoint_t *endpoint, char *text, size_t bytes)
{
    const opal_proc_t *proc = vmshm_load_acquire(&endpoint->proc);
    char *host = NULL == proc ? NULL : mca_btl_vmshm_host_of(proc);

    snprintf(text, bytes, "rank %" PRIu32 " of job %" PRIu32 " (VM %" PRIu32 ", process slot %"
             PRIu32 "%s%s)", (uint32_t) endpoint->peer->name,
             (uint32_t) (endpoint->peer->name >> 32) & 0xffff, endpoint->peer->vm, endpoint->peer->slot,
             NULL == host ? "" : ", host ", NULL == host ? "" : host);
    free(host);
}

/* Do both processes run under the same user ID? True if they are not in this segment, or cannot be read. */
static bool is_one_user(const struct vmshm_address *a, const struct vmshm_address *b)
{
    const struct vmshm_member *m = mca_btl_vmshm_member();
    struct vmshm_proc one, other;

    return 0 != memcmp(a->segment_uuid, m->segment.header.segment_uuid, sizeof a->segment_uuid)
           || !vmshm_peer_read(m, a->vm, a->slot, &one) || !vmshm_peer_read(m, b->vm, b->slot, &other)
           || one.uid == other.uid;
}

/* The transport between two ranks, according to the addresses that they published. Peers are not proven here. */
static char kind_of(const struct vmshm_address *a, const struct vmshm_address *b)
{
    if (0 == a->format || 0 == b->format
        || 0 != memcmp(a->segment_uuid, b->segment_uuid, sizeof a->segment_uuid)) {
        return 'n';
    }
    if (a->vm == b->vm) {
        return mca_btl_vmshm_context.intra_vm ? 'i' : 'v';
    }
    return is_one_user(a, b) ? 's' : 'n';
}

static void print_map(const struct vmshm_address *all, uint32_t ranks)
{
    const struct vmshm_segment *s = &mca_btl_vmshm_member()->segment;
    size_t room = 4096 + 8 * (size_t) ranks + MATRIX_RANKS * (MATRIX_RANKS * 3 + 16), used;
    char *text = malloc(room);

    if (NULL == text) {
        return;
    }
    used = (size_t) snprintf(text, room, "btl vmshm: %u ranks; segment %s, %u VMs\n", ranks,
                             s->path, s->header.vms);
    for (int vm = -1; vm < (int) s->header.vms; ++vm) {
        bool first = true;

        for (uint32_t r = 0; r < ranks; ++r) {
            const bool here = 0 != all[r].format
                              && 0 == memcmp(all[r].segment_uuid, s->header.segment_uuid, 16);
            if ((here ? (int) all[r].vm : -1) != vm) {
                continue;
            }
            if (first) {
                used += vm < 0 ? (size_t) snprintf(text + used, room - used,
                                                   "  no VM of this segment: ranks")
                               : (size_t) snprintf(text + used, room - used, "  VM %d: ranks", vm);
            }
            used += (size_t) snprintf(text + used, room - used, " %u", r);
            first = false;
        }
        used += first ? 0 : (size_t) snprintf(text + used, room - used, "\n");
    }
    if (ranks <= MATRIX_RANKS) {
        used += (size_t) snprintf(text + used, room - used, "      ");
        for (uint32_t c = 0; c < ranks; ++c) {
            used += (size_t) snprintf(text + used, room - used, "%3u", c);
        }
        for (uint32_t r = 0; r < ranks; ++r) {
            used += (size_t) snprintf(text + used, room - used, "\n  %4u", r);
            for (uint32_t c = 0; c < ranks; ++c) {
                used += (size_t) snprintf(text + used, room - used, "  %c",
                                          r == c ? '.' : kind_of(&all[r], &all[c]));
            }
        }
        used += (size_t) snprintf(text + used, room - used, "\n");
    }
    snprintf(text + used, room - used, "  s: through the segment   v: inside one VM (vader)   "
             "i: inside one VM, vmshm may serve   n: network");
    opal_output(0, "%s", text);
    free(text);
}

/* Is the rank on this node, according to the launcher's list? */
static bool is_local(char **local, uint32_t rank)
{
    for (int i = 0; NULL != local && NULL != local[i]; ++i) {
        if ((uint32_t) strtoul(local[i], NULL, 10) == rank) {
            return true;
        }
    }
    return false;
}

static char **local_ranks(void)
{
    char *text = mca_btl_vmshm_local_ranks();
    char **list = NULL == text ? NULL : opal_argv_split(text, ',');

    free(text);
    return list;
}

/* End the job now if vmshm cannot reach this rank of another node, which no other BTL can serve. Otherwise the
 * failure would appear only at the first message. */
static void insist_on(uint32_t rank, const struct vmshm_address *a)
{
    const struct vmshm_member *m = mca_btl_vmshm_member();
    struct vmshm_error e = { .code = VMSHM_OK };

    if (0 == a->format) {
        vmshm_fail(&e, VMSHM_ERR_PEER, "(modex)", "address", "rank %u published none: it found no "
                   "segment, or runs another version of vmshm", rank);
    } else if (a->vm == m->id.vm && !mca_btl_vmshm_context.intra_vm
               && 0 == memcmp(a->segment_uuid, m->segment.header.segment_uuid, 16)) {
        vmshm_fail(&e, VMSHM_ERR_VM_ID_TWICE, m->segment.path, "vm_id",
                   "rank %u runs on another node under the same VM id %u", rank, a->vm);
    } else {
        if (NULL != mca_btl_vmshm_endpoint_get(a, &e)) {
            e.code = VMSHM_OK;          /* e may have been written even though there was no error */
        }
    }
    if (VMSHM_OK != e.code) {
        tell(&e);
        opal_show_help("help-btl-vmshm.txt", "alone", true,
                       opal_btl_base_framework.framework_selection);
        end_job("btl vmshm cannot reach a peer and no other BTL was asked for");
    }
}

void mca_btl_vmshm_survey(void)
{
    static bool done = false;
    const bool print = mca_btl_vmshm_context.report && 0 == OPAL_PROC_MY_NAME.vpid;
    const bool alone = mca_btl_vmshm_is_alone() && has_other_nodes();
    struct vmshm_address *all;
    char **local;
    uint32_t ranks;

    if (done || (!print && !alone)) {
        done = true;
        return;
    }
    done = true;
    ranks = mca_btl_vmshm_job_size();
    all = calloc(0 == ranks ? 1 : ranks, sizeof *all);
    local = local_ranks();
    for (uint32_t r = 0; NULL != all && r < ranks; ++r) {
        const opal_process_name_t name = { .jobid = OPAL_PROC_MY_NAME.jobid, .vpid = r };

        if (!mca_btl_vmshm_address_get(&name, &all[r])) {
            memset(&all[r], 0, sizeof all[r]);
        }
        if (alone && !is_local(local, r)) {
            insist_on(r, &all[r]);
        }
    }
    if (print && NULL != all) {
        print_map(all, ranks);
    }
    opal_argv_free(local);
    free(all);
}
