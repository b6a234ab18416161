/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BTL vmshm: carries messages between virtual machines of one host through a shared memory segment.
 *
 * vmshm_format.h defines the data structures in shared memory. Those declared here are private to the process.
 *
 * Files of this component. A file calls only files below it in this list. X.h declares what X.c offers, except:
 * btl_vmshm_ring.h (open.c), btl_vmshm_connect.h (listen.c, and one function of endpoint.c), btl_vmshm_send.h (also
 * sendi.c), btl_vmshm_compat.h (compat_4_1.c), this file (module.c).
 *   parameters, initialization            btl_vmshm_component.c
 *   the module's functions                btl_vmshm_module.c
 *   the progress function                 btl_vmshm_progress.c
 *   handling of dead and broken peers     btl_vmshm_attend.c
 *   messages for users                    btl_vmshm_report.c
 *   taking messages out of rings          btl_vmshm_poll.c
 *   large messages, receiver              btl_vmshm_get.c; btl_vmshm_ob1.c: the size of ob1's receive buffer
 *   large messages, sender                btl_vmshm_push.c; btl_vmshm_place.c: the memory that chunks pass through
 *   an endpoint's state for them          btl_vmshm_stream.c
 *   sending                               btl_vmshm_send.c, btl_vmshm_sendi.c, btl_vmshm_pack.h
 *   descriptors                           btl_vmshm_frag.c, btl_vmshm_item.h
 *   finding rings                         btl_vmshm_listen.c, btl_vmshm_connect.h
 *   the sender's half of a ring           btl_vmshm_open.c, btl_vmshm_ring.h
 *   what the monitor thread calls         btl_vmshm_tick.c
 *   near and far peers                    btl_vmshm_distance.c
 *   checks of what a peer wrote           btl_vmshm_check.h, btl_vmshm_check.c
 *   creating and retiring endpoints       btl_vmshm_endpoint.c
 *   addresses, exchanged in the modex     btl_vmshm_modex.c
 *   memory for rings and cells            btl_vmshm_memory.c
 *   differences between Open MPI versions btl_vmshm_compat.h, btl_vmshm_compat_4_1.c
 *   data that all of these share          btl_vmshm_context.c
 * Everything that is not specific to messages is in opal/mca/common/vmshm, shared by all components of the process:
 * joining the segment, proving and tracking peers, the monitor thread, memory in the segment (vmshm_attach.h).
 */
#ifndef MCA_BTL_VMSHM_H
#define MCA_BTL_VMSHM_H

#include "opal_config.h"

#include <pthread.h>
#include <stdint.h>

#include "opal/class/opal_free_list.h"
#include "opal/class/opal_list.h"
#include "opal/class/opal_pointer_array.h"
#include "opal/mca/btl/base/base.h"
#include "opal/mca/btl/btl.h"
#include "opal/util/proc.h"

#include "btl_vmshm_compat.h"
#include "common_vmshm.h"
#include "vmshm_atomic.h"
#include "vmshm_check.h"
#include "vmshm_layout.h"

struct mca_btl_vmshm_t {
    mca_btl_base_module_t super;
};
typedef struct mca_btl_vmshm_t mca_btl_vmshm_t;

/* Defined in btl_vmshm_component.c. Open MPI looks it up by this name. */
OPAL_DECLSPEC extern mca_btl_base_component_t mca_btl_vmshm_component;
/* The module, defined in btl_vmshm_context.c. Its functions are in btl_vmshm_module.c. */
extern mca_btl_vmshm_t mca_btl_vmshm;

/* --- btl_vmshm_module.c */
/* Fill in the module's function pointers. Called before its parameters are registered. */
void mca_btl_vmshm_module_set_up(void);
/* Attach to the segment and prepare for messages. A failure is reported to the user and may end the job. */
int mca_btl_vmshm_module_start(const struct vmshm_join_options *join);
void mca_btl_vmshm_module_stop(void);

#endif
