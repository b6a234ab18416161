/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The layout of a vmshm segment, and who writes and reads its parts.
 *
 * Every byte has exactly one writer: only the host writes the header, a virtual machine its own section, a process
 * its own windows. Everything is little-endian; every offset is a u64 in bytes from the base of the segment unless
 * its comment says otherwise; there are no pointers. Data that another machine wrote is untrusted input: copy it to
 * private memory, check the copy, then use the copy.
 *
 *   0                                                              total_bytes
 *   +--------+----------------------+----------------------+-------+
 *   | header | section of VM 0      | section of VM 1      | ...   |
 *   +--------+----------------------+----------------------+-------+
 *    host     VM 0 writes            VM 1 writes
 *
 * Header (VMSHM_HEADER_BYTES, host):
 *   0x0000  struct vmshm_header
 *   0x0400  struct vmshm_section_entry [VMSHM_MAX_VMS]
 *   0x2000  struct vmshm_vm_mark       [VMSHM_MAX_VMS]   (not under the checksum: it changes)
 *
 * Section (offsets within it come from vmshm_layout.h):
 *   +---------+-----------+-------------+--------+------------+---------------------------+
 *   | struct  | processes | windows     | bells  | reader     | heap: windows, in units   |
 *   | section | [procs]   | [windows]   | [vms]  | table      | of VMSHM_GRANULE_BYTES    |
 *   | 4 KiB   | 128 B     | 64 B        |[procs] | [procs]    |                           |
 *   +---------+-----------+-------------+--------+------------+---------------------------+
 *
 * Control window (the first window of a process, filled by the byte transport):
 *   +---------------+------------------+------------------+--------------------------------+
 *   | window header | outgoing rings   | incoming heads   | rings, heads and cells         |
 *   | 64 B          | u64 [vms][procs] | u64 [vms][procs] |                                |
 *   +---------------+------------------+------------------+--------------------------------+
 *
 * Ring (in the sender's window) and its head (in the receiver's window):
 *   +-------------+------+------+------+-----+        +--------------------+
 *   | ring header | slot | slot | slot | ... |        | nonce, head        |
 *   | 64 B        | 32 B | 32 B | 32 B |     |        | 64 B               |
 *   +-------------+------+------+------+-----+        +--------------------+
 *   Two slots are a cache line. A message takes one or more consecutive slots: an 8-byte word that
 *   publishes it, then its bytes.
 */
#ifndef VMSHM_FORMAT_H
#define VMSHM_FORMAT_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/limits.h>
#include <linux/stddef.h>
#include <linux/types.h>
#ifndef UINT32_C
#define UINT32_C(n) n##U
#define UINT64_C(n) n##ULL
#endif
#ifndef UINT32_MAX
#define UINT32_MAX U32_MAX
#endif
#else
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define VMSHM_MAGIC            UINT64_C(0x314745534D48534D)  /* "MSHMSEG1" */
#define VMSHM_SECTION_MAGIC    UINT64_C(0x314345534D48534D)  /* "MSHMSEC1" */
#define VMSHM_WINDOW_MAGIC     UINT64_C(0x314E49574D48534D)  /* "MSHMWIN1" */
#define VMSHM_RING_MAGIC       UINT32_C(0x474E4952)          /* "RING" */
#define VMSHM_FORMAT_VERSION   4u

#define VMSHM_LINE_BYTES       64u                           /* a cache line */
#define VMSHM_MAX_VMS          64u
#define VMSHM_MAX_PROCS        1024u                         /* per VM */
#define VMSHM_MAX_WINDOWS      4096u                         /* per VM */
#define VMSHM_HEADER_BYTES     UINT64_C(0x200000)            /* before the first section */
#define VMSHM_CHECKED_BYTES    0x2000u                       /* the checksum covers [0, this) */
#define VMSHM_TABLE_OFFSET     0x400u
#define VMSHM_MARK_OFFSET      0x2000u
#define VMSHM_ALIGN_BYTES      UINT64_C(0x200000)            /* sections and their heaps: 2 MiB */
#define VMSHM_GRANULE_BYTES    UINT64_C(0x10000)             /* windows: 64 KiB */
#define VMSHM_NO_NUMA          UINT32_MAX

/* ---------------------------------------------------------------- header, written by the host */

struct vmshm_header {
    uint64_t magic;
    uint32_t version;           /* VMSHM_FORMAT_VERSION; another number means another layout */
    uint32_t checked_bytes;     /* VMSHM_CHECKED_BYTES */
    uint64_t checksum;          /* FNV-1a, 64 bit, of [0, checked_bytes) with this field zero */
    uint8_t  segment_uuid[16];  /* drawn anew by each `vmshmctl create` */
    uint8_t  node_uuid[16];     /* the host's machine id */
    uint64_t total_bytes;       /* of the whole segment */
    uint64_t page_bytes;        /* of the host memory behind it: 4096, 2 MiB, 1 GiB */
    uint64_t created_sec;       /* host's wall clock, for diagnosis only */
    uint32_t vms;               /* sections in the table, VM ids 0 .. vms-1 */
    uint32_t procs;             /* process slots per section */
    uint32_t windows;           /* window slots per section, a multiple of 64 */
    uint32_t reserved;
};

struct vmshm_section_entry {
    uint64_t offset;
    uint64_t length;            /* 0: this VM has no section */
    uint64_t open_offset;       /* from the section's start; [open_offset, length) is the open half,
                                   which peers of the same job may map read-write */
    uint32_t vm_id;
    uint32_t numa_node;         /* host node the memory is bound to, or VMSHM_NO_NUMA */
    uint8_t  reserved[32];
};

/* The host's view of a VM, which a libvirt hook sets with `vmshmctl mark-vm`. */
enum { VMSHM_MARK_UNKNOWN = 0, VMSHM_MARK_UP = 1, VMSHM_MARK_GONE = 2 };

struct vmshm_vm_mark {
    uint32_t mark;
    uint32_t changes;           /* number of marks set so far */
    uint64_t changed_sec;       /* host's wall clock */
    uint32_t gone;              /* how often the VM was marked as gone; written after the mark */
    uint8_t  reserved[44];
};

/* ------------------------------------------------------------- section, written by its own VM */

enum { VMSHM_SECTION_NEVER = 0, VMSHM_SECTION_UP = 1, VMSHM_SECTION_LEAVING = 2 };

struct vmshm_section {
    uint64_t magic;             /* written last when the section is first set up */
    uint32_t vm_id;
    uint32_t state;
    uint64_t epoch;             /* of this boot of the VM; never 0 once set up */
    uint64_t arbiter;           /* hash of lock file and epoch (the module: its epoch); says who may write the tables */
    uint64_t dirty_end;         /* heap bytes beyond this were never handed out: they are zero */
    uint64_t changes;           /* grows when a process of the VM joins, leaves or dies */
    uint32_t doorbell;          /* 1 + the position (IVPosition) of the VM's ivshmem device, 0: it has no doorbell */
    uint32_t looks;             /* grows each time a process of the VM looks for dead ones */
    uint32_t looker;            /* 1 + the slot of the process that looked last, 0: none */
    uint8_t  reserved0[4];
    uint64_t heartbeat;         /* on a line of its own; grows while any process of the VM runs */
    uint8_t  reserved1[56];
    uint64_t messages;          /* sums over the processes that have ended; on a line of its own */
    uint64_t bytes;
    uint8_t  reserved2[48];
    uint8_t  reserved3[4096 - 192];
};

enum {
    VMSHM_PROC_FREE = 0,
    VMSHM_PROC_LIVE = 1,
    VMSHM_PROC_LEFT = 2,        /* left regularly; the slot is reused later */
    VMSHM_PROC_DEAD = 3         /* found dead by a process of its own VM */
};

struct vmshm_proc {
    uint32_t state;             /* written last */
    uint32_t generation;        /* grows each time the slot is handed out */
    uint32_t pid;               /* valid in its own VM only, for diagnosis */
    uint32_t uid;
    uint64_t nonce;             /* random, never 0; the control window has it, too */
    uint64_t name;              /* Open MPI's process name: job id << 32 | rank */
    uint8_t  job[16];           /* key of the job */
    uint32_t window;            /* index of the control window, or UINT32_MAX */
    uint32_t reserved0;
    uint64_t joined_sec;        /* guest's wall clock, for diagnosis; the oldest slot is reused first */
    uint64_t messages;          /* sent so far; on the second line, since its owner writes it often */
    uint64_t bytes;
    uint8_t  reserved1[48];
};

enum { VMSHM_WINDOW_EMPTY = 0, VMSHM_WINDOW_LIVE = 1, VMSHM_WINDOW_QUARANTINE = 2 };
enum { VMSHM_KIND_PRIVATE = 0, VMSHM_KIND_OPEN = 1 };

struct vmshm_window {
    uint32_t state;             /* written last */
    uint32_t generation;        /* grows each time the entry is handed out */
    uint64_t offset;
    uint64_t length;
    uint32_t proc;              /* slot of the owner */
    uint32_t uid;
    uint32_t kind;
    uint32_t reserved0;
    uint8_t  job[16];
    uint8_t  reserved1[8];
};

/* Bells: every section has a u32 counter for each process of the segment. Any process of the section's VM adds 1
 * atomically when it has made a new ring to that process, which alone reads the counter. */

/* A row of the reader table is a bitmap of all windows of the segment: bit (vm * windows + index)
 * is set while the process maps that window. Only the process writes its row. */

/* --------------------------------------------------------- control window, written by its owner */

struct vmshm_window_header {
    uint64_t magic;
    uint64_t nonce;
    uint8_t  reserved[48];
};

/* Tables of rings and heads: entry [vm * procs + slot] of the peer is a u64, the offset of the ring to that peer
 * (written by the sender) or of the head for the peer's ring (written by the receiver), 0 while there is none. */

struct vmshm_ring {
    uint32_t magic;
    uint32_t slots;             /* a power of two */
    uint64_t from;              /* nonce of the process that writes the ring */
    uint64_t to;                /* nonce of the process that reads the ring */
    uint64_t first;             /* position of its first message */
    uint8_t  reserved[32];
};

struct vmshm_head {
    uint64_t from;              /* nonce of the process whose messages are counted */
    uint64_t head;              /* all positions of its ring below this one were consumed */
    uint64_t chunks;            /* number of chunks of its channel that were consumed */
    uint8_t  reserved[40];
};

#define VMSHM_SLOT_BYTES       32u
#define VMSHM_SHORT_BYTES      24u     /* maximum length of a message in one slot */
#define VMSHM_INLINE_SLOTS     10u     /* maximum number of slots of a message */
#define VMSHM_RING_MIN_SLOTS   8u
#define VMSHM_RING_MAX_SLOTS   65536u

/* The word of a slot: the message is published when the low half equals position + 1. start: where in the slot the
 * message begins, an even number. The ack is valid only if the message begins behind it. */
#define VMSHM_SLOT_WORD(pos, start, len, kind, tag) \
    ((uint64_t)(uint32_t)((pos) + 1) | (uint64_t)(uint16_t)(len) << 32 | \
     (uint64_t)((kind) | (start) / 2 << 3) << 48 | (uint64_t)(uint8_t)(tag) << 56)
/* The word of a slot whose message is not published yet: in no lap of the ring is it a valid sequence there. */
#define VMSHM_SLOT_CLEAR(pos)  ((uint64_t)(uint32_t)(pos))
#define VMSHM_SLOT_SEQ(word)   ((uint32_t)(word))
#define VMSHM_SLOT_LEN(word)   ((uint32_t)((word) >> 32 & 0xffff))
#define VMSHM_SLOT_KIND(word)  ((uint32_t)((word) >> 48 & 0x7))
#define VMSHM_SLOT_START(word) ((uint32_t)((word) >> 51 & 0x1f) * 2)
#define VMSHM_SLOT_TAG(word)   ((uint8_t)((word) >> 56))
/* Kind and start in one. */
#define VMSHM_SLOT_FORM(word)  ((uint8_t)((word) >> 48))
#define VMSHM_FORM_SHORT       (VMSHM_SLOT_INLINE | VMSHM_SHORT_START / 2 << 3)

enum {
    VMSHM_SLOT_INLINE = 1,      /* len bytes from start on, continued in all 32 bytes of the following
                                 * slots; never beyond the ring's end */
    VMSHM_SLOT_CELL   = 2,      /* the slot holds a struct vmshm_cell_ref */
    VMSHM_SLOT_SWITCH = 3,      /* last message of this ring; the slot holds the next ring's offset */
    VMSHM_SLOT_PAD    = 4,      /* the rest of the slots up to the ring's end are unused */
    VMSHM_SLOT_CHANNEL = 5,     /* the slot holds the offset of the sender's channel */
    VMSHM_SLOT_PULL   = 6       /* the slot holds a struct vmshm_pull */
};

struct vmshm_slot {
    uint64_t word;              /* stored last, with release */
    uint32_t ack;               /* low half of the position up to which the sender consumed the reverse ring */
    uint8_t  payload[20];
};
#define VMSHM_SHORT_START      8u      /* minimum start of a message without ack */
#define VMSHM_SLOT_HEAD_BYTES  12u     /* minimum start of a message with ack */

/* A channel carries large messages from one process to another, in chunks. An array of `chunks` struct vmshm_chunk
 * follows it; entry n modulo `chunks` describes chunk n, whose bytes are anywhere in a window of the producer. */
#define VMSHM_CHANNEL_MAGIC      UINT64_C(0x6c6e6863206d6876)  /* "vhm chnl" */
#define VMSHM_CHANNEL_MAX_CHUNKS 1024u

struct vmshm_channel {
    uint64_t magic;
    uint64_t from;              /* nonce of the producer */
    uint64_t to;                /* nonce of the consumer */
    uint32_t chunks;            /* a power of two */
    uint32_t reserved0;
    uint64_t reserved[4];
};

struct vmshm_chunk {
    uint64_t number;            /* n + 1; stored last, with release */
    uint64_t stream;            /* the producer's number of the message, never used again */
    uint64_t offset;            /* of these bytes in the message */
    uint64_t length;            /* bytes */
    uint64_t place;             /* offset of the bytes in the segment, in a window of the producer */
    uint64_t reserved[3];
};

/* A consumer's request for a stream, with the values from the upper layer's header. */
struct vmshm_pull {
    uint64_t stream;
    uint64_t index;             /* of the stream in the producer's table */
};

struct vmshm_cell_ref {
    uint64_t offset;            /* in the segment, in a window of the sender */
    uint64_t length;
};

static_assert(sizeof(struct vmshm_header) == 96, "header");
static_assert(offsetof(struct vmshm_header, checksum) == 16, "header.checksum");
static_assert(offsetof(struct vmshm_header, segment_uuid) == 24, "header.segment_uuid");
static_assert(offsetof(struct vmshm_header, total_bytes) == 56, "header.total_bytes");
static_assert(offsetof(struct vmshm_header, vms) == 80, "header.vms");
static_assert(sizeof(struct vmshm_section_entry) == 64, "section entry");
static_assert(VMSHM_TABLE_OFFSET + VMSHM_MAX_VMS * sizeof(struct vmshm_section_entry)
              <= VMSHM_CHECKED_BYTES, "the checksum covers the section table");
static_assert(sizeof(struct vmshm_vm_mark) == 64, "vm mark");
static_assert(sizeof(struct vmshm_section) == 4096, "section");
static_assert(offsetof(struct vmshm_section, heartbeat) == 64, "section.heartbeat");
static_assert(offsetof(struct vmshm_section, changes) == 40, "section.changes");
static_assert(offsetof(struct vmshm_section, looks) == 52, "section.looks");
static_assert(offsetof(struct vmshm_section, messages) == 128, "section.messages");
static_assert(sizeof(struct vmshm_proc) == 128, "process");
static_assert(offsetof(struct vmshm_proc, job) == 32, "process.job");
static_assert(offsetof(struct vmshm_proc, messages) == 64, "process.messages");
static_assert(sizeof(struct vmshm_window) == 64, "window");
static_assert(offsetof(struct vmshm_window, job) == 40, "window.job");
static_assert(sizeof(struct vmshm_window_header) == 64, "window header");
static_assert(sizeof(struct vmshm_ring) == 64, "ring");
static_assert(sizeof(struct vmshm_head) == 64, "head");
static_assert(sizeof(struct vmshm_channel) == VMSHM_LINE_BYTES, "channel");
static_assert(sizeof(struct vmshm_chunk) == VMSHM_LINE_BYTES, "chunk");
static_assert(sizeof(struct vmshm_slot) == VMSHM_SLOT_BYTES, "slot");
static_assert(VMSHM_SHORT_START + VMSHM_SHORT_BYTES == VMSHM_SLOT_BYTES, "short message");
static_assert(VMSHM_SLOT_HEAD_BYTES + sizeof(struct vmshm_cell_ref) <= VMSHM_SLOT_BYTES,
              "cell reference");
static_assert(VMSHM_SLOT_HEAD_BYTES + sizeof(struct vmshm_pull) <= VMSHM_SLOT_BYTES, "pull");

#endif
