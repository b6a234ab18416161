/* SPDX-License-Identifier: BSD-3-Clause */
/* One turn of progress: rings that are polled, streams, and the work that sends left behind. */
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

/* Polls with a message from one look at everything else to the next (a power of two). */
#define BUSY_TURNS 8
/* So many empty polls in a row make room for others that may want the core (a power of two). */
#define YIELD_EVERY 2048

/* Chunks of streams that are awaited, from whomever. */
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

/* What sends left: callbacks of consumed fragments, fragments that wait for room. */
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
        /* Callbacks send: no lock may be held. */
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

/* Cells that peers have consumed come back when their head is read, which nobody does for a peer to
 * which nothing more is sent: a fragment for another one may wait for just these, or for one that is
 * kept for the next message to somebody. */
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

    /* With threads a poll within a callback returns at once, as vader's does. */
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
    /* While messages come, the rest has its turn now and then. Except when what came may have been
     * taken from a segment that is lost: a program must not see those zeros. */
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
    /* Who has left is let go when nobody reads from him. */
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
    /* The message that is waited for may come from a process that has no core while this one polls.
     * Open MPI yields by itself only if it knows that its node is oversubscribed. */
    if (OPAL_UNLIKELY(yield)) {
        (void) sched_yield();
    }
    return count;
}
