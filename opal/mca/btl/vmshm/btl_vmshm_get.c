/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver's side of large messages: pulling streams and copying their chunks to the user. */
/* Modelled in test/model/streams.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_get.h"
#include "btl_vmshm_check.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_item.h"
#include "btl_vmshm_ob1.h"
#include "btl_vmshm_pack.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <string.h>

/* Most chunks and completions per call for one peer, before other peers get their turn. */
#define TAKE_BUDGET 64

OBJ_CLASS_INSTANCE(mca_btl_vmshm_pull_t, opal_free_list_item_t, NULL, NULL);

int mca_btl_vmshm_get(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
                      void *local_address, uint64_t remote_address,
                      struct mca_btl_base_registration_handle_t *local_handle,
                      struct mca_btl_base_registration_handle_t *remote_handle, size_t size,
                      int flags, int order, mca_btl_base_rdma_completion_fn_t cbfunc,
                      void *cbcontext, void *cbdata)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const struct vmshm_pull message = { remote_handle->number, remote_handle->index };
    mca_btl_vmshm_frag_t *frag;
    mca_btl_vmshm_pull_t *pull;
    int rc = OPAL_SUCCESS;

    (void) remote_address;              /* a stream always is the whole registered buffer */
    (void) flags;
    (void) order;
    pull = (mca_btl_vmshm_pull_t *) mca_btl_vmshm_item_take(&c->pulls);
    frag = mca_btl_vmshm_frag_take(sizeof message, MCA_BTL_DES_FLAGS_BTL_OWNERSHIP, true);
    if (NULL == pull || NULL == frag || NULL == mca_btl_vmshm_streams_of(endpoint)) {
        if (NULL != pull) {
            mca_btl_vmshm_item_give(&c->pulls, &pull->super);
        }
        if (NULL != frag) {
            mca_btl_vmshm_frag_give(frag);
        }
        return OPAL_ERR_OUT_OF_RESOURCE;
    }
    pull->number = message.stream;
    mca_btl_vmshm_buffer_begin(local_address);
    pull->to = local_address;
    pull->size = size;
    pull->done = 0;
    /* ob1 4.1 asks for the whole message even if the receive buffer is shorter, which would overflow the
     * buffer. If get() fails ob1 has the message sent in fragments instead, and can truncate it. */
    pull->status = size == remote_handle->size && mca_btl_vmshm_ob1_fits(cbfunc, cbdata, size)
                   ? OPAL_SUCCESS : OPAL_ERR_NOT_SUPPORTED;
    pull->handle = local_handle;
    pull->cbfunc = cbfunc;
    pull->cbcontext = cbcontext;
    pull->cbdata = cbdata;
    frag->kind = VMSHM_SLOT_PULL;
    memcpy(frag->bytes, &message, sizeof message);
    /* One lock for list and message, so that the peer sees the pulls in the order in which they are served here. */
    OPAL_THREAD_LOCK(&endpoint->streams->pull_lock);
    opal_list_append(&endpoint->streams->pulls, &pull->super.super);
    vmshm_store_release(&endpoint->streams->pulling, true);
    (void) vmshm_fetch_add(&c->pulls_open, 1);
    if (OPAL_SUCCESS == pull->status) {
        rc = mca_btl_vmshm_send(btl, endpoint, &frag->base, 0);
        if (rc < 0) {
            opal_list_remove_item(&endpoint->streams->pulls, &pull->super.super);
            (void) vmshm_fetch_add(&c->pulls_open, -1);
        }
    } else {
        mca_btl_vmshm_frag_give(frag);
    }
    OPAL_THREAD_UNLOCK(&endpoint->streams->pull_lock);
    if (rc < 0) {
        mca_btl_vmshm_frag_give(frag);
        mca_btl_vmshm_item_give(&c->pulls, &pull->super);
        return rc;
    }
    return OPAL_SUCCESS;
}

bool mca_btl_vmshm_channel_accept(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                  const char **why)
{
    const struct vmshm_channel *channel;
    uint32_t mask;

    if (NULL == mca_btl_vmshm_streams_of(endpoint)) {
        struct vmshm_error e;

        vmshm_fail(&e, VMSHM_ERR_SYSTEM, "(memory)", "channel", "out of memory");
        vmshm_peer_unmapped(endpoint->peer->registry, endpoint->peer, &e);
        return false;
    }
    if (NULL != endpoint->streams->channel_in) {
        *why = "the peer already has a channel to this process";
        return false;
    }
    channel = mca_btl_vmshm_check_channel(endpoint, offset, &mask, why);
    if (NULL == channel) {
        return false;
    }
    endpoint->streams->channel_in = channel;
    endpoint->streams->chunks_mask = mask;
    return true;
}

/* The first pull of the list, NULL if there is none. */
static mca_btl_vmshm_pull_t *first_pull(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    mca_btl_vmshm_pull_t *pull = NULL;

    OPAL_THREAD_LOCK(&streams->pull_lock);
    if (opal_list_is_empty(&streams->pulls)) {
        vmshm_store_release(&streams->pulling, false);
    } else {
        pull = (mca_btl_vmshm_pull_t *) opal_list_get_first(&streams->pulls);
    }
    OPAL_THREAD_UNLOCK(&streams->pull_lock);
    return pull;
}

static void complete(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_pull_t *pull)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;

    OPAL_THREAD_LOCK(&streams->pull_lock);
    opal_list_remove_item(&streams->pulls, &pull->super.super);
    OPAL_THREAD_UNLOCK(&streams->pull_lock);
    (void) vmshm_fetch_add(&mca_btl_vmshm_context.pulls_open, -1);
    mca_btl_vmshm_buffer_end(pull->to);
    /* No lock may be held: the callback sends, and may call get() again. */
    pull->cbfunc(&mca_btl_vmshm.super, endpoint, pull->to, pull->handle, pull->cbcontext,
                 pull->cbdata, pull->status);
    mca_btl_vmshm_item_give(&mca_btl_vmshm_context.pulls, &pull->super);
}

/* If the next chunk has been published: copy it to the user's buffer, or drop it if it belongs to another
 * stream than this pull. False: there is none, or the peer is broken. */
static bool take_chunk(mca_btl_vmshm_endpoint_t *endpoint, mca_btl_vmshm_pull_t *pull)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    struct vmshm_chunk chunk;

    if (!mca_btl_vmshm_check_chunk(endpoint, &chunk)) {
        return false;
    }
    if (chunk.stream == pull->number) {
        const uint8_t *from = mca_btl_vmshm_check_place(endpoint, &chunk, pull->done, pull->size);

        if (OPAL_UNLIKELY(NULL == from)) {
            return false;
        }
        mca_btl_vmshm_copy(pull->to + pull->done, from, chunk.length);
        pull->done += chunk.length;
    }
    streams->chunks_in += 1;
    /* Release: our loads from the chunk come before the sender's next stores to the same memory. */
    vmshm_store_release(&endpoint->in.my_head->chunks, streams->chunks_in);
    return true;
}

int mca_btl_vmshm_stream_take(mca_btl_vmshm_endpoint_t *endpoint)
{
    mca_btl_vmshm_streams_t *streams = endpoint->streams;
    mca_btl_vmshm_pull_t *pull;
    int count = 0, spins = 0;

    while (count < TAKE_BUDGET && NULL != (pull = first_pull(endpoint))) {
        if (OPAL_SUCCESS != pull->status || pull->done == pull->size) {
            complete(endpoint, pull);
            ++count;
        } else if (NULL != streams->channel_in && take_chunk(endpoint, pull)) {
            ++count;
            spins = MCA_BTL_VMSHM_STREAM_SPINS;
        } else if (0 == spins-- || !mca_btl_vmshm_is_alive(endpoint)) {
            break;
        }
    }
    return count;
}
