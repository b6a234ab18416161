/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying messages from the user's buffer into shared memory, and into the user's buffer.
 */
#ifndef MCA_BTL_VMSHM_PACK_H
#define MCA_BTL_VMSHM_PACK_H

#include "btl_vmshm.h"
#include "btl_vmshm_item.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Messages of up to STEPPED_MOST bytes are copied in steps of STEP_BYTES, for which libc's memcpy uses vector
 * registers. Just above that size memcpy switches to the processor's string instruction, which was up to
 * twice as slow when it wrote to lines that the peer has just read; for larger fragments it is faster. */
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

/* Copy with non-temporal stores, which bypass the caches. If the peer's core shares no cache with ours, a line
 * that the peer read last is slow to write, and slow for the peer to fetch from our cache afterwards. With
 * the line in memory both are up to six times as fast. */
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
    /* Non-temporal stores are not ordered by a release store. */
    _mm_sfence();
#endif
    mca_btl_vmshm_copy(to, from, bytes);
}

/* Pack at most *bytes, starting at the convertor's position, to `to`, and set *bytes to the number packed.
 * With contiguous data the convertor's position is not advanced: the PML sets it for each fragment.
 * past_caches is honoured only if the data are contiguous and `to` is aligned to a cache line. Returns a
 * negative number on error, like opal_convertor_pack(). */
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
