/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one thing that this transport must know about the PML: the size of the receive buffer.
 *
 * ob1 passes its private RDMA fragment as get()'s cbdata. We read it through a mirror of its type
 * (btl_vmshm_compat.h), but only if the object's class has the expected name and the mirror's size;
 * otherwise every get() is refused, and ob1 has the message sent in fragments.
 */
#include "opal_config.h"

#include "btl_vmshm_ob1.h"

#include <dlfcn.h>
#include <string.h>

#include "ompi/mca/pml/base/pml_base_request.h"

static bool is_object(const void *object, const char *name, size_t bytes)
{
    const opal_class_t *class = ((const opal_object_t *) object)->obj_class;

    return 0 == strcmp(class->cls_name, name) && (0 == bytes || class->cls_sizeof == bytes);
}

/* Was get() called by ob1? cbdata may be interpreted only if it is ob1's. */
static bool is_ob1(mca_btl_base_rdma_completion_fn_t cbfunc)
{
    static mca_btl_base_rdma_completion_fn_t known;
    Dl_info info;

    if (OPAL_LIKELY(vmshm_load_relaxed(&known) == cbfunc)) {
        return true;
    }
    if (0 == dladdr((void *) (uintptr_t) cbfunc, &info) || NULL == info.dli_fname
        || !mca_btl_vmshm_has_ob1(info.dli_fname)) {
        return false;
    }
    vmshm_store_relaxed(&known, cbfunc);
    return true;
}

/* Are fragment and request of the expected classes? The class names are compared only once, then the pointers. */
static bool is_known(const mca_btl_vmshm_ob1_frag_t *frag)
{
    static const opal_class_t *frag_class, *request_class;
    const opal_class_t *frag_is = ((const opal_object_t *) frag)->obj_class, *request_is;

    if (OPAL_UNLIKELY(vmshm_load_relaxed(&frag_class) != frag_is)) {
        if (!is_object(frag, MCA_BTL_VMSHM_OB1_FRAG_CLASS, sizeof *frag)) {
            return false;
        }
        vmshm_store_relaxed(&frag_class, frag_is);
    }
    request_is = ((const opal_object_t *) frag->rdma_req)->obj_class;
    if (OPAL_UNLIKELY(vmshm_load_relaxed(&request_class) != request_is)) {
        if (!is_object(frag->rdma_req, MCA_BTL_VMSHM_OB1_REQUEST_CLASS, 0)) {
            return false;
        }
        vmshm_store_relaxed(&request_class, request_is);
    }
    return true;
}

bool mca_btl_vmshm_ob1_fits(mca_btl_base_rdma_completion_fn_t cbfunc, const void *cbdata, size_t size)
{
    const mca_pml_base_request_t *request;
    size_t room = 0;

    if (!is_ob1(cbfunc)) {
        return true;                    /* other callers pass the size of their buffer */
    }
    if (!is_known(cbdata)) {
        return false;
    }
    request = ((const mca_btl_vmshm_ob1_frag_t *) cbdata)->rdma_req;
    opal_convertor_get_packed_size(&request->req_convertor, &room);
    return size <= room;
}
