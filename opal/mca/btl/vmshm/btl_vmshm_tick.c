/* SPDX-License-Identifier: BSD-3-Clause */
/* What runs in the monitor thread. Open MPI does not know that thread, so nothing of Open MPI may be called here. */
#include "opal_config.h"

#include "btl_vmshm_tick.h"
#include "btl_vmshm_distance.h"

void mca_btl_vmshm_count_sent(const mca_btl_vmshm_endpoint_t *endpoint, uint64_t *messages, uint64_t *bytes)
{
    *messages += vmshm_load_relaxed(&endpoint->out.messages);
    *bytes += vmshm_load_relaxed(&endpoint->out.bytes);
}

void mca_btl_vmshm_publish_sent(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    uint64_t messages, bytes;
    opal_list_item_t *item;

    pthread_mutex_lock(&c->table_lock);
    messages = c->gone_messages;
    bytes = c->gone_bytes;
    for (uint64_t i = 0; NULL != c->table && i < mca_btl_vmshm_proc_slots(); ++i) {
        if (NULL != c->table[i]) {
            mca_btl_vmshm_count_sent(c->table[i], &messages, &bytes);
        }
    }
    OPAL_LIST_FOREACH(item, &c->retired, opal_list_item_t) {
        mca_btl_vmshm_count_sent(mca_btl_vmshm_retired(item), &messages, &bytes);
    }
    pthread_mutex_unlock(&c->table_lock);
    vmshm_count(mca_btl_vmshm_member(), messages, bytes);
}

/* Is any peer in the VM alive? Table lock held. */
static bool has_peer(uint32_t vm)
{
    const mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    for (uint32_t slot = 0; NULL != c->table && slot < mca_btl_vmshm_header()->procs; ++slot) {
        const mca_btl_vmshm_endpoint_t *endpoint =
            c->table[vmshm_proc_index(mca_btl_vmshm_header(), vm, slot)];

        if (NULL != endpoint && mca_btl_vmshm_is_alive(endpoint)) {
            return true;
        }
    }
    return false;
}

/* Alert if the user must be warned of a silent VM. Heartbeats reset the note, so that a later silence is reported
 * again. */
static void look_for_silence(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_monitor *monitor = &c->attached->monitor;

    for (uint32_t vm = 0; vm < mca_btl_vmshm_header()->vms; ++vm) {
        bool silent;

        if (0 == vmshm_load_relaxed(&monitor->silent_ticks[vm])) {
            vmshm_store_relaxed(&c->silence_noted[vm], false);
        }
        if (vmshm_load_relaxed(&c->silence_noted[vm]) || !vmshm_is_silent_for(monitor, vm, c->silence_warning)) {
            continue;
        }
        pthread_mutex_lock(&c->table_lock);
        silent = has_peer(vm);
        pthread_mutex_unlock(&c->table_lock);
        if (silent) {
            mca_btl_vmshm_alert();
        }
    }
}

void mca_btl_vmshm_tick(void)
{
    mca_btl_vmshm_distance_clock();
    if (vmshm_load_relaxed(&mca_btl_vmshm_context.untold)) {
        mca_btl_vmshm_alert();          /* lost peers that were not reported may be connected by now */
    }
    look_for_silence();
    mca_btl_vmshm_publish_sent();
}
