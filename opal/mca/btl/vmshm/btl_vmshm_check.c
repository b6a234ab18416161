/* SPDX-License-Identifier: BSD-3-Clause */
/* Modelled in test/model/connect.pml, head.pml, ring.pml and streams.pml: change both. */
#include "opal_config.h"

#include "btl_vmshm_check.h"

static bool is_power_of_two(uint32_t n)
{
    return 0 != n && 0 == (n & (n - 1));
}

/* The peer's memory at `offset`; NULL if that is not aligned to a cache line or not in its windows. */
static const void *line_at(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset, uint64_t bytes)
{
    return 0 == offset % VMSHM_LINE_BYTES ? vmshm_peer_memory(endpoint->peer, offset, bytes) : NULL;
}

/* Until the next message is published, its slot's word is that of the previous lap's message, or what the
 * sender wrote when it created or cleared the slot. With any other word the memory was overwritten, and we
 * would wait for the message forever. */
void mca_btl_vmshm_check_silent(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t position = endpoint->in.position;
    const uint64_t word = vmshm_load_relaxed(&endpoint->in.ring[position & endpoint->in.mask].word);

    if (VMSHM_SLOT_SEQ(word) != (uint32_t) (position + 1)
        && VMSHM_SLOT_SEQ(word) != (uint32_t) (position - endpoint->in.mask)
        && word != VMSHM_SLOT_CLEAR(position)) {
        vmshm_peer_broken(endpoint->peer, "slot", "its sequence number is impossible at this position");
    }
}

uint64_t mca_btl_vmshm_check_entry(mca_btl_vmshm_endpoint_t *endpoint, uint64_t table)
{
    const struct vmshm_member *m = mca_btl_vmshm_member();
    const uint64_t place = table + vmshm_proc_index(&m->segment.header, m->id.vm, m->slot) * sizeof(uint64_t);
    const uint64_t *entry = endpoint->reads ? vmshm_peer_control(endpoint->peer, place, sizeof *entry) : NULL;

    /* NULL: we are no reader of the peer's control window, so that memory may belong to another process by now, or
     * soon. */
    return NULL == entry ? 0 : vmshm_load_acquire(entry);
}

bool mca_btl_vmshm_check_ring(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                              mca_btl_vmshm_found_ring_t *found, const char **why)
{
    const struct vmshm_ring *shared = line_at(endpoint, offset, sizeof *shared);
    struct vmshm_ring ring;
    uint64_t to;

    if (NULL == shared) {
        *why = "its offset is not in a window of the peer";
        return false;
    }
    /* Pairs with the release in make_ring() at the peer, which stores `to` last, after the slots. */
    to = vmshm_load_acquire(&shared->to);
    vmshm_copy_in(&ring, shared, sizeof ring);
    if (VMSHM_RING_MAGIC != ring.magic || ring.from != endpoint->peer->nonce
        || to != mca_btl_vmshm_member()->nonce) {
        *why = NULL;                    /* of an earlier owner of a slot: not an error */
        return false;
    }
    if (ring.slots < VMSHM_RING_MIN_SLOTS || ring.slots > VMSHM_RING_MAX_SLOTS || !is_power_of_two(ring.slots)) {
        *why = "its number of slots is not a power of two in the allowed range";
        return false;
    }
    if (NULL == vmshm_peer_memory(endpoint->peer, offset, vmshm_ring_bytes(ring.slots))) {
        *why = "it extends beyond the windows of the peer";
        return false;
    }
    found->slots = (const struct vmshm_slot *) (shared + 1);
    found->mask = ring.slots - 1;
    found->first = ring.first;
    return true;
}

const struct vmshm_channel *mca_btl_vmshm_check_channel(mca_btl_vmshm_endpoint_t *endpoint, uint64_t offset,
                                                        uint32_t *mask, const char **why)
{
    const struct vmshm_channel *shared = line_at(endpoint, offset, sizeof *shared);
    struct vmshm_channel channel;

    if (NULL == shared) {
        *why = "its offset is not in a window of the peer";
        return NULL;
    }
    vmshm_copy_in(&channel, shared, sizeof channel);
    if (VMSHM_CHANNEL_MAGIC != channel.magic || channel.from != endpoint->peer->nonce
        || channel.to != mca_btl_vmshm_member()->nonce) {
        *why = "it is not one from the peer to this process";
        return NULL;
    }
    if (channel.chunks > VMSHM_CHANNEL_MAX_CHUNKS || !is_power_of_two(channel.chunks)
        || NULL == vmshm_peer_memory(endpoint->peer, offset, mca_btl_vmshm_channel_bytes(channel.chunks))) {
        *why = "its chunks are not in a window of the peer, or their number is not a power of two";
        return NULL;
    }
    *mask = channel.chunks - 1;
    return shared;
}

/* Until the next chunk is published, its descriptor has the number of the previous lap, or 0 in the first lap. With
 * any other number we would wait for the chunk forever. */
static bool can_come(const mca_btl_vmshm_streams_t *streams, uint64_t number)
{
    const uint64_t chunks = (uint64_t) streams->chunks_mask + 1;

    return number == (streams->chunks_in < chunks ? 0 : streams->chunks_in + 1 - chunks);
}

bool mca_btl_vmshm_check_chunk(mca_btl_vmshm_endpoint_t *endpoint, struct vmshm_chunk *chunk)
{
    const mca_btl_vmshm_streams_t *streams = endpoint->streams;
    const struct vmshm_chunk *shared =
        mca_btl_vmshm_chunk_at(streams->channel_in, streams->chunks_in, streams->chunks_mask);
    /* Pairs with the release in push_chunk() at the peer: data and descriptor are complete. */
    const uint64_t number = vmshm_load_acquire(&shared->number);

    if (number != streams->chunks_in + 1) {
        if (OPAL_UNLIKELY(!can_come(streams, number))) {
            vmshm_peer_broken(endpoint->peer, "chunk", "its number is impossible at this position");
        }
        return false;
    }
    vmshm_copy_in(chunk, shared, sizeof *chunk);
    return true;
}

/* A chunk must continue its message exactly: chunks that were sent ahead of a pull and dropped are all in front of
 * the message's first valid chunk. */
const uint8_t *mca_btl_vmshm_check_place(mca_btl_vmshm_endpoint_t *endpoint, const struct vmshm_chunk *chunk,
                                         size_t done, size_t size)
{
    const uint8_t *from = vmshm_peer_memory(endpoint->peer, chunk->place, chunk->length);

    if (OPAL_UNLIKELY(chunk->offset != done)) {
        vmshm_peer_broken(endpoint->peer, "chunk", "it is not the next chunk of its message");
        return NULL;
    }
    if (OPAL_UNLIKELY(NULL == from || chunk->length > size - done || 0 == chunk->length)) {
        vmshm_peer_broken(endpoint->peer, "chunk",
                          "it is longer than the rest of its message, or not in a window of the peer");
        return NULL;
    }
    return from;
}

const struct vmshm_head *mca_btl_vmshm_check_head(mca_btl_vmshm_endpoint_t *endpoint)
{
    const uint64_t offset = mca_btl_vmshm_check_entry(endpoint, vmshm_heads_offset(mca_btl_vmshm_header()));
    const struct vmshm_head *head;

    if (0 == offset) {
        return NULL;
    }
    head = line_at(endpoint, offset, sizeof *head);
    if (NULL == head) {
        vmshm_peer_broken(endpoint->peer, "head", "its offset is not in a window of the peer");
        return NULL;
    }
    /* Ignore a head that counts the messages of an earlier owner of our slot, or meanwhile of another process.
     * Pairs with the release in mca_btl_vmshm_ring_accept() at the peer, which sets the counters before it stores
     * our nonce in `from`. */
    return vmshm_load_acquire(&head->from) == mca_btl_vmshm_member()->nonce ? head : NULL;
}

bool mca_btl_vmshm_check_consumed(mca_btl_vmshm_endpoint_t *endpoint, uint64_t *head)
{
    /* Pairs with the release in show_head() at the peer: its loads from the slots come before our next stores to
     * those slots. */
    *head = vmshm_load_acquire(&endpoint->out.peer_head->head);
    mca_btl_vmshm_head_seen(endpoint);
    if (*head - endpoint->out.head > endpoint->out.tail - endpoint->out.head) {
        vmshm_peer_broken(endpoint->peer, "head", "it counts more messages than were sent");
        endpoint->out.peer_head = NULL;
        return false;
    }
    return true;
}

bool mca_btl_vmshm_check_chunks(mca_btl_vmshm_endpoint_t *endpoint, uint64_t *taken)
{
    const mca_btl_vmshm_streams_t *streams = endpoint->streams;

    /* Pairs with the release in take_chunk() at the peer: its loads from a chunk come before our next stores to
     * the same memory. */
    *taken = vmshm_load_acquire(&endpoint->out.peer_head->chunks);
    mca_btl_vmshm_head_seen(endpoint);
    if (*taken - streams->chunks_taken > streams->chunks_out - streams->chunks_taken) {
        vmshm_peer_broken(endpoint->peer, "chunks", "it counts more chunks than were sent");
        endpoint->out.peer_head = NULL;
        return false;
    }
    return true;
}
