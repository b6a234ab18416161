/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What becomes of a peer: who finds something out notes it here, and mca_btl_vmshm_attend() acts upon it.
 */
#ifndef MCA_BTL_VMSHM_FATE_H
#define MCA_BTL_VMSHM_FATE_H

#include "btl_vmshm_context.h"

/* What stands in shared memory says of the peer now. */
int mca_btl_vmshm_fate_look(const mca_btl_vmshm_endpoint_t *endpoint);
/* Its entry in the process table has the nonce or the generation of another process: that is a lie. */
bool mca_btl_vmshm_is_overwritten(const mca_btl_vmshm_endpoint_t *endpoint);
/* It is broken, if nothing else is known yet. Who accuses it first says why. Any lock may be held. */
void mca_btl_vmshm_accuse(mca_btl_vmshm_endpoint_t *endpoint, const char *field, const char *why);
/* What the peer wrote is not what the format allows: it is logged and given up in the next
 * mca_btl_vmshm_attend(). Unless its process is gone: then that is its fate, and what was read may be
 * anybody's. Any lock may be held. */
void mca_btl_vmshm_peer_broken(mca_btl_vmshm_endpoint_t *endpoint, const char *field,
                               const char *why);

/* What a peer wrote cannot be read because this process has run out of something (mappings, memory): told, and the
 * job ended, in the next mca_btl_vmshm_attend(). endpoint: NULL if there is none yet. Any lock may be held. */
void mca_btl_vmshm_unmapped(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_error *e);

#endif
