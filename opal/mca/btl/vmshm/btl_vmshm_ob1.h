/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What we have to ask the PML.
 */
#ifndef MCA_BTL_VMSHM_OB1_H
#define MCA_BTL_VMSHM_OB1_H

#include "btl_vmshm_stream.h"

/* Does a message of `size` bytes fit into the buffer that get() was called for? Checked only if ob1 called
 * get(), which is recognized by its callback. */
bool mca_btl_vmshm_ob1_fits(mca_btl_base_rdma_completion_fn_t cbfunc, const void *cbdata,
                            size_t size);

#endif
