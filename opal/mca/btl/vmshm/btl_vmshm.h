/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BTL vmshm: bytes between virtual machines of one host, through a shared segment.
 *
 * Shapes in shared memory are in vmshm_format.h. What is here is private to the process.
 *
 * Where to look. Calls go down this list, never up; a header of a file's name declares what it offers.
 *   parameters, start, end              btl_vmshm_component.c
 *   what Open MPI calls                 btl_vmshm_module.c
 *   one turn of progress                btl_vmshm_progress.c
 *   acting upon what became of peers    btl_vmshm_attend.c
 *   texts for users                     btl_vmshm_report.c
 *   taking messages out of rings        btl_vmshm_poll.c
 *   large messages, at the receiver     btl_vmshm_get.c; btl_vmshm_ob1.c: what is asked of Open MPI's ob1 for it
 *   large messages, at the sender       btl_vmshm_push.c; btl_vmshm_place.c: where their bytes stand meanwhile
 *   what an endpoint has of them        btl_vmshm_stream.c
 *   sending                             btl_vmshm_send.c, btl_vmshm_sendi.c, btl_vmshm_pack.h
 *   descriptors                         btl_vmshm_frag.c, btl_vmshm_item.h
 *   finding rings                       btl_vmshm_listen.c, btl_vmshm_connect.h
 *   the sender's half of a ring         btl_vmshm_open.c, btl_vmshm_ring.h
 *   what the monitor's thread calls     btl_vmshm_tick.c
 *   near and far peers                  btl_vmshm_distance.c
 *   what a peer wrote, checked          btl_vmshm_check.h, btl_vmshm_check.c
 *   endpoints, made and retired         btl_vmshm_endpoint.c
 *   what processes tell each other      btl_vmshm_modex.c
 *   memory of rings and cells           btl_vmshm_memory.c
 *   what Open MPI's versions change     btl_vmshm_compat.h, btl_vmshm_compat_4_1.c
 *   what all of these share             btl_vmshm_context.c
 * What is not a message is below, in opal/mca/common/vmshm, for all components of the process: membership, peers
 * and their proof, what became of them, the monitor, memory in the segment (vmshm_attach.h).
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

/* Open MPI finds the component by its name; btl_vmshm_component.c. */
OPAL_DECLSPEC extern mca_btl_base_component_t mca_btl_vmshm_component;
/* What Open MPI calls; btl_vmshm_context.c has the object, btl_vmshm_module.c its functions. */
extern mca_btl_vmshm_t mca_btl_vmshm;

/* --- btl_vmshm_module.c */
/* The module's functions, before its parameters are registered. */
void mca_btl_vmshm_module_set_up(void);
/* Attach to the segment, make ready for messages. The failure is logged; it may end the job. */
int mca_btl_vmshm_module_start(const struct vmshm_join_options *join);
void mca_btl_vmshm_module_stop(void);

#endif
