/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What users are told.
 */
#ifndef MCA_BTL_VMSHM_REPORT_H
#define MCA_BTL_VMSHM_REPORT_H

#include "btl_vmshm_context.h"

/* Is vmshm named in the list of BTLs? */
bool mca_btl_vmshm_is_asked_for(void);
/* Is no BTL asked for that could serve another VM if this one cannot? */
bool mca_btl_vmshm_is_alone(void);
/* End the job if vmshm is alone and the job has ranks on other nodes. */
void mca_btl_vmshm_end_if_alone(void);
/* Log the failure to start; ends the job if nothing else could serve it. */
void mca_btl_vmshm_unusable(const struct vmshm_error *e);
/* Log, once, that a peer of this host cannot be reached; ends the job if nothing else could. */
void mca_btl_vmshm_unreachable(const struct opal_proc_t *proc, const struct vmshm_error *e);
/* After the modex: print the map, check the peers if vmshm is alone. Once. */
void mca_btl_vmshm_survey(void);
/* Printable name of a peer. */
void mca_btl_vmshm_peer_name(const mca_btl_vmshm_endpoint_t *endpoint, char *text, size_t bytes);

#endif
