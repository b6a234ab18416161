/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What differs between Open MPI 4.1, 5.0 and 6.0, for this framework: no other file of it knows a version.
 *
 * 4.1 is supported; each item says what is known of the others. What need not be inline is defined in
 * btl_vmshm_compat_4_1.c. Such a file is always compiled, and is empty for another version than its own.
 */
#ifndef MCA_BTL_VMSHM_COMPAT_H
#define MCA_BTL_VMSHM_COMPAT_H

#include "opal_config.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "opal/class/opal_free_list.h"
#include "opal/datatype/opal_convertor.h"
#include "opal/mca/btl/btl.h"
#include "opal/runtime/opal.h"
#include "opal/threads/mutex.h"         /* 5.0, 6.0: opal/mca/threads/mutex.h */
#include "opal/util/proc.h"

#include "vmshm_format.h"

/* 5.0 and 6.0 both say 330: there OPAL_MAJOR_VERSION tells them apart. */
#if !defined(BTL_VERSION) || 310 != BTL_VERSION
#error "BTL vmshm needs the BTL 3.1 interface of Open MPI 4.1"
#endif

/* --- Which Open MPI runs, against which this component was compiled */

/* What the running library calls itself, against what this component was compiled with. The names are the same in
 * all versions. 6.0's libopen-pal has the soname of 4.1's, so that a component of one can be loaded into the other. */
#ifndef MCA_BTL_VMSHM_BUILT_AGAINST
#define MCA_BTL_VMSHM_BUILT_AGAINST OPAL_IDENT_STRING
#endif

static inline const char *mca_btl_vmshm_running_openmpi(void)
{
    return opal_version_string;
}

/* 4.1 is configured with or without CUDA; with it the BTL module has more fields. 5.0 and 6.0 have the accelerator
 * framework, and one layout. */
#define MCA_BTL_VMSHM_BUILT_WITH_CUDA (0 != OPAL_CUDA_SUPPORT)

bool mca_btl_vmshm_running_has_cuda(void);

/* The framework's loader compares no versions of BTLs, and the module's layout depends on the
 * version and on CUDA support: nothing may be registered for this module in another Open MPI. */
static inline bool mca_btl_vmshm_is_matching_openmpi(void)
{
    return 0 == strcmp(mca_btl_vmshm_running_openmpi(), MCA_BTL_VMSHM_BUILT_AGAINST)
           && mca_btl_vmshm_running_has_cuda() == MCA_BTL_VMSHM_BUILT_WITH_CUDA;
}

/* Within a series (4.1) the objects of Open MPI are the same, so that the component can tell its peers that
 * it offers nothing. In another one it does nothing at all. */
static inline bool mca_btl_vmshm_is_matching_series(void)
{
    const char *dot = strchr(MCA_BTL_VMSHM_BUILT_AGAINST, '.');

    dot = NULL == dot ? NULL : strchr(dot + 1, '.');
    return NULL != dot && 0 == strncmp(mca_btl_vmshm_running_openmpi(), MCA_BTL_VMSHM_BUILT_AGAINST,
                                       (size_t) (dot + 1 - MCA_BTL_VMSHM_BUILT_AGAINST));
}

/* --- Data path */

/* What the upper layer's callback is given. 5.0, 6.0: a const mca_btl_base_receive_descriptor_t, which has the
 * endpoint, the tag and the callback's data, too; these are no arguments of their own then. */
struct mca_btl_vmshm_delivery_t {
    _Alignas(2 * VMSHM_LINE_BYTES) mca_btl_base_descriptor_t descriptor;
    mca_btl_base_segment_t segment;
};
typedef struct mca_btl_vmshm_delivery_t mca_btl_vmshm_delivery_t;

/* Have the upper layer take a message. *delivery serves until its callback has returned. */
static inline void mca_btl_vmshm_deliver(mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
                                         mca_btl_vmshm_delivery_t *delivery, void *bytes, size_t length,
                                         mca_btl_base_tag_t tag)
{
    const mca_btl_active_message_callback_t *reg = mca_btl_base_active_message_trigger + tag;

    (void) endpoint;
    delivery->segment.seg_addr.pval = bytes;
    delivery->segment.seg_len = length;
    delivery->descriptor.des_segments = &delivery->segment;
    delivery->descriptor.des_segment_count = 1;
    reg->cbfunc(btl, tag, &delivery->descriptor, reg->cbdata);
}

/* Must the convertor pack the data, because they are not contiguous, or not where this process can read them?
 * 5.0, 6.0: the function does not ask for device memory any more, opal_convertor_on_device() does. */
static inline bool mca_btl_vmshm_must_pack(const opal_convertor_t *convertor)
{
    return 0 != opal_convertor_need_buffers(convertor);
}

/* --- ob1's receives, for btl_vmshm_ob1.c */

/* A mirror of the private fragment that ob1 passes as get()'s cbdata, and the names of the classes of that
 * and of its request. rdma_hdr is a union of all its headers: 56 bytes, in 5.0 and 6.0 80. */
struct mca_btl_vmshm_ob1_frag_t {
    opal_free_list_item_t super;
    void *rdma_bml;
    uint64_t rdma_hdr[7];
    int rdma_state;
    size_t rdma_length;
    size_t rdma_bytes_remaining;
    void *rdma_req;
    uint32_t retries;
    void *cbfunc;
    uint64_t rdma_offset;
    void *local_address;
    void *local_handle;
    uint64_t remote_address;
    uint8_t remote_handle[MCA_BTL_REG_HANDLE_MAX_SIZE];
};
typedef struct mca_btl_vmshm_ob1_frag_t mca_btl_vmshm_ob1_frag_t;

#define MCA_BTL_VMSHM_OB1_FRAG_CLASS    "mca_pml_ob1_rdma_frag_t"
#define MCA_BTL_VMSHM_OB1_REQUEST_CLASS "mca_pml_ob1_recv_request_t"

/* Is the file a component or library that ob1 is part of? 6.0 has libopen_mpi, too. */
static inline bool mca_btl_vmshm_has_ob1(const char *file)
{
    return NULL != strstr(file, "mca_pml_ob1") || NULL != strstr(file, "libmpi");
}

/* Name of the PML that was selected, NULL: none yet. */
const char *mca_btl_vmshm_selected_pml(void);

/* --- Job and processes. 4.1: the framework opal/mca/pmix, keys OPAL_PMIX_*, types OPAL_UINT32 and the like. 5.0, 6.0:
 * opal/mca/pmix/pmix-internal.h, keys and types PMIX_*, functions and error codes of the PMIx library, which has to be
 * linked. The macros OPAL_MODEX_* have the same names. */

/* Publish bytes for all processes, under the component's name. OPAL_SUCCESS or an error. */
int mca_btl_vmshm_modex_send(const mca_base_component_t *component, const void *data, size_t bytes);
/* What a process published under the component's name. OPAL_SUCCESS or an error; free() *data in either case. */
int mca_btl_vmshm_modex_recv(const mca_base_component_t *component, const opal_process_name_t *name, void **data,
                             size_t *bytes);
/* Ranks of the job, 0: unknown. */
uint32_t mca_btl_vmshm_job_size(void);
/* Those of this node, "0,3,4". free() it; NULL: unknown. */
char *mca_btl_vmshm_local_ranks(void);
/* Have the launcher end the job. May return. 5.0, 6.0: PMIx_Abort(). */
void mca_btl_vmshm_abort(const char *why);
/* Where the process runs, as far as known without asking for it. free() it; NULL: unknown. 5.0, 6.0: there is no
 * proc_hostname; opal_get_proc_hostname() returns a copy. */
char *mca_btl_vmshm_host_of(const opal_proc_t *proc);
/* Is the process of this job, or in a communicator of this process? With threads: true of all. Communicators and
 * groups are ompi's own: nothing promises that they stay as they are. */
bool mca_btl_vmshm_is_connected(const opal_process_name_t *name);

#endif
