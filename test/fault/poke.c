/* SPDX-License-Identifier: BSD-3-Clause */
/* poke PATH OFFSET VALUE: stores the number at the offset of a mapping of the file and prints what is
 * read there afterwards. What a hostile root of a guest does to the memory it can map. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    volatile uint64_t *at;
    uint64_t offset;
    char *page;
    int fd;

    if (4 != argc) {
        fprintf(stderr, "usage: poke PATH OFFSET VALUE\n");
        return 2;
    }
    offset = strtoull(argv[2], NULL, 0);
    fd = open(argv[1], O_RDWR | O_CLOEXEC);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t) (offset & ~4095ull));
    if (MAP_FAILED == page) {
        perror(argv[1]);
        return 1;
    }
    at = (volatile uint64_t *) (page + (offset & 4095));
    *at = strtoull(argv[3], NULL, 0);
    printf("%" PRIu64 "\n", *at);
    return 0;
}
