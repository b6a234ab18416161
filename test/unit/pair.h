/* SPDX-License-Identifier: BSD-3-Clause */
/* Two processes, each in a VM of its own; the peer writes anything it likes into its own section. */
#ifndef PAIR_H
#define PAIR_H

#include "unit.h"

#define GRANULE VMSHM_GRANULE_BYTES

struct pair {
    char dir[64];
    struct vmshm_member me, peer;       /* VM 0 and VM 1 */
    struct vmshm_address address;       /* of the peer, as the modex carries it */
    uint32_t window;                    /* its control window */
};

/* cmocka setup and teardown: *state becomes the pair. */
int pair_setup(void **state);
int pair_teardown(void **state);
#define PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)

/* Of the peer, writable: its control window's entry and header, and its process entry. */
struct vmshm_window *their_window(struct pair *p);
struct vmshm_window_header *their_header(struct pair *p);
struct vmshm_proc *their_proc(struct pair *p);

/* No window is listed as read by `me`. */
void assert_no_reader_bits(struct pair *p);

#endif
