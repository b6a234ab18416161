/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying a message out of the user's buffer into shared memory, and into the user's buffer.
 */
#ifndef MCA_BTL_VMSHM_PACK_H
#define MCA_BTL_VMSHM_PACK_H

#include "btl_vmshm.h"
#include "btl_vmshm_item.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Up to here a message is copied in steps that libc's memcpy does with vector registers. Left alone it
 * takes the processor's string instruction from a bit above one step on, which was up to twice as
 * slow into lines that the peer has just read; for larger fragments it is the better one. */
#define MCA_BTL_VMSHM_STEP_BYTES   2048
#define MCA_BTL_VMSHM_STEPPED_MOST (32 * 1024)

static inline void mca_btl_vmshm_copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
    if (bytes <= MCA_BTL_VMSHM_STEPPED_MOST) {
        while (bytes > MCA_BTL_VMSHM_STEP_BYTES) {
            memcpy(to, from, MCA_BTL_VMSHM_STEP_BYTES);
            to += MCA_BTL_VMSHM_STEP_BYTES;
            from += MCA_BTL_VMSHM_STEP_BYTES;
            bytes -= MCA_BTL_VMSHM_STEP_BYTES;
        }
    }
    memcpy(to, from, bytes);
}

/* Past the caches. Where the peer's core has none of them in common with ours, a line that it read last
 * is slow to write and, once written, slow to be fetched out of our cache; from memory both are up to
 * six times as fast. */
static inline void mca_btl_vmshm_copy_past_caches(uint8_t *to, const uint8_t *from, size_t bytes)
{
#if defined(__SSE2__)
    for (; bytes >= VMSHM_LINE_BYTES; bytes -= VMSHM_LINE_BYTES) {
        const __m128i a = _mm_loadu_si128((const __m128i *) from);
        const __m128i b = _mm_loadu_si128((const __m128i *) (from + 16));
        const __m128i c = _mm_loadu_si128((const __m128i *) (from + 32));
        const __m128i d = _mm_loadu_si128((const __m128i *) (from + 48));

        _mm_stream_si128((__m128i *) to, a);
        _mm_stream_si128((__m128i *) (to + 16), b);
        _mm_stream_si128((__m128i *) (to + 32), c);
        _mm_stream_si128((__m128i *) (to + 48), d);
        to += VMSHM_LINE_BYTES;
        from += VMSHM_LINE_BYTES;
    }
    /* These stores are not ordered by a release. */
    _mm_sfence();
#endif
    mca_btl_vmshm_copy(to, from, bytes);
}

/* Pack at most *bytes, from the convertor's position on, to `to`; *bytes becomes what was packed. The
 * position of a convertor of contiguous data does not move: the PML sets it for each fragment.
 * past_caches is a wish: data must be contiguous and `to` on a line for it. Returns a negative number
 * on error, as opal_convertor_pack(). */
static inline int32_t mca_btl_vmshm_pack(struct opal_convertor_t *convertor, uint8_t *to,
                                         size_t *bytes, bool past_caches)
{
    struct iovec iov = { .iov_base = (IOVBASE_TYPE *) to, .iov_len = *bytes };
    uint32_t iov_count = 1;
    void *from;

    if (OPAL_LIKELY(!mca_btl_vmshm_must_pack(convertor))) {
        mca_btl_vmshm_buffer_begin(convertor->pBaseBuf);
        opal_convertor_get_current_pointer(convertor, &from);
        if (past_caches && 0 == (uintptr_t) to % VMSHM_LINE_BYTES) {
            mca_btl_vmshm_copy_past_caches(to, from, *bytes);
        } else {
            mca_btl_vmshm_copy(to, from, *bytes);
        }
        mca_btl_vmshm_buffer_end(convertor->pBaseBuf);
        return 1;
    }
    return opal_convertor_pack(convertor, &iov, &iov_count, bytes);
}

#endif
