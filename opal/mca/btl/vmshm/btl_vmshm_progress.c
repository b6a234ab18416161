/* SPDX-License-Identifier: BSD-3-Clause */
/* The progress function: polls rings, takes chunks of streams, and continues sends that could not complete. */
#include "opal_config.h"

#include "btl_vmshm_progress.h"
#include "btl_vmshm_attend.h"
#include "btl_vmshm_connect.h"
#include "btl_vmshm_frag.h"
#include "btl_vmshm_get.h"
#include "btl_vmshm_poll.h"
#include "btl_vmshm_push.h"
#include "btl_vmshm_ring.h"
#include "btl_vmshm_send.h"

#include <sched.h>

/* While messages arrive, only one of this many polls does the rest of progress (a power of two). */
#define BUSY_TURNS 8
/* Yield the core after this many consecutive empty polls (a power of two). */
#define YIELD_EVERY 2048

/* Take chunks from all peers that we have pulls for. */
static int take_streams(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    int count = 0;

    for (uint32_t i = 0; i < c->hot_count + c->cold_count; ++i) {
        mca_btl_vmshm_endpoint_t *endpoint = i < c->hot_count ? c->hot[i].endpoint
                                             : c->cold[i - c->hot_count].endpoint;

        const mca_btl_vmshm_streams_t *streams = vmshm_load_acquire(&endpoint->streams);

        if (NULL != streams && vmshm_load_acquire(&streams->pulling)) {
            count += mca_btl_vmshm_stream_take(endpoint);
        }
    }
    return count;
}

/* Visit the endpoints in `working`: flush pending fragments, push streams, call callbacks of consumed fragments. */
static int work(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    size_t rounds;
    int count = 0;

    OPAL_THREAD_LOCK(&c->lock);
    rounds = opal_list_get_size(&c->working);
    OPAL_THREAD_UNLOCK(&c->lock);
    while (rounds-- > 0) {
        mca_btl_vmshm_endpoint_t *endpoint;
        opal_list_t done;

        OPAL_THREAD_LOCK(&c->lock);
        endpoint = (mca_btl_vmshm_endpoint_t *) opal_list_remove_first(&c->working);
        if (NULL != endpoint) {
            vmshm_store_relaxed(&endpoint->working, false);
            vmshm_store_relaxed(&c->working_count, c->working_count - 1);
        }
        OPAL_THREAD_UNLOCK(&c->lock);
        if (NULL == endpoint) {
            break;
        }
        OBJ_CONSTRUCT(&done, opal_list_t);
        OPAL_THREAD_LOCK(&endpoint->lock);
        mca_btl_vmshm_reclaim(endpoint);
        mca_btl_vmshm_flush(endpoint);
        if (mca_btl_vmshm_stream_wants(endpoint)) {
            count += mca_btl_vmshm_stream_push(endpoint);
        }
        opal_list_join(&done, opal_list_get_end(&done), &endpoint->out.done);
        if (!endpoint->attended
            && (endpoint->out.callbacks > 0 || !opal_list_is_empty(&endpoint->out.pending)
                || mca_btl_vmshm_stream_wants(endpoint))) {
            mca_btl_vmshm_work_on(endpoint);
        }
        OPAL_THREAD_UNLOCK(&endpoint->lock);
        /* No lock may be held: callbacks send. */
        while (!opal_list_is_empty(&done)) {
            mca_btl_vmshm_frag_complete(endpoint, (mca_btl_vmshm_frag_t *)
                                        opal_list_remove_first(&done), OPAL_SUCCESS);
            ++count;
        }
        OBJ_DESTRUCT(&done);
        OBJ_RELEASE(endpoint);
    }
    return count;
}

/* Consumed cells are freed only when the peer's head is read, which does not happen for a peer to which
 * nothing more is sent. So if a fragment for any peer lacks a cell, read all heads, and also free the cells
 * that are kept for the next message to each peer. */
static void reclaim_everywhere(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const uint64_t places = (uint64_t) mca_btl_vmshm_header()->vms
                            * mca_btl_vmshm_header()->procs;

    vmshm_store_relaxed(&c->starved, false);
    for (uint64_t i = 0; i < places; ++i) {
        mca_btl_vmshm_endpoint_t *endpoint = mca_btl_vmshm_table_at(i);

        if (NULL == endpoint) {
            continue;
        }
        OPAL_THREAD_LOCK(&endpoint->lock);
        if (endpoint->out.tail != endpoint->out.head || 0 != endpoint->out.next_cell) {
            mca_btl_vmshm_next_cell_give(endpoint);
            mca_btl_vmshm_reclaim(endpoint);
            if (!opal_list_is_empty(&endpoint->out.done)) {
                mca_btl_vmshm_work_on(endpoint);
            }
        }
        OPAL_THREAD_UNLOCK(&endpoint->lock);
    }
}

int mca_btl_vmshm_component_progress(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    bool nested = false, yield = false;
    int count;

    /* With threads a nested call returns at once, as in vader. */
    if (opal_using_threads()) {
        if (0 != __atomic_exchange_n(&c->polling, 1, __ATOMIC_ACQUIRE)) {
            return 0;
        }
    } else if (MCA_BTL_VMSHM_MOST_NESTED == c->polling) {
        return 0;
    } else {
        nested = c->polling++ > 0;
    }

    count = OPAL_UNLIKELY(nested) ? mca_btl_vmshm_poll_nested() : mca_btl_vmshm_poll_hot();
    /* While messages arrive, the rest is done only now and then. But do not skip it after an alert: if the
     * segment is lost, what arrived may be zeros, which the program must not see. */
    if (count > 0 && 0 == vmshm_load_relaxed(&c->working_count) && 0 == vmshm_load_relaxed(&c->pulls_open)
        && 0 != (++c->busy & (BUSY_TURNS - 1)) && OPAL_LIKELY(!mca_btl_vmshm_is_alerted())) {
        c->quiet = 0;
        goto out;
    }
    if (0 != c->cold_count && !nested) {
        count += mca_btl_vmshm_poll_cold();
    }
    if (0 != vmshm_load_relaxed(&c->pulls_open)) {
        count += take_streams();
    }
    if (OPAL_UNLIKELY(vmshm_load_relaxed(&c->starved))) {
        reclaim_everywhere();
    }
    if (0 != vmshm_load_relaxed(&c->working_count)) {
        count += work();
    }
    if (++c->bell_next >= mca_btl_vmshm_header()->vms) {
        c->bell_next = 0;
    }
    mca_btl_vmshm_listen(c->bell_next);
    /* Not in a nested call, because the outer callback may still be reading a departed peer's memory. */
    if (OPAL_UNLIKELY(mca_btl_vmshm_is_alerted()) && !nested) {
        mca_btl_vmshm_attend();
    }
    if (count > 0) {
        c->quiet = 0;
    } else {
        yield = 0 == (++c->quiet & (YIELD_EVERY - 1));
    }

out:
    vmshm_store_release(&c->polling, vmshm_load_relaxed(&c->polling) - 1);
    /* The sender of the message that we wait for may need this core in order to run. Open MPI itself
     * yields only if it knows that its node is oversubscribed. */
    if (OPAL_UNLIKELY(yield)) {
        (void) sched_yield();
    }
    return count;
}
