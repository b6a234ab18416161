/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Puts a wrong value into the header of a segment file.
 *
 *     seg_edit FILE FIELD VALUE [--keep-checksum]
 *
 * FIELD is the name of a member of struct vmshm_header, or section[N].MEMBER of the section table.
 * The checksum is made to fit again, so that the reader meets the field and not the checksum,
 * unless --keep-checksum is given.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmshm_layout.h"

#define MEMBER(type, member) { #member, offsetof(type, member), sizeof ((type *) 0)->member }

struct member {
    const char *name;
    size_t offset;
    size_t bytes;
};

static const struct member header_members[] = {
    MEMBER(struct vmshm_header, magic),
    MEMBER(struct vmshm_header, version),
    MEMBER(struct vmshm_header, checked_bytes),
    MEMBER(struct vmshm_header, checksum),
    MEMBER(struct vmshm_header, total_bytes),
    MEMBER(struct vmshm_header, page_bytes),
    MEMBER(struct vmshm_header, vms),
    MEMBER(struct vmshm_header, procs),
    MEMBER(struct vmshm_header, windows),
    { NULL, 0, 0 },
};

static const struct member section_members[] = {
    MEMBER(struct vmshm_section_entry, offset),
    MEMBER(struct vmshm_section_entry, length),
    MEMBER(struct vmshm_section_entry, open_offset),
    MEMBER(struct vmshm_section_entry, vm_id),
    { NULL, 0, 0 },
};

static const struct member *find(const struct member *members, const char *name)
{
    for (; NULL != members->name; ++members) {
        if (0 == strcmp(members->name, name)) {
            return members;
        }
    }
    return NULL;
}

static void set(uint8_t *image, const char *field, uint64_t value)
{
    const struct member *member = find(header_members, field);
    size_t base = 0;
    unsigned vm;
    int end = 0;

    if (1 == sscanf(field, "section[%u].%n", &vm, &end) && 0 < end && vm < VMSHM_MAX_VMS) {
        member = find(section_members, field + end);
        base = VMSHM_TABLE_OFFSET + vm * sizeof(struct vmshm_section_entry);
    }
    if (NULL == member) {
        fprintf(stderr, "seg_edit: there is no field \"%s\"\n", field);
        exit(2);
    }
    memcpy(image + base + member->offset, &value, member->bytes);
}

int main(int argc, char **argv)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    uint64_t sum;
    char *end;
    int fd;

    if (argc < 4) {
        fprintf(stderr, "usage: seg_edit FILE FIELD VALUE [--keep-checksum]\n");
        return 2;
    }
    fd = open(argv[1], O_RDWR | O_CLOEXEC);
    if (fd < 0 || sizeof image != pread(fd, image, sizeof image, 0)) {
        fprintf(stderr, "seg_edit: %s: %s\n", argv[1], fd < 0 ? strerror(errno) : "no header");
        return 1;
    }
    errno = 0;
    set(image, argv[2], strtoull(argv[3], &end, 0));
    if (0 != errno || '\0' != *end) {
        fprintf(stderr, "seg_edit: \"%s\" is not a number\n", argv[3]);
        return 2;
    }
    if (argc < 5) {
        sum = vmshm_header_checksum(image);
        memcpy(image + offsetof(struct vmshm_header, checksum), &sum, sizeof sum);
    }
    if (sizeof image != pwrite(fd, image, sizeof image, 0) || 0 != close(fd)) {
        fprintf(stderr, "seg_edit: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    return 0;
}
