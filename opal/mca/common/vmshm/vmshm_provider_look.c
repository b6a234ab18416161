/* SPDX-License-Identifier: BSD-3-Clause */
/* Inspect a file or device that may be a segment: its content and its size. */
#include "vmshm_provider.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmshm_kmod.h"
#include "vmshm_segment.h"

static enum vmshm_look judge(const uint8_t *image, uint8_t uuid[16])
{
    struct vmshm_header h;
    uint8_t same;

    memcpy(&h, image, sizeof h);
    if (VMSHM_MAGIC == h.magic) {
        if (NULL != uuid) {
            memcpy(uuid, h.segment_uuid, sizeof h.segment_uuid);
        }
        return VMSHM_LOOK_SEGMENT;
    }
    same = image[0];
    for (size_t i = 1; i < sizeof h; ++i) {
        if (same != image[i]) {
            return VMSHM_LOOK_OTHER;
        }
    }
    return 0 == same ? VMSHM_LOOK_ZERO : 0xff == same ? VMSHM_LOOK_DARK : VMSHM_LOOK_OTHER;
}

enum vmshm_look vmshm_provider_look(const char *path, uint8_t uuid[16])
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    struct vmshm_segment s = { .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
    enum vmshm_look found = VMSHM_LOOK_OTHER;
    struct vmshm_error e = { .code = VMSHM_OK };
    uint64_t bytes;

    if (s.fd < 0) {
        return EACCES == errno || EPERM == errno ? VMSHM_LOOK_REFUSED : VMSHM_LOOK_OTHER;
    }
    if (VMSHM_OK == vmshm_provider_size(s.fd, path, &bytes, &e)) {
        if (UINT64_MAX == bytes) {
            /* This makes the kernel module read the header. */
            (void) vmshm_kmod_probe(&s, &bytes, &e);
        }
        if (bytes >= sizeof image
            && VMSHM_OK == vmshm_segment_peek(s.fd, path, image, &e)) {
            found = judge(image, uuid);
        }
    }
    close(s.fd);
    return found;
}

int vmshm_provider_size(int fd, const char *path, uint64_t *bytes, struct vmshm_error *e)
{
    struct stat st;

    if (0 != fstat(fd, &st)) {
        return vmshm_fail_errno(e, path, "size", "fstat");
    }
    /* Devices such as /dev/mmapper report 0. The header gives the size, and mmap() refuses more than there is. */
    *bytes = S_ISCHR(st.st_mode) ? UINT64_MAX : (uint64_t) st.st_size;
    return VMSHM_OK;
}
