/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages for users.
 */
#ifndef MCA_BTL_VMSHM_REPORT_H
#define MCA_BTL_VMSHM_REPORT_H

#include "btl_vmshm_context.h"

/* Did the user name vmshm in the list of BTLs? */
bool mca_btl_vmshm_is_asked_for(void);
/* Does the list of BTLs name vmshm, but no other BTL that could reach another VM? */
bool mca_btl_vmshm_is_alone(void);
/* End the job if vmshm is alone and the job has ranks on other nodes. */
void mca_btl_vmshm_end_if_alone(void);
/* Report the failure to start. Ends the job if no other BTL could serve it. */
void mca_btl_vmshm_unusable(const struct vmshm_error *e);
/* Report, only once, that a peer of this host cannot be reached. Ends the job if no other BTL could reach it. */
void mca_btl_vmshm_unreachable(const struct opal_proc_t *proc, const struct vmshm_error *e);
/* After the modex, only once: print the map; if vmshm is alone check that all peers can be reached. */
void mca_btl_vmshm_survey(void);
/* Printable name of a peer. */
void mca_btl_vmshm_peer_name(const mca_btl_vmshm_endpoint_t *endpoint, char *text, size_t bytes);

#endif
