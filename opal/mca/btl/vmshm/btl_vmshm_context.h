/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the process has of all its peers together.
 */
#ifndef MCA_BTL_VMSHM_CONTEXT_H
#define MCA_BTL_VMSHM_CONTEXT_H

#include "btl_vmshm_arena.h"
#include "btl_vmshm_endpoint.h"

/* What a poll needs to know of a ring: where its next message will be published, and as what. */
struct mca_btl_vmshm_watch_t {
    const uint64_t *word;
    uint32_t next;                      /* the sequence that will stand there */
    uint32_t idle;                      /* polls in a row without a message */
    mca_btl_vmshm_endpoint_t *endpoint;
};
typedef struct mca_btl_vmshm_watch_t mca_btl_vmshm_watch_t;

static inline void mca_btl_vmshm_watch_set(mca_btl_vmshm_watch_t *watch,
                                           mca_btl_vmshm_endpoint_t *endpoint)
{
    watch->word = &endpoint->in.ring[endpoint->in.position & endpoint->in.mask].word;
    watch->next = (uint32_t) (endpoint->in.position + 1);
    watch->idle = 0;
    watch->endpoint = endpoint;
}

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
    struct vmshm_member member;
    mca_btl_vmshm_arena_t arena;
    opal_free_list_t frags;
    opal_free_list_t streams;
    opal_free_list_t pulls;
    int32_t pulls_open;                 /* streams that are awaited, of all peers */
    bool active;                        /* joined, module in use */

    opal_mutex_t connect_lock;          /* one endpoint is made at a time */
    pthread_mutex_t table_lock;         /* the monitor, of which Open MPI does not know, takes it, too */
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
    int32_t attention;                  /* there is something to attend to: mca_btl_vmshm_alert */

    /* job keys whose processes may be heard; connect lock */
    uint8_t (*keys)[16];
    uint32_t key_count;

    /* liveness */
    pthread_t monitor;
    bool monitoring;
    uint32_t ticks;                     /* of the monitor, from 1 on */
    bool stop;                          /* monitor lock */
    pthread_mutex_t monitor_lock;
    pthread_cond_t monitor_cond;
    const char *lost;                   /* why this process no longer has the segment; the monitor writes it */
    bool lost_told;
    bool untold;                        /* there may be endpoints that are; the poller writes it */
    int32_t unmapped_stage;             /* 1: the one below is being written, 2: to be told, 3: told */
    struct vmshm_error unmapped;        /* why a peer's memory cannot be read */
    uint32_t unmapped_ticks;            /* the ticks then */
    uint32_t silent_ticks[VMSHM_MAX_VMS];
    bool silence_noted[VMSHM_MAX_VMS];

    mca_btl_base_module_error_cb_fn_t error_cb;
};
typedef struct mca_btl_vmshm_context_t mca_btl_vmshm_context_t;

extern mca_btl_vmshm_context_t mca_btl_vmshm_context;

static inline const struct vmshm_header *mca_btl_vmshm_header(void)
{
    return &mca_btl_vmshm_context.member.segment.header;
}

static inline void *mca_btl_vmshm_at(uint64_t offset)
{
    return vmshm_at(&mca_btl_vmshm_context.member, offset);
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
    vmshm_store_release(&mca_btl_vmshm_context.attention, 1);
}

#endif
