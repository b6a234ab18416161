/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the process has of all its peers together.
 */
#ifndef MCA_BTL_VMSHM_CONTEXT_H
#define MCA_BTL_VMSHM_CONTEXT_H

#include "btl_vmshm_endpoint.h"
#include "btl_vmshm_memory.h"

/* What a poll needs to know of a ring: where its next message will be published, and as what. */
struct mca_btl_vmshm_watch_t {
    const struct vmshm_slot *slot;
    uint32_t next;                      /* the number that will stand there */
    uint32_t idle;                      /* polls in a row without a message */
    mca_btl_vmshm_endpoint_t *endpoint;
};
typedef struct mca_btl_vmshm_watch_t mca_btl_vmshm_watch_t;

struct mca_btl_vmshm_context_t {
    /* parameters */
    bool intra_vm;
    bool report;
    size_t window_size;
    unsigned int max_windows;
    unsigned int ring_slots;
    unsigned int ring_slots_max;
    unsigned int far_ns;
    size_t pool_size;
    unsigned int silence_warning;       /* s */
    unsigned int silence_limit;         /* s, 0: never */

    uint32_t ranks;                     /* of the job, 0: unknown */
    struct vmshm_attached *attached;    /* what the process shares with other components */
    uint8_t *base;                      /* of the segment; these two are the attached one's, for speed */
    const uint32_t *alerts;
    uint32_t alerts_seen;               /* the poller's: of these it has looked at what was new */
    mca_btl_vmshm_memory_t memory;
    opal_free_list_t frags;
    opal_free_list_t streams;
    opal_free_list_t pulls;
    int32_t pulls_open;                 /* streams that are awaited, of all peers */
    bool active;                        /* joined, module in use */

    opal_mutex_t connect_lock;          /* one endpoint is made at a time */
    pthread_mutex_t table_lock;         /* the monitor's thread, which Open MPI does not know, takes it, too */
    mca_btl_vmshm_endpoint_t **table;   /* [vms * procs], the present process of each slot */
    opal_list_t retired;                /* endpoints of earlier ones, until they are attended to */
    uint64_t gone_messages;             /* sent to those that are not on it any more */
    uint64_t gone_bytes;

    opal_mutex_t lock;
    opal_list_t working;
    uint32_t working_count;             /* of that list, read without the lock */
    bool starved;              /* a fragment found no cell: look at every peer's head */

    /* Rings that are polled: every time while messages come, in turn while they are silent. */
    mca_btl_vmshm_watch_t *hot;
    mca_btl_vmshm_watch_t *cold;
    uint32_t hot_count;
    uint32_t cold_count;
    uint32_t roster_room;
    uint32_t cold_next;
    uint32_t bell_next;
    const uint32_t *bell[VMSHM_MAX_VMS];  /* that each VM has for this process */
    uint32_t bells[VMSHM_MAX_VMS];      /* as last heard */
    uint8_t unheard[VMSHM_MAX_VMS];     /* 1: somebody there has a key we lack, 2: look again; see key_add */
    uint32_t quiet;                     /* polls in a row that found nothing */
    uint32_t busy;                      /* polls that found something */
    volatile int32_t polling;           /* polls, one within the other; one thread polls at a time */

    /* job keys whose processes may be heard; connect lock */
    uint8_t (*keys)[16];
    uint32_t key_count;

    /* liveness */
    bool lost_told;
    bool untold;                        /* there may be endpoints that are; the poller writes it */
    bool silence_noted[VMSHM_MAX_VMS];  /* users were told */

    mca_btl_base_module_error_cb_fn_t error_cb;
};
typedef struct mca_btl_vmshm_context_t mca_btl_vmshm_context_t;

extern mca_btl_vmshm_context_t mca_btl_vmshm_context;

static inline struct vmshm_member *mca_btl_vmshm_member(void)
{
    return &mca_btl_vmshm_context.attached->member;
}

static inline const struct vmshm_header *mca_btl_vmshm_header(void)
{
    return &mca_btl_vmshm_member()->segment.header;
}

/* Processes that the segment has room for. */
static inline uint64_t mca_btl_vmshm_places(void)
{
    return (uint64_t) mca_btl_vmshm_header()->vms * mca_btl_vmshm_header()->procs;
}

static inline void *mca_btl_vmshm_at(uint64_t offset)
{
    return mca_btl_vmshm_context.base + offset;
}

/* The endpoint at that place of the table, or NULL. For the poller, which alone lets endpoints go; others
 * hold the connect lock or the table lock. */
static inline mca_btl_vmshm_endpoint_t *mca_btl_vmshm_table_at(uint64_t place)
{
    return vmshm_load_acquire(&mca_btl_vmshm_context.table[place]);
}

/* Of an item of the list of retired ones. */
static inline mca_btl_vmshm_endpoint_t *mca_btl_vmshm_retired(opal_list_item_t *item)
{
    return (mca_btl_vmshm_endpoint_t *) ((char *) item - offsetof(mca_btl_vmshm_endpoint_t, retired_item));
}

/* Have progress call mca_btl_vmshm_attend(). What there is to see was stored before. */
static inline void mca_btl_vmshm_alert(void)
{
    vmshm_alert(&mca_btl_vmshm_context.attached->events);
}

/* Is there something to attend to? */
static inline bool mca_btl_vmshm_is_alerted(void)
{
    return vmshm_load_relaxed(mca_btl_vmshm_context.alerts) != mca_btl_vmshm_context.alerts_seen;
}

#endif
