/*
 * Copying a message out of the user's buffer into shared memory.
 */
#ifndef MCA_BTL_VMSHM_PACK_H
#define MCA_BTL_VMSHM_PACK_H

#include "btl_vmshm.h"

#include <string.h>

#include "opal/datatype/opal_convertor.h"

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

/* Pack at most *bytes, from the convertor's position on, to `to`; *bytes becomes what was packed. The
 * position of a convertor of contiguous data does not move: the PML sets it for each fragment. Returns
 * a negative number on error, as opal_convertor_pack(). */
static inline int32_t mca_btl_vmshm_pack(struct opal_convertor_t *convertor, uint8_t *to,
                                         size_t *bytes)
{
    struct iovec iov = { .iov_base = (IOVBASE_TYPE *) to, .iov_len = *bytes };
    uint32_t iov_count = 1;
    void *from;

    if (OPAL_LIKELY(!opal_convertor_need_buffers(convertor))) {
        opal_convertor_get_current_pointer(convertor, &from);
        mca_btl_vmshm_copy(to, from, *bytes);
        return 1;
    }
    return opal_convertor_pack(convertor, &iov, &iov_count, bytes);
}

#endif
