/* SPDX-License-Identifier: BSD-3-Clause */
/* Large messages without MPI. */
#include "opal_config.h"

#include "transfers.h"

#include "btl_vmshm_frag.h"
#include "btl_vmshm_send.h"

#include <string.h>

/* Instead of the one that looks into ob1's requests: here each buffer is long enough. */
bool __wrap_mca_btl_vmshm_ob1_fits(mca_btl_base_rdma_completion_fn_t cbfunc, const void *cbdata,
                                   size_t size);

bool __wrap_mca_btl_vmshm_ob1_fits(mca_btl_base_rdma_completion_fn_t cbfunc, const void *cbdata,
                                   size_t size)
{
    (void) cbfunc;
    (void) cbdata;
    return size <= MOST;
}

unsigned int told, got;

void on_told(mca_btl_base_module_t *btl, mca_btl_base_tag_t tag,
             mca_btl_base_descriptor_t *des, void *context)
{
    (void) btl;
    (void) tag;
    (void) des;
    (void) context;
    ++told;
}

void on_got(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
            void *local_address, struct mca_btl_base_registration_handle_t *local_handle,
            void *context, void *cbdata, int status)
{
    (void) btl;
    (void) endpoint;
    (void) local_address;
    (void) local_handle;
    (void) context;
    (void) cbdata;
    REQUIRE(OPAL_SUCCESS == status);
    ++got;
}

uint8_t byte_of(size_t size, size_t at)
{
    return (uint8_t) (size * 31 + at * 7 + at / 4096);
}

struct mca_btl_base_registration_handle_t *offer(struct side *side, uint8_t *from,
                                                 size_t size)
{
    struct mca_btl_base_registration_handle_t *handle;

    for (size_t i = 0; i < size; ++i) {
        from[i] = byte_of(size, i);
    }
    handle = mca_btl_vmshm_register_mem(&mca_btl_vmshm.super, side->peer, from, size,
                                        MCA_BTL_REG_FLAG_REMOTE_READ);
    REQUIRE(NULL != handle);
    side_tell(side, handle, sizeof *handle);
    return handle;
}

/* The other side's word that it has all: in the ring, behind its pulls, as the upper layer's is. */
void tell_done(const struct side *side)
{
    while (OPAL_SUCCESS != mca_btl_vmshm_sendi(&mca_btl_vmshm.super, side->peer, NULL, "done", 4, 0,
                                               MCA_BTL_NO_ORDER, 0, SIDE_TAG, NULL)) {
        mca_btl_vmshm_component_progress();
    }
}

void push_until_told(unsigned int count)
{
    while (told < count) {
        mca_btl_vmshm_component_progress();
    }
}

void ask(const struct side *side, uint8_t *to, size_t size,
         struct mca_btl_base_registration_handle_t *remote)
{
    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_get(&mca_btl_vmshm.super, side->peer, to, 0, NULL, remote,
                                              size, 0, MCA_BTL_NO_ORDER, on_got, NULL, NULL));
}

void get_until(unsigned int count)
{
    while (got < count) {
        mca_btl_vmshm_component_progress();
    }
}

void require_transferred(const uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; ++i) {
        REQUIRE(byte_of(size, i) == to[i]);
    }
}
