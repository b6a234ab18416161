/* SPDX-License-Identifier: BSD-3-Clause */
/* Modelled in test/model/ring.pml: change both. */
#include "vmshm_fate.h"

#include "vmshm_check.h"
#include "vmshm_layout.h"

/* A call may notice that the segment was lost before the monitor does, which then finds out within this many looks. */
#define LOST_LOOKS 2

int vmshm_fate_look(const struct vmshm_peer *peer)
{
    const struct vmshm_member *m = peer->registry->member;
    struct vmshm_proc proc;

    if (vmshm_vm_is_gone(m, peer->vm)) {
        return VMSHM_FATE_MARKED;
    }
    if (vmshm_vm_epoch(m, peer->vm) != peer->epoch) {
        return VMSHM_FATE_REBOOTED;
    }
    if (vmshm_peer_read(m, peer->vm, peer->slot, &proc)) {
        /* A slot that was handed out again counts as left. If its process died and was replaced within one tick, only
         * the launcher can notice the death. */
        if (proc.generation != peer->generation || VMSHM_PROC_LEFT == proc.state) {
            return VMSHM_FATE_LEFT;
        }
        if (VMSHM_PROC_LIVE != proc.state) {
            return VMSHM_FATE_DEAD;
        }
    }
    return VMSHM_FATE_ALIVE;
}

/* Generation and nonce always change together. This looks twice, because the slot's VM may be handing it out again
 * during the first look; the slot is then not live in the second one. */
bool vmshm_is_overwritten(const struct vmshm_peer *peer)
{
    for (int looks = 0; looks < 2; ++looks) {
        struct vmshm_proc proc;

        if (!vmshm_peer_read(peer->registry->member, peer->vm, peer->slot, &proc)
            || VMSHM_PROC_LIVE != proc.state
            || (proc.generation == peer->generation) == (proc.nonce == peer->nonce)) {
            return false;
        }
    }
    return true;
}

void vmshm_peer_accuse(struct vmshm_peer *peer, const char *field, const char *why)
{
    int32_t expected = 0;

    if (vmshm_compare_exchange(&peer->accused, &expected, 1)) {
        peer->broken_field = field;
        peer->broken_why = why;
        vmshm_store_release(&peer->accused, 2);
        vmshm_fence_store_load();       /* Dekker with vmshm_peer_forgive(): at least one sees the other's store */
        vmshm_fate_set(peer, VMSHM_FATE_BROKEN);
        vmshm_alert(peer->registry->events);
    }
}

void vmshm_peer_broken(struct vmshm_peer *peer, const char *field, const char *why)
{
    const int fate = vmshm_fate_look(peer);

    if (VMSHM_FATE_ALIVE != fate && !vmshm_is_overwritten(peer)) {
        vmshm_fate_set(peer, fate);
        vmshm_alert(peer->registry->events);
    } else {
        vmshm_peer_accuse(peer, field, why);
    }
}

bool vmshm_peer_forgive(struct vmshm_peer *peer)
{
    struct vmshm_registry *registry = peer->registry;
    const uint64_t place = vmshm_proc_index(&registry->member->segment.header, peer->vm, peer->slot);
    int32_t silent = VMSHM_FATE_SILENT;
    bool present;

    /* A peer is taken out of the registry, and its fate set, under this lock: either before or after this block. */
    pthread_mutex_lock(&registry->lock);
    present = peer == registry->table[place];
    /* Another component may have done it already, and something else become of the peer since. */
    if (present) {
        (void) vmshm_compare_exchange(&peer->fate, &silent, VMSHM_FATE_ALIVE);
    }
    pthread_mutex_unlock(&registry->lock);
    if (!present) {
        return false;
    }
    vmshm_fence_store_load();           /* see vmshm_peer_accuse() */
    if (2 == vmshm_load_acquire(&peer->accused)) {
        vmshm_fate_set(peer, VMSHM_FATE_BROKEN);
        vmshm_alert(registry->events);
    }
    return true;
}

void vmshm_peer_unmapped(struct vmshm_registry *registry, struct vmshm_peer *peer, const struct vmshm_error *e)
{
    int32_t expected = 0;

    if (vmshm_compare_exchange(&registry->unmapped_stage, &expected, 1)) {
        registry->unmapped = *e;
        registry->unmapped_look = vmshm_load_relaxed(&registry->looks);
        vmshm_store_release(&registry->unmapped_stage, 2);
    }
    if (NULL != peer) {
        vmshm_fate_set(peer, VMSHM_FATE_UNMAPPED);
    }
    vmshm_alert(registry->events);
}

bool vmshm_peer_unmapped_take(struct vmshm_registry *registry, struct vmshm_error *e)
{
    int32_t expected = 2;

    if (2 != vmshm_load_acquire(&registry->unmapped_stage)) {
        return false;
    }
    if (VMSHM_ERR_ABSENT == registry->unmapped.code
        && vmshm_load_relaxed(&registry->looks) - registry->unmapped_look <= LOST_LOOKS) {
        vmshm_alert(registry->events);  /* most likely the segment is lost, which the monitor will report */
        return false;
    }
    *e = registry->unmapped;
    return vmshm_compare_exchange(&registry->unmapped_stage, &expected, 3);
}
