/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The component's own code, driven without MPI, in two processes that pretend to be in two VMs. Each test
 * forks a fresh pair, because the component is one per process.
 */
#ifndef VMSHM_UNIT_SIDE_H
#define VMSHM_UNIT_SIDE_H

#include "unit.h"

#include "btl_vmshm_context.h"
#include "btl_vmshm_progress.h"

#include <stdio.h>

#define SIDE_TAG   MCA_BTL_TAG_USR
/* cmocka's assertions must not be used in a child. */
#define REQUIRE(c) do { if (!(c)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #c); \
                                    exit(1); } } while (0)

struct side {
    const char *dir;
    uint32_t vm;
    int other;              /* socket to the other side */
    size_t window_size;     /* 0: as it is by default */
    unsigned int max_windows;
    void (*configure)(mca_btl_vmshm_context_t *);   /* parameters, or NULL */
    uint8_t job[16];
    mca_btl_vmshm_endpoint_t *peer;
};

/* Losses that were reported in this process, and the text of the last one. */
extern uint64_t side_losses;
extern char side_loss[384];
/* The other side is in no communicator of this one. */
extern bool side_unconnected;

/* Join dir/segment and start the module. */
void side_start(struct side *side, mca_btl_base_module_recv_cb_fn_t on_message);
void side_stop(void);
/* Through the socket: bytes to and from the other side; wait until the other side is here, too. */
void side_tell(const struct side *side, const void *data, size_t bytes);
void side_hear(const struct side *side, void *data, size_t bytes);
void side_meet(const struct side *side);
/* As add_procs does: side->peer. */
void side_connect(struct side *side);
/* Run both sides in processes of their own; 0 if both end well. */
int side_run_pair(const char *dir, int (*a)(struct side *), int (*b)(struct side *),
                  const struct side *options);

#endif
