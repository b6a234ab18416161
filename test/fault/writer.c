/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the same number into every page of a buffer, and the next number then: what it finds there must
 * be what it wrote last. After a migration the number is in a register, and the pages are what the other
 * QEMU was sent of them.
 *
 * Prints "written" now and then; "FAILED", and ends, when a page is not what it was.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define PAGES 64
#define WORDS (4096 / sizeof(uint64_t))

static volatile uint64_t pages[PAGES][WORDS] __attribute__((aligned(4096)));

int main(void)
{
    (void) !nice(19);
    for (uint64_t n = 1;; ++n) {
        for (unsigned i = 0; i < PAGES; ++i) {
            if (n - 1 != pages[i][0]) {
                printf("FAILED: page %u has %" PRIu64 ", after %" PRIu64 " was written\n", i, pages[i][0],
                       n - 1);
                fflush(stdout);
                return 1;
            }
            pages[i][0] = n;
        }
        if (0 == n % 262144) {
            printf("written\n");
            fflush(stdout);
        }
    }
}
