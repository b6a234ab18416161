/* SPDX-License-Identifier: BSD-3-Clause */
#include "pair.h"

#include <string.h>

#define SECTION (16 * UNIT_MIB)

int pair_setup(void **state)
{
    static struct pair p;

    memset(&p, 0, sizeof p);
    unit_dir_make(p.dir);
    unit_segment(unit_path(p.dir, "segment"), SECTION, 0);
    unit_join(p.dir, 0, "mine", &p.me);
    unit_join(p.dir, 1, "theirs", &p.peer);
    p.window = unit_publish(&p.peer);
    vmshm_member_address(&p.peer, &p.address);
    *state = &p;
    return 0;
}

int pair_teardown(void **state)
{
    struct pair *p = *state;

    vmshm_leave(&p->me);
    vmshm_leave(&p->peer);
    unit_dir_remove(p->dir);
    return 0;
}

struct vmshm_window *their_window(struct pair *p)
{
    return vmshm_window_of(&p->peer.segment, 1, p->window);
}

struct vmshm_window_header *their_header(struct pair *p)
{
    return vmshm_at(&p->peer, their_window(p)->offset);
}

struct vmshm_proc *their_proc(struct pair *p)
{
    return vmshm_proc_of(&p->peer.segment, 1, p->peer.slot);
}

void assert_no_reader_bits(struct pair *p)
{
    const uint8_t *row = (const uint8_t *) vmshm_reader_row_of(&p->me.segment, 0, p->me.slot);

    for (uint64_t i = 0; i < vmshm_reader_row_bytes(&p->me.segment.header); ++i) {
        assert_int_equal(row[i], 0);
    }
}
