/* SPDX-License-Identifier: BSD-3-Clause */
/* What became of a peer, as this process finds it out. The first verdict holds. */
/* Modelled in test/model/ring.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_fate.h"

int mca_btl_vmshm_fate_look(const mca_btl_vmshm_endpoint_t *endpoint)
{
    const mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_segment *s = &c->member.segment;
    struct vmshm_proc proc;

    if (VMSHM_MARK_GONE == vmshm_load_acquire(&vmshm_mark_of(s, endpoint->peer.vm)->mark)) {
        return MCA_BTL_VMSHM_FATE_MARKED;
    }
    if (vmshm_load_acquire(&vmshm_section_of(s, endpoint->peer.vm)->epoch) != endpoint->peer.epoch) {
        return MCA_BTL_VMSHM_FATE_REBOOTED;
    }
    if (vmshm_peer_read(&c->member, endpoint->peer.vm, endpoint->peer.slot, &proc)) {
        /* A slot that was handed out again: a process that died without order and was replaced
         * within a tick is its launcher's to notice. */
        if (proc.generation != endpoint->peer.generation || VMSHM_PROC_LEFT == proc.state) {
            return MCA_BTL_VMSHM_FATE_LEFT;
        }
        if (VMSHM_PROC_LIVE != proc.state) {
            return MCA_BTL_VMSHM_FATE_DEAD;
        }
    }
    return MCA_BTL_VMSHM_FATE_ALIVE;
}

/* Generation and nonce change together or not at all. Two looks: the owner of a slot may be changing
 * it during the first, but then the slot is not live at the second. */
bool mca_btl_vmshm_is_overwritten(const mca_btl_vmshm_endpoint_t *endpoint)
{
    for (int looks = 0; looks < 2; ++looks) {
        struct vmshm_proc proc;

        if (!vmshm_peer_read(&mca_btl_vmshm_context.member, endpoint->peer.vm, endpoint->peer.slot, &proc)
            || VMSHM_PROC_LIVE != proc.state
            || (proc.generation == endpoint->peer.generation) == (proc.nonce == endpoint->peer.nonce)) {
            return false;
        }
    }
    return true;
}

/* It is broken, if nothing else is known yet. Who accuses it first says why. */
void mca_btl_vmshm_accuse(mca_btl_vmshm_endpoint_t *endpoint, const char *field, const char *why)
{
    int32_t expected = 0;

    if (vmshm_compare_exchange(&endpoint->peer.accused, &expected, 1)) {
        endpoint->peer.broken_field = field;
        endpoint->peer.broken_why = why;
        vmshm_store_release(&endpoint->peer.accused, 2);
        vmshm_fence_store_load();       /* of this one and forgive_silence() one sees the other's store */
        mca_btl_vmshm_fate_set(endpoint, MCA_BTL_VMSHM_FATE_BROKEN);
        mca_btl_vmshm_alert();
    }
}

void mca_btl_vmshm_peer_broken(mca_btl_vmshm_endpoint_t *endpoint, const char *field,
                               const char *why)
{
    const int fate = mca_btl_vmshm_fate_look(endpoint);

    if (MCA_BTL_VMSHM_FATE_ALIVE != fate && !mca_btl_vmshm_is_overwritten(endpoint)) {
        mca_btl_vmshm_fate_set(endpoint, fate);
        mca_btl_vmshm_alert();
    } else {
        mca_btl_vmshm_accuse(endpoint, field, why);
    }
}

void mca_btl_vmshm_unmapped(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_error *e)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    int32_t expected = 0;

    if (vmshm_compare_exchange(&c->unmapped_stage, &expected, 1)) {
        c->unmapped = *e;
        c->unmapped_ticks = vmshm_load_relaxed(&c->ticks);
        vmshm_store_release(&c->unmapped_stage, 2);
    }
    if (NULL != endpoint) {
        mca_btl_vmshm_fate_set(endpoint, MCA_BTL_VMSHM_FATE_UNMAPPED);
    }
    mca_btl_vmshm_alert();
}
