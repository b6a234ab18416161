/* SPDX-License-Identifier: BSD-3-Clause */
#include "opal_config.h"

#include "side.h"

#include "btl_vmshm_connect.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "opal/runtime/opal.h"
#include "opal/util/show_help.h"

uint64_t side_losses;
bool side_unconnected;
char side_loss[384];

/* Instead of the one that looks at MPI's communicators: there are none without MPI_Init. */
bool __wrap_mca_btl_vmshm_is_connected(const opal_process_name_t *name);

bool __wrap_mca_btl_vmshm_is_connected(const opal_process_name_t *name)
{
    (void) name;
    return !side_unconnected;
}

static void on_error(struct mca_btl_base_module_t *btl, int32_t flags, struct opal_proc_t *proc,
                     char *text)
{
    (void) btl;
    (void) proc;
    REQUIRE(flags & MCA_BTL_ERROR_FLAGS_FATAL);
    snprintf(side_loss, sizeof side_loss, "%s", text);
    ++side_losses;
}

void side_start(struct side *side, mca_btl_base_module_recv_cb_fn_t on_message)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    struct vmshm_join_options o = {
        .segment = unit_path(side->dir, "segment"), .lock_dir = side->dir,
        .vm_id = (int) side->vm, .name = side->vm,
    };

    REQUIRE(OPAL_SUCCESS == opal_init_util(NULL, NULL));
    (void) opal_show_help_add_dir(UNIT_HELP_DIR);
    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_component.btl_version.mca_register_component_params());
    if (0 != side->window_size) {
        c->window_size = side->window_size;
        c->max_windows = side->max_windows;
    }
    if (NULL != side->configure) {
        side->configure(c);
    }
    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_component.btl_version.mca_open_component());
    memcpy(o.job, side->job, sizeof o.job);
    REQUIRE(OPAL_SUCCESS == mca_btl_vmshm_module_start(&o));
    mca_btl_base_active_message_trigger[SIDE_TAG].cbfunc = on_message;
    mca_btl_vmshm.super.btl_register_error(&mca_btl_vmshm.super, on_error);
}

void side_stop(void)
{
    mca_btl_vmshm.super.btl_finalize(&mca_btl_vmshm.super);
}

void side_tell(const struct side *side, const void *data, size_t bytes)
{
    REQUIRE((ssize_t) bytes == write(side->other, data, bytes));
}

void side_hear(const struct side *side, void *data, size_t bytes)
{
    REQUIRE((ssize_t) bytes == recv(side->other, data, bytes, MSG_WAITALL));
}

/* Wait until the other side is here, too. */
void side_meet(const struct side *side)
{
    char c = 'm';

    side_tell(side, &c, 1);
    side_hear(side, &c, 1);
}

/* As add_procs does. */
void side_connect(struct side *side)
{
    struct vmshm_address own, other;
    struct vmshm_error e;

    vmshm_member_address(mca_btl_vmshm_member(), &own);
    side_tell(side, &own, sizeof own);
    side_hear(side, &other, sizeof other);
    side->peer = mca_btl_vmshm_endpoint_get(&other, &e);
    if (NULL == side->peer) {
        fprintf(stderr, "%s: %s\n", e.field, e.detail);
        exit(1);
    }
    mca_btl_vmshm_key_add(other.job);
}

/* Run both sides in processes of their own; 0 if both end well. */
int side_run_pair(const char *dir, int (*a)(struct side *), int (*b)(struct side *),
                    const struct side *options)
{
    int (*run[2])(struct side *) = { a, b };
    int sockets[2], result = 0;
    pid_t pid[2];

    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    for (uint32_t vm = 0; vm < 2; ++vm) {
        pid[vm] = fork();
        if (0 == pid[vm]) {
            struct side side = NULL == options ? (struct side) { 0 } : *options;

            alarm(60);
            close(sockets[1 - vm]);
            side.dir = dir;
            side.vm = vm;
            side.other = sockets[vm];
            exit(run[vm](&side));
        }
    }
    close(sockets[0]);
    close(sockets[1]);
    for (int vm = 0; vm < 2; ++vm) {
        result |= unit_wait(pid[vm]);
    }
    return result;
}
