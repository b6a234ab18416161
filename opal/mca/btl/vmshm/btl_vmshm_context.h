/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Process-wide state of the transport: everything that does not belong to a single peer.
 */
#ifndef MCA_BTL_VMSHM_CONTEXT_H
#define MCA_BTL_VMSHM_CONTEXT_H

#include "btl_vmshm_endpoint.h"
#include "btl_vmshm_memory.h"

/* What polling needs to know of a ring: the slot of its next message, and that message's sequence number. */
struct mca_btl_vmshm_watch_t {
    const struct vmshm_slot *slot;
    uint32_t next;                      /* sequence number of the next message */
    uint32_t idle;                      /* consecutive polls without a message */
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

    uint32_t ranks;                     /* in the job, 0: unknown */
    struct vmshm_attached *attached;    /* shared with the other components of the process */
    uint8_t *base;                      /* of the segment; base and alerts are copied from `attached` for speed */
    const uint32_t *alerts;             /* counter of alerts */
    uint32_t alerts_seen;               /* value of *alerts up to which they were handled; written by the poller */
    mca_btl_vmshm_memory_t memory;
    opal_free_list_t frags;
    opal_free_list_t streams;
    opal_free_list_t pulls;
    int32_t pulls_open;                 /* pulls in progress, for all peers */
    bool active;                        /* segment joined, module in use */

    opal_mutex_t connect_lock;          /* serializes the creation of endpoints */
    pthread_mutex_t table_lock;         /* the next four, and our entries in the tables of rings and heads; no
                                         * opal_mutex_t: the monitor thread, unknown to Open MPI, takes it too */
    mca_btl_vmshm_endpoint_t **table;   /* [vms * procs], the endpoint of the current process of each slot */
    opal_list_t retired;                /* endpoints of earlier processes of the slots, until they are cleaned up */
    uint64_t gone_messages;             /* sent to endpoints that are no longer in `table` or `retired` */
    uint64_t gone_bytes;

    opal_mutex_t lock;                  /* protects `working` */
    opal_list_t working;                /* endpoints that progress must visit */
    uint32_t working_count;             /* length of `working`, read without the lock */
    bool starved;                       /* a fragment found no cell: read every peer's head */

    /* Rings to poll: hot ones in each poll, cold ones (silent for a while) in turn. */
    mca_btl_vmshm_watch_t *hot;
    mca_btl_vmshm_watch_t *cold;
    uint32_t hot_count;
    uint32_t cold_count;
    uint32_t roster_room;
    uint32_t cold_next;
    uint32_t bell_next;
    const uint32_t *bell[VMSHM_MAX_VMS];  /* the bell that each VM has for this process */
    uint32_t bells[VMSHM_MAX_VMS];      /* value of each bell when last read */
    uint8_t unheard[VMSHM_MAX_VMS];     /* 1: a process there has a job key that we lack, 2: look again; see key_add */
    uint32_t quiet;                     /* consecutive polls that found nothing */
    uint32_t busy;                      /* polls that found something */
    volatile int32_t polling;           /* depth of nested polls; only one thread polls at a time */

    /* job keys of the processes whose rings are accepted; connect lock */
    uint8_t (*keys)[16];
    uint32_t key_count;

    /* liveness */
    bool lost_told;                     /* the loss of the segment was reported */
    bool untold;                        /* some endpoint may have its `untold` set; written by the poller */
    bool silence_noted[VMSHM_MAX_VMS];  /* the user was warned of this VM's silence */

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

/* Process slots of the whole segment. */
static inline uint64_t mca_btl_vmshm_proc_slots(void)
{
    return (uint64_t) mca_btl_vmshm_header()->vms * mca_btl_vmshm_header()->procs;
}

static inline void *mca_btl_vmshm_at(uint64_t offset)
{
    return mca_btl_vmshm_context.base + offset;
}

/* The endpoint at that index of the table, or NULL. The poller may call this without a lock, because only the
 * poller releases endpoints; other threads must hold the connect lock or the table lock. */
static inline mca_btl_vmshm_endpoint_t *mca_btl_vmshm_table_at(uint64_t place)
{
    return vmshm_load_acquire(&mca_btl_vmshm_context.table[place]);
}

/* The endpoint that an item of the list `retired` belongs to. */
static inline mca_btl_vmshm_endpoint_t *mca_btl_vmshm_retired(opal_list_item_t *item)
{
    return (mca_btl_vmshm_endpoint_t *) ((char *) item - offsetof(mca_btl_vmshm_endpoint_t, retired_item));
}

/* Have progress call mca_btl_vmshm_attend(). Before the call, store everything that it has to handle. */
static inline void mca_btl_vmshm_alert(void)
{
    vmshm_alert(&mca_btl_vmshm_context.attached->events);
}

/* Were there alerts since the last mca_btl_vmshm_attend()? */
static inline bool mca_btl_vmshm_is_alerted(void)
{
    return vmshm_load_relaxed(mca_btl_vmshm_context.alerts) != mca_btl_vmshm_context.alerts_seen;
}

#endif
