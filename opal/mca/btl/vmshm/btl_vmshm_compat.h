/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything in this component that depends on the version of Open MPI (4.1, 5.0, 6.0).
 *
 * Only 4.1 is supported; comments note how 5.0 and 6.0 differ. Functions that need not be inline are defined in
 * btl_vmshm_compat_4_1.c. There is such a file per version; it is always compiled, but empty for other versions.
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

/* 5.0 and 6.0 both define BTL_VERSION as 330; OPAL_MAJOR_VERSION distinguishes them. */
#if !defined(BTL_VERSION) || 310 != BTL_VERSION
#error "BTL vmshm needs the BTL 3.1 interface of Open MPI 4.1"
#endif

/* --- The running Open MPI, and the one that this component was compiled against */

/* Version string of the Open MPI that this component was compiled against, to be compared with that of the running
 * library. Both names exist in all versions. The comparison is needed because 6.0's libopen-pal has the same soname
 * as 4.1's, so a component built for either can be loaded into the other. */
#ifndef MCA_BTL_VMSHM_BUILT_AGAINST
#define MCA_BTL_VMSHM_BUILT_AGAINST OPAL_IDENT_STRING
#endif

static inline const char *mca_btl_vmshm_running_openmpi(void)
{
    return opal_version_string;
}

/* 4.1 can be configured with CUDA; the BTL module then has additional fields. 5.0 and 6.0 have the accelerator
 * framework instead, and a single layout. */
#define MCA_BTL_VMSHM_BUILT_WITH_CUDA (0 != OPAL_CUDA_SUPPORT)

bool mca_btl_vmshm_running_has_cuda(void);

/* The framework does not compare versions when it loads a BTL, and the module's layout depends on the
 * version and on CUDA support. So parameters must not be registered for this module in a different Open MPI. */
static inline bool mca_btl_vmshm_is_matching_openmpi(void)
{
    return 0 == strcmp(mca_btl_vmshm_running_openmpi(), MCA_BTL_VMSHM_BUILT_AGAINST)
           && mca_btl_vmshm_running_has_cuda() == MCA_BTL_VMSHM_BUILT_WITH_CUDA;
}

/* Within a series (4.1) Open MPI's other objects have the same layout, so the component can at least publish that it
 * has nothing to offer. In another series it does nothing at all. */
static inline bool mca_btl_vmshm_is_matching_series(void)
{
    const char *dot = strchr(MCA_BTL_VMSHM_BUILT_AGAINST, '.');

    dot = NULL == dot ? NULL : strchr(dot + 1, '.');
    return NULL != dot && 0 == strncmp(mca_btl_vmshm_running_openmpi(), MCA_BTL_VMSHM_BUILT_AGAINST,
                                       (size_t) (dot + 1 - MCA_BTL_VMSHM_BUILT_AGAINST));
}

/* --- Data path */

/* The argument of the upper layer's receive callback. 5.0, 6.0: a const mca_btl_base_receive_descriptor_t, which also
 * contains the endpoint, the tag and the callback's data; there they are not separate arguments. */
struct mca_btl_vmshm_delivery_t {
    _Alignas(2 * VMSHM_LINE_BYTES) mca_btl_base_descriptor_t descriptor;
    mca_btl_base_segment_t segment;
};
typedef struct mca_btl_vmshm_delivery_t mca_btl_vmshm_delivery_t;

/* Pass a message to the upper layer's receive callback. *delivery is in use until the callback has returned. */
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

/* Must the convertor pack the data, because they are not contiguous or not readable by this process's CPU?
 * 5.0, 6.0: opal_convertor_need_buffers() no longer covers device memory, see opal_convertor_on_device(). */
static inline bool mca_btl_vmshm_must_pack(const opal_convertor_t *convertor)
{
    return 0 != opal_convertor_need_buffers(convertor);
}

/* --- ob1's receives, for btl_vmshm_ob1.c */

/* A mirror of the private fragment that ob1 passes as get()'s cbdata, and the class names of that fragment and of
 * its request. rdma_hdr is a union of all of ob1's headers: 56 bytes in 4.1, 80 in 5.0 and 6.0. */
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

/* Is the file a component or library that contains ob1? In 6.0 it may also be libopen_mpi. */
static inline bool mca_btl_vmshm_has_ob1(const char *file)
{
    return NULL != strstr(file, "mca_pml_ob1") || NULL != strstr(file, "libmpi");
}

/* Name of the selected PML; NULL: none is selected yet. */
const char *mca_btl_vmshm_selected_pml(void);

/* --- Job and processes. 4.1: the framework opal/mca/pmix, keys OPAL_PMIX_*, types such as OPAL_UINT32. 5.0, 6.0:
 * opal/mca/pmix/pmix-internal.h, keys and types PMIX_*, functions and error codes of the PMIx library, which must be
 * linked. The macros OPAL_MODEX_* have the same names in all versions. */

/* Publish data to all processes under the component's name. OPAL_SUCCESS or an error. */
int mca_btl_vmshm_modex_send(const mca_base_component_t *component, const void *data, size_t bytes);
/* Get what a process published under the component's name. OPAL_SUCCESS or an error; free() *data in either case. */
int mca_btl_vmshm_modex_recv(const mca_base_component_t *component, const opal_process_name_t *name, void **data,
                             size_t *bytes);
/* Number of ranks of the job, 0: unknown. */
uint32_t mca_btl_vmshm_job_size(void);
/* The job's ranks on this node, such as "0,3,4". free() the string; NULL: unknown. */
char *mca_btl_vmshm_local_ranks(void);
/* Ask the launcher to end the job. May return. 5.0, 6.0: PMIx_Abort(). */
void mca_btl_vmshm_abort(const char *why);
/* Name of the host that the process runs on, if known without querying PMIx. free() the string; NULL: unknown.
 * 5.0, 6.0: there is no proc_hostname; opal_get_proc_hostname() returns a copy. */
char *mca_btl_vmshm_host_of(const opal_proc_t *proc);
/* Is the process of this job, or in a communicator of this process? With threads: true for all. Communicators and
 * groups are internal to the ompi layer: their API is not guaranteed to be stable. */
bool mca_btl_vmshm_is_connected(const opal_process_name_t *name);

#endif
