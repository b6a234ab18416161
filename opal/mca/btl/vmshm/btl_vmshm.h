/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BTL vmshm: bytes between virtual machines of one host, through a shared segment.
 *
 * Shapes in shared memory are in vmshm_format.h. What is here is private to the process.
 *
 * Where to look
 *   parameters, start, modex            btl_vmshm_component.c
 *   who can be reached, descriptors     btl_vmshm_module.c
 *   memory of rings and cells           btl_vmshm_arena.c
 *   peers, their proof and windows      btl_vmshm_endpoint.c
 *   making and growing rings            btl_vmshm_open.c
 *   finding rings                       btl_vmshm_listen.c
 *   the sender's half of a ring         btl_vmshm_ring.h, btl_vmshm_send.c, btl_vmshm_sendi.c
 *   the receiver's half                 btl_vmshm_progress.c
 *   large messages                      btl_vmshm_stream.h, btl_vmshm_stream_out.c,
 *                                       btl_vmshm_stream_in.c, btl_vmshm_streams.c
 *   where their bytes stand meanwhile   btl_vmshm_place.c
 *   near and far peers                  btl_vmshm_distance.c
 *   dead and silent peers               btl_vmshm_liveness.c
 *   which of them matter                btl_vmshm_connected.c
 */
#ifndef MCA_BTL_VMSHM_H
#define MCA_BTL_VMSHM_H

#include "opal_config.h"

#include <pthread.h>
#include <stdint.h>

#include "opal/class/opal_free_list.h"
#include "opal/class/opal_list.h"
#include "opal/class/opal_pointer_array.h"
#include "opal/mca/btl/base/base.h"
#include "opal/mca/btl/btl.h"
#include "opal/threads/mutex.h"
#include "opal/util/proc.h"

#include "common_vmshm.h"
#include "vmshm_atomic.h"
#include "vmshm_layout.h"

BEGIN_C_DECLS

/* Most windows of one process: the control window and those that hot pairs made it grow by. */
#define MCA_BTL_VMSHM_MAX_WINDOWS 16

/* Ticks of the monitor for which messages to a new peer wait for the memory of a ring: 10 s. */
#define MCA_BTL_VMSHM_NO_RING_TICKS 20

/* Sizes of what a channel is made of. */
#define MCA_BTL_VMSHM_PIECE_SIZES 4

/* Two sizes of cell: eager messages and fragments of large ones. */
enum { MCA_BTL_VMSHM_CELL_EAGER = 0, MCA_BTL_VMSHM_CELL_MAX = 1, MCA_BTL_VMSHM_CELL_CLASSES = 2 };

struct mca_btl_vmshm_frag_t;
typedef struct mca_btl_vmshm_streams_t mca_btl_vmshm_streams_t;

/* What a slot of our ring holds until the peer has consumed it. */
struct mca_btl_vmshm_inflight_t {
    struct mca_btl_vmshm_frag_t *frag;  /* to complete, or NULL */
    uint64_t cell;                      /* to take back: offset | class, or 0 */
};
typedef struct mca_btl_vmshm_inflight_t mca_btl_vmshm_inflight_t;

/* A window of a peer that this process is registered to read. */
struct mca_btl_vmshm_mapped_t {
    uint64_t offset;
    uint64_t length;
    uint32_t index;
};
typedef struct mca_btl_vmshm_mapped_t mca_btl_vmshm_mapped_t;

/* What liveness found out about a peer; written by the monitor, acted upon in progress. */
enum {
    MCA_BTL_VMSHM_FATE_ALIVE = 0,
    MCA_BTL_VMSHM_FATE_LEFT,            /* it finalized */
    MCA_BTL_VMSHM_FATE_DEAD,            /* its process slot was cleared or taken by another */
    MCA_BTL_VMSHM_FATE_REBOOTED,        /* its VM has another epoch */
    MCA_BTL_VMSHM_FATE_MARKED,          /* the host says the VM is gone */
    MCA_BTL_VMSHM_FATE_SILENT,          /* no heartbeat for btl_vmshm_silence_limit */
    MCA_BTL_VMSHM_FATE_NO_RING,         /* this process has no memory for a ring towards it */
    MCA_BTL_VMSHM_FATE_UNMAPPED,        /* this process cannot map or keep what it wrote */
    MCA_BTL_VMSHM_FATE_BROKEN           /* what it wrote is not what the format allows */
};

/* A peer process, known by Open MPI (add_procs), or heard (its ring was found), or both. */
struct mca_btl_base_endpoint_t {
    opal_list_item_t super;             /* in component.working while it has something to do */
    bool working;                       /* component.lock; read without */
    opal_list_item_t retired_item;      /* in component.retired when its process is no more */
    opal_mutex_t lock;                  /* the sender's half */

    /* The sender's half: our ring towards the peer. */
    struct vmshm_slot *out;             /* NULL until the first message */
    uint64_t tail;                      /* position of the next message */
    uint64_t head;                      /* as last read from the peer */
    uint32_t out_mask;
    uint32_t out_slots;
    const struct vmshm_head *peer_head; /* NULL until the peer has found the ring */
    mca_btl_vmshm_inflight_t *inflight; /* [out_slots] */
    bool *stale;                        /* [out_slots]: not the word of the last lap stands there */
    uint32_t stales;                    /* how many of these are true */
    uint64_t ack;                       /* as of the peer's last message; the poller writes it */
    uint64_t next_cell;                 /* for the next eager message, its lines ours already, or 0 */
    uint32_t cells_sent;                /* since the start: the distance is timed now and then */
    uint32_t cells_out;                 /* of these, not taken back yet */
    bool far;                           /* see btl_vmshm_distance.c */
    uint8_t far_votes;
    uint64_t line_seen;                 /* the sum of what stood in the peer's head, last time read */
    uint32_t callbacks;                 /* fragments in flight that must be completed */
    uint64_t out_offset;                /* of the ring */
    uint64_t old_offset;                /* of the ring before this one, 0: none to take back */
    uint32_t old_slots;
    uint64_t old_last;                  /* position of the switch to the present one */
    opal_list_t pending;                /* fragments that wait for a slot or a cell */
    bool pending_cells;                 /* one of them may have a cell */
    opal_list_t done;                   /* consumed fragments whose callbacks are due */
    uint64_t messages;                  /* sent so far */
    uint64_t bytes;

    /* The receiver's half: the peer's ring towards us. */
    const struct vmshm_slot *in;        /* NULL until found */
    uint64_t position;                  /* of the next message */
    uint32_t in_mask;
    uint32_t taking;                    /* polls, one within the other, that take from it */
    struct vmshm_head *my_head;
    uint64_t consumed;                  /* what my_head says */
    size_t unshown;                     /* bytes taken since then */
    uint64_t head_offset;

    mca_btl_vmshm_streams_t *streams;   /* large messages, both ways; NULL until the first */

    /* Who it is. */
    uint32_t vm;
    uint32_t slot;
    uint32_t generation;
    uint64_t nonce;
    uint64_t epoch;
    uint64_t name;                      /* Open MPI's process name */
    opal_proc_t *proc;                  /* NULL until add_procs */
    int32_t fate;                       /* once it is not alive it stays as it is, but for silence */
    int32_t accused;                    /* 1: the two below are being written, 2: they were */
    const char *broken_field;           /* with FATE_BROKEN */
    const char *broken_why;
    uint32_t no_ring_since;             /* the tick of the monitor, 0: it has a ring or was not asked for one */
    bool attended;                      /* its fate was acted upon; endpoint lock */
    bool untold;                        /* but not told: it is not connected. The poller's */
    mca_btl_vmshm_mapped_t control;     /* its first window, and the further ones of those that grew */
    mca_btl_vmshm_mapped_t *grown;      /* [MCA_BTL_VMSHM_MAX_WINDOWS - 1], NULL until needed */
    uint32_t grown_count;
};
typedef struct mca_btl_base_endpoint_t mca_btl_base_endpoint_t;
typedef struct mca_btl_base_endpoint_t mca_btl_vmshm_endpoint_t;

/* What was read to judge, and what the peer wrote before, is seen by who sees the verdict. */
static inline int32_t mca_btl_vmshm_fate(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return vmshm_load_acquire(&endpoint->fate);
}

static inline bool mca_btl_vmshm_is_alive(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return MCA_BTL_VMSHM_FATE_ALIVE == mca_btl_vmshm_fate(endpoint);
}

/* Nothing more is read that it wrote. */
static inline bool mca_btl_vmshm_is_unread(const mca_btl_vmshm_endpoint_t *endpoint)
{
    return mca_btl_vmshm_fate(endpoint) >= MCA_BTL_VMSHM_FATE_UNMAPPED;
}

/* The first verdict holds. */
static inline void mca_btl_vmshm_fate_set(mca_btl_vmshm_endpoint_t *endpoint, int32_t fate)
{
    int32_t expected = MCA_BTL_VMSHM_FATE_ALIVE;

    (void) vmshm_compare_exchange(&endpoint->fate, &expected, fate);
}

/* So much was sent. Endpoint lock held; the monitor reads it. */
static inline void mca_btl_vmshm_count(mca_btl_vmshm_endpoint_t *endpoint, uint32_t messages,
                                       size_t bytes)
{
    vmshm_store_relaxed(&endpoint->messages, endpoint->messages + messages);
    vmshm_store_relaxed(&endpoint->bytes, endpoint->bytes + bytes);
}

OBJ_CLASS_DECLARATION(mca_btl_vmshm_endpoint_t);

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
    watch->word = &endpoint->in[endpoint->position & endpoint->in_mask].word;
    watch->next = (uint32_t) (endpoint->position + 1);
    watch->idle = 0;
    watch->endpoint = endpoint;
}

struct mca_btl_vmshm_arena_window_t {
    uint64_t offset;
    uint64_t length;
    uint64_t used;
    uint64_t reserved;                  /* for first rings and heads */
    uint32_t index;
};
typedef struct mca_btl_vmshm_arena_window_t mca_btl_vmshm_arena_window_t;

/* Offsets that can be handed out again, last in first out: the warmest comes first. */
struct mca_btl_vmshm_stack_t {
    uint64_t *items;
    uint32_t count;
    uint32_t room;
};
typedef struct mca_btl_vmshm_stack_t mca_btl_vmshm_stack_t;

/* Memory of this process in its own windows. */
struct mca_btl_vmshm_arena_t {
    opal_mutex_t lock;
    mca_btl_vmshm_arena_window_t windows[MCA_BTL_VMSHM_MAX_WINDOWS];
    uint32_t count;
    /* The section gave no further window: why, and when it is asked again, in ticks of the monitor. */
    struct vmshm_error refusal;         /* of the last time */
    bool refused;
    bool refusal_told;
    uint32_t refused_at;
    uint32_t retry_after;               /* 0: ask at once */
    mca_btl_vmshm_stack_t cells[MCA_BTL_VMSHM_CELL_CLASSES];
    size_t cell_bytes[MCA_BTL_VMSHM_CELL_CLASSES];
    mca_btl_vmshm_stack_t rings[32];    /* by log2 of their slots */
    mca_btl_vmshm_stack_t lines;
    struct {
        uint64_t bytes;                 /* 0: unused */
        mca_btl_vmshm_stack_t free;
    } pieces[MCA_BTL_VMSHM_PIECE_SIZES];  /* of channels that came back */
    uint64_t *pool;                     /* [pool_room], first in first out; NULL until needed */
    bool pool_lost;                     /* no memory for the list of its places */
    uint32_t pool_room;
    uint32_t pool_count;
    uint32_t pool_first;
};
typedef struct mca_btl_vmshm_arena_t mca_btl_vmshm_arena_t;

struct mca_btl_vmshm_component_t {
    mca_btl_base_component_3_0_0_t super;

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
    pthread_mutex_t table_lock;         /* what the monitor reads, too: Open MPI knows not of that thread */
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
    const char *lost;                   /* why this process has the segment no more; the monitor writes it */
    bool lost_told;
    bool untold;                        /* there may be endpoints that are; the poller writes it */
    int32_t unmapped_stage;             /* 1: the one below is being written, 2: to be told, 3: told */
    struct vmshm_error unmapped;        /* why a peer's memory cannot be read */
    uint32_t unmapped_ticks;            /* the ticks then */
    uint32_t silent_ticks[VMSHM_MAX_VMS];
    bool silence_noted[VMSHM_MAX_VMS];

    mca_btl_base_module_error_cb_fn_t error_cb;
};
typedef struct mca_btl_vmshm_component_t mca_btl_vmshm_component_t;

struct mca_btl_vmshm_t {
    mca_btl_base_module_t super;
};
typedef struct mca_btl_vmshm_t mca_btl_vmshm_t;

OPAL_MODULE_DECLSPEC extern mca_btl_vmshm_component_t mca_btl_vmshm_component;
extern mca_btl_vmshm_t mca_btl_vmshm;

static inline const struct vmshm_header *mca_btl_vmshm_header(void)
{
    return &mca_btl_vmshm_component.member.segment.header;
}

static inline void *mca_btl_vmshm_at(uint64_t offset)
{
    return vmshm_at(&mca_btl_vmshm_component.member, offset);
}

/* The endpoint at that place of the table, or NULL. For the poller, which alone lets endpoints go; others
 * hold the connect lock or the table lock. */
static inline mca_btl_vmshm_endpoint_t *mca_btl_vmshm_table_at(uint64_t place)
{
    return vmshm_load_acquire(&mca_btl_vmshm_component.table[place]);
}

/* Have progress call mca_btl_vmshm_attend(). What there is to see was stored before. */
static inline void mca_btl_vmshm_alert(void)
{
    vmshm_store_release(&mca_btl_vmshm_component.attention, 1);
}

/* --- btl_vmshm_module.c */
/* What a process published in the modex; false: nothing that we understand. */
bool mca_btl_vmshm_address_get(const opal_process_name_t *name, struct vmshm_address *address);
int mca_btl_vmshm_module_start(void);
void mca_btl_vmshm_module_stop(void);
mca_btl_base_descriptor_t *mca_btl_vmshm_alloc(struct mca_btl_base_module_t *btl,
                                               struct mca_btl_base_endpoint_t *endpoint,
                                               uint8_t order, size_t size, uint32_t flags);
int mca_btl_vmshm_free(struct mca_btl_base_module_t *btl, mca_btl_base_descriptor_t *des);

/* --- btl_vmshm_arena.c: offsets in the segment, 0 when there is no memory. Thread-safe. */
/* first_bytes at the start of the first window are the caller's; it will need vital_bytes for first
 * rings and heads. */
int mca_btl_vmshm_arena_init(mca_btl_vmshm_arena_t *arena, uint64_t first_bytes,
                             uint64_t vital_bytes, size_t eager_bytes, size_t max_bytes,
                             struct vmshm_error *e);
void mca_btl_vmshm_arena_fini(mca_btl_vmshm_arena_t *arena);
/* *cell_class becomes the larger one, if only that has a cell left. */
uint64_t mca_btl_vmshm_cell_take(mca_btl_vmshm_arena_t *arena, int *cell_class);
void mca_btl_vmshm_cell_give(mca_btl_vmshm_arena_t *arena, uint64_t cell, int cell_class);
/* The cell that is kept for the next message to the peer. Endpoint lock held. */
void mca_btl_vmshm_next_cell_give(mca_btl_vmshm_endpoint_t *endpoint);
/* vital: a first ring, without which the peer cannot be talked to. */
uint64_t mca_btl_vmshm_ring_take(mca_btl_vmshm_arena_t *arena, uint32_t slots, bool vital);
void mca_btl_vmshm_ring_give(mca_btl_vmshm_arena_t *arena, uint64_t ring, uint32_t slots);
/* For a head. */
uint64_t mca_btl_vmshm_line_take(mca_btl_vmshm_arena_t *arena);
void mca_btl_vmshm_line_give(mca_btl_vmshm_arena_t *arena, uint64_t line);
/* For a channel or its places: leaves the cells that were set aside and the memory of first rings alone. */
uint64_t mca_btl_vmshm_channel_take(mca_btl_vmshm_arena_t *arena, uint64_t bytes);
void mca_btl_vmshm_channel_give(mca_btl_vmshm_arena_t *arena, uint64_t channel, uint64_t bytes);
/* Did the section refuse a further window? True once; *e says why. */
bool mca_btl_vmshm_arena_refusal(mca_btl_vmshm_arena_t *arena, struct vmshm_error *e);
/* Memory of MCA_BTL_VMSHM_POOL_CHUNK bytes out of btl_vmshm_pool_size: that which was not used for
 * longest, so that nobody has its lines in a small cache any more. */
uint64_t mca_btl_vmshm_pool_take(mca_btl_vmshm_arena_t *arena);
void mca_btl_vmshm_pool_give(mca_btl_vmshm_arena_t *arena, uint64_t place);

/* --- btl_vmshm_endpoint.c */
/* The endpoint of that very process, made if need be after proof; NULL and *e if not proven. */
mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_get(const struct vmshm_address *address,
                                                     struct vmshm_error *e);
/* The same for add_procs: the upper layer has the endpoint until mca_btl_vmshm_endpoint_drop(). */
mca_btl_vmshm_endpoint_t *mca_btl_vmshm_endpoint_add(const struct vmshm_address *address,
                                                     opal_proc_t *proc, struct vmshm_error *e);
void mca_btl_vmshm_endpoint_drop(mca_btl_vmshm_endpoint_t *endpoint, const opal_proc_t *proc);
/* Where [offset, offset + length) of a peer's window is mapped. NULL: it is not the peer's, or it cannot be
 * mapped here. Then that is the peer's fate already, and mca_btl_vmshm_peer_broken() changes nothing. */
const void *mca_btl_vmshm_peer_memory(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                      uint64_t length);
/* Stop reading from the endpoint, and sending to it: off the rosters, no reader of its windows any more.
 * Called by the poller only. */
void mca_btl_vmshm_endpoint_unmap(mca_btl_vmshm_endpoint_t *endpoint);

/* --- btl_vmshm_open.c */
/* Make the ring towards the peer and ring its bell. Endpoint lock held. */
int mca_btl_vmshm_ring_open(mca_btl_vmshm_endpoint_t *endpoint);
/* No room for a message of so many slots, as far as we know: look at the peer's head, grow. False:
 * still no room. Endpoint lock held. */
bool mca_btl_vmshm_ring_relieve(mca_btl_vmshm_endpoint_t *endpoint, uint32_t slots);
/* Everything before `head` has been consumed: take it back. Endpoint lock held. */
void mca_btl_vmshm_reclaim_to(mca_btl_vmshm_endpoint_t *endpoint, uint64_t head);
/* Read the peer's head anew; takes back cells, moves consumed fragments to `done`. Endpoint lock
 * held. */
void mca_btl_vmshm_reclaim(mca_btl_vmshm_endpoint_t *endpoint);

/* --- btl_vmshm_distance.c */
/* Time how long it takes to read a line that the peer wrote, and judge by it. Endpoint lock held. */
void mca_btl_vmshm_distance_sample(mca_btl_vmshm_endpoint_t *endpoint);
/* Learn how long a tick of the processor's counter is. Called by the monitor. */
void mca_btl_vmshm_distance_clock(void);

/* --- btl_vmshm_listen.c */
/* Look at one VM's bell, take the rings that are for us. Called by the poller only. */
void mca_btl_vmshm_listen(uint32_t vm);
/* Read from the ring that the peer has for us, if it has one. Called by the poller only. */
void mca_btl_vmshm_ring_accept(mca_btl_vmshm_endpoint_t *endpoint);
/* Follow the peer to its next ring. False: the peer is broken, *why says how. */
bool mca_btl_vmshm_ring_follow(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                               uint64_t first, const char **why);
/* Accept processes that hold this key. */
void mca_btl_vmshm_key_add(const uint8_t key[16]);

/* --- btl_vmshm_send.c */
int mca_btl_vmshm_send(struct mca_btl_base_module_t *btl,
                       struct mca_btl_base_endpoint_t *endpoint,
                       struct mca_btl_base_descriptor_t *descriptor, mca_btl_base_tag_t tag);
/* Try the pending fragments again. Endpoint lock held. */
void mca_btl_vmshm_flush(mca_btl_vmshm_endpoint_t *endpoint);
/* Have progress visit the endpoint. */
void mca_btl_vmshm_work_on(mca_btl_vmshm_endpoint_t *endpoint);

/* --- btl_vmshm_sendi.c */
int mca_btl_vmshm_sendi(struct mca_btl_base_module_t *btl,
                        struct mca_btl_base_endpoint_t *endpoint,
                        struct opal_convertor_t *convertor, void *header, size_t header_size,
                        size_t payload_size, uint8_t order, uint32_t flags,
                        mca_btl_base_tag_t tag, mca_btl_base_descriptor_t **descriptor);

/* --- btl_vmshm_progress.c */
int mca_btl_vmshm_component_progress(void);
/* Deliver what stands in the endpoint's ring, at most `budget` messages. */
int mca_btl_vmshm_poll(mca_btl_vmshm_endpoint_t *endpoint, int budget);

/* --- btl_vmshm_liveness.c */
int mca_btl_vmshm_monitor_start(void);
void mca_btl_vmshm_monitor_stop(void);
/* Act on changed fates. Called from progress. */
void mca_btl_vmshm_attend(void);
/* What the peer wrote is not what the format allows: it is logged and given up in the next
 * mca_btl_vmshm_attend(). Unless its process is gone: then that is its fate, and what was read may be
 * anybody's. Any lock may be held. */
void mca_btl_vmshm_peer_broken(mca_btl_vmshm_endpoint_t *endpoint, const char *field,
                               const char *why);

/* What a peer wrote cannot be read for want of something that this process has no more of: told, and the
 * job ended, in the next mca_btl_vmshm_attend(). endpoint: NULL if there is none yet. Any lock may be held. */
void mca_btl_vmshm_unmapped(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_error *e);

/* --- btl_vmshm_connected.c */
/* Is the process of this job, or in a communicator of this process? With threads: true of all. */
bool mca_btl_vmshm_is_connected(const opal_process_name_t *name);

/* --- btl_vmshm_report.c */
/* Ranks of the job, 0: unknown. */
uint32_t mca_btl_vmshm_job_size(void);
/* Is vmshm named in the list of BTLs? */
bool mca_btl_vmshm_is_asked_for(void);
/* Is no BTL asked for that could serve another VM if this one cannot? */
bool mca_btl_vmshm_is_alone(void);
/* End the job if vmshm is alone and the job has ranks on other nodes. */
void mca_btl_vmshm_end_if_alone(void);
/* Log the failure to start; ends the job if nothing else could serve it. */
void mca_btl_vmshm_unusable(const struct vmshm_error *e);
/* Log, once, that a peer of this host cannot be reached; ends the job if nothing else could. */
void mca_btl_vmshm_unreachable(const struct opal_proc_t *proc, const struct vmshm_error *e);
/* After the modex: print the map, check the peers if vmshm is alone. Once. */
void mca_btl_vmshm_survey(void);
/* Printable name of a peer. */
void mca_btl_vmshm_peer_name(const mca_btl_vmshm_endpoint_t *endpoint, char *text, size_t bytes);

END_C_DECLS

#endif
