/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of a new segment: its content, and how it is written. */
#include "vmshmctl.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

/* The host's machine id; zeros if it has none. */
static void node_uuid(uint8_t uuid[16])
{
    FILE *f = fopen("/etc/machine-id", "re");
    unsigned byte;

    memset(uuid, 0, 16);
    for (int i = 0; NULL != f && i < 16 && 1 == fscanf(f, "%2x", &byte); ++i) {
        uuid[i] = (uint8_t) byte;
    }
    if (NULL != f) {
        fclose(f);
    }
}

int ctl_create_header(struct ctl_plan *p, struct vmshm_error *e)
{
    struct vmshm_header *h = &p->header;

    h->magic = VMSHM_MAGIC;
    h->version = VMSHM_FORMAT_VERSION;
    h->checked_bytes = VMSHM_CHECKED_BYTES;
    h->total_bytes = p->total;
    h->page_bytes = p->page;
    h->created_sec = (uint64_t) time(NULL);
    node_uuid(h->node_uuid);
    if (sizeof h->segment_uuid != getrandom(h->segment_uuid, sizeof h->segment_uuid, 0)) {
        return vmshm_fail_errno(e, p->path, "segment_uuid", "getrandom");
    }
    h->segment_uuid[6] = (h->segment_uuid[6] & 0x0f) | 0x40;   /* RFC 9562: version 4, random */
    h->segment_uuid[8] = (h->segment_uuid[8] & 0x3f) | 0x80;
    return VMSHM_OK;
}

/* Everything after the checked part of the header is zero already. The magic is written last, so that whoever opens
 * the file in the meantime finds no segment rather than half of one. */
void ctl_create_write_header(const struct ctl_plan *p, uint8_t *base)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES] = { 0 };
    struct vmshm_header h = p->header;

    memcpy(image, &h, sizeof h);
    memcpy(image + VMSHM_TABLE_OFFSET, p->entry, h.vms * sizeof p->entry[0]);
    h.checksum = vmshm_header_checksum(image);
    memcpy(image, &h, sizeof h);
    memcpy(base + sizeof h.magic, image + sizeof h.magic, sizeof image - sizeof h.magic);
    __atomic_store_n((uint64_t *) base, h.magic, __ATOMIC_RELEASE);
}
