/* SPDX-License-Identifier: BSD-3-Clause */
#include "opal_config.h"

#include "btl_vmshm_stream.h"

#include <string.h>

static void streams_construct(mca_btl_vmshm_streams_t *streams)
{
    memset((char *) streams + sizeof streams->super, 0, sizeof *streams - sizeof streams->super);
    OBJ_CONSTRUCT(&streams->table, opal_pointer_array_t);
    OBJ_CONSTRUCT(&streams->offered, opal_list_t);
    OBJ_CONSTRUCT(&streams->awaited, opal_list_t);
    OBJ_CONSTRUCT(&streams->running, opal_list_t);
    OBJ_CONSTRUCT(&streams->pulls, opal_list_t);
    OBJ_CONSTRUCT(&streams->pull_lock, opal_mutex_t);
}

static void streams_destruct(mca_btl_vmshm_streams_t *streams)
{
    OBJ_DESTRUCT(&streams->table);
    OBJ_DESTRUCT(&streams->offered);
    OBJ_DESTRUCT(&streams->awaited);
    OBJ_DESTRUCT(&streams->running);
    OBJ_DESTRUCT(&streams->pulls);
    OBJ_DESTRUCT(&streams->pull_lock);
}

OBJ_CLASS_INSTANCE(mca_btl_vmshm_streams_t, opal_object_t, streams_construct, streams_destruct);

mca_btl_vmshm_streams_t *mca_btl_vmshm_streams_of(mca_btl_vmshm_endpoint_t *endpoint)
{
    OPAL_THREAD_LOCK(&endpoint->lock);
    if (OPAL_UNLIKELY(NULL == endpoint->streams)) {
        /* Release: the poller reads it without the lock. */
        vmshm_store_release(&endpoint->streams, OBJ_NEW(mca_btl_vmshm_streams_t));
    }
    OPAL_THREAD_UNLOCK(&endpoint->lock);
    return endpoint->streams;
}
