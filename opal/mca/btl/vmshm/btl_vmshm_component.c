/* SPDX-License-Identifier: BSD-3-Clause */
/* The component: parameters, initialization, publishing the address in the modex. */
#include "opal_config.h"

#include "btl_vmshm_context.h"
#include "btl_vmshm_modex.h"
#include "btl_vmshm_progress.h"
#include "btl_vmshm_report.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "opal/mca/base/mca_base_var.h"
#include "opal/runtime/opal_progress.h"
#include "opal/util/output.h"
#include "opal/util/show_help.h"

#include "vmshm_config.h"

static int mca_btl_vmshm_component_register(void);
static int mca_btl_vmshm_component_open(void);
static int mca_btl_vmshm_component_close(void);
static mca_btl_base_module_t **mca_btl_vmshm_component_init(int *num_modules,
                                                            bool enable_progress_threads,
                                                            bool enable_mpi_threads);

mca_btl_base_component_t mca_btl_vmshm_component = {
    .btl_version = {
        MCA_BTL_DEFAULT_VERSION("vmshm"),
        .mca_open_component = mca_btl_vmshm_component_open,
        .mca_close_component = mca_btl_vmshm_component_close,
        .mca_register_component_params = mca_btl_vmshm_component_register,
    },
    .btl_data = {
        .param_field = MCA_BASE_METADATA_PARAM_NONE,
    },
    .btl_init = mca_btl_vmshm_component_init,
    .btl_progress = mca_btl_vmshm_component_progress,
};

static void register_flag(const char *name, const char *help, bool *value)
{
    (void) mca_base_component_var_register(&mca_btl_vmshm_component.btl_version, name, help,
                                           MCA_BASE_VAR_TYPE_BOOL, NULL, 0, 0, OPAL_INFO_LVL_3,
                                           MCA_BASE_VAR_SCOPE_READONLY, value);
}

static void register_number(const char *name, const char *help, mca_base_var_info_lvl_t level,
                            unsigned int *value)
{
    (void) mca_base_component_var_register(&mca_btl_vmshm_component.btl_version, name, help,
                                           MCA_BASE_VAR_TYPE_UNSIGNED_INT, NULL, 0, 0, level,
                                           MCA_BASE_VAR_SCOPE_READONLY, value);
}

/* Find the help file: in the directory configured at build time or, if the installed tree was moved, relative to the
 * component. */
static void find_help(void)
{
    const char *dir = VMSHM_PKGDATADIR;
    char moved[PATH_MAX];
    Dl_info info;

    if (0 != access(VMSHM_PKGDATADIR "/help-btl-vmshm.txt", R_OK)
        && 0 != dladdr(&mca_btl_vmshm_context, &info) && NULL != info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');

        if (NULL != slash
            && (size_t) snprintf(moved, sizeof moved, "%.*s/../../share/openmpi",
                                 (int) (slash - info.dli_fname), info.dli_fname)
               < sizeof moved) {
            dir = moved;
        }
    }
    (void) opal_show_help_add_dir(dir);
}

static int mca_btl_vmshm_component_register(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_base_module_t *btl = &mca_btl_vmshm.super;

    mca_btl_vmshm_module_set_up();
    btl->btl_component = &mca_btl_vmshm_component;
    if (!mca_btl_vmshm_is_matching_openmpi()) {
        find_help();
        opal_show_help("help-btl-vmshm.txt", "other open mpi", true, MCA_BTL_VMSHM_BUILT_AGAINST,
                       MCA_BTL_VMSHM_BUILT_WITH_CUDA ? "with" : "without", mca_btl_vmshm_running_openmpi(),
                       mca_btl_vmshm_running_has_cuda() ? "with" : "without");
        /* Returning an error would end the job even if another BTL could serve it. */
        return OPAL_SUCCESS;
    }
    (void) mca_base_var_group_component_register(&mca_btl_vmshm_component.btl_version,
                                                 "Shared memory between the virtual machines of "
                                                 "one host");
    (void) opal_common_vmshm_register();

    c->intra_vm = false;
    register_flag("intra_vm", "Serve ranks of the same VM, too: for tests, and for containers "
                  "that share a segment but no PID namespace (default: false, vader does)",
                  &c->intra_vm);
    c->report = false;
    register_flag("report", "Print at MPI_Init which ranks run in which VM and which pairs of "
                  "ranks talk over the segment (default: false)", &c->report);
    c->window_size = 4 * 1024 * 1024;
    (void) mca_base_component_var_register(&mca_btl_vmshm_component.btl_version, "window_size",
                                           "Bytes of the segment that a process takes whenever "
                                           "its rings and cells need more than it took at start "
                                           "(default: 4194304)",
                                           MCA_BASE_VAR_TYPE_SIZE_T, NULL, 0, 0, OPAL_INFO_LVL_5,
                                           MCA_BASE_VAR_SCOPE_READONLY, &c->window_size);
    c->max_windows = 8;
    register_number("max_windows", "Maximum number of windows of a process; once they are used up, messages "
                    "wait in its private memory (default: 8, at most 16)", OPAL_INFO_LVL_5, &c->max_windows);
    c->ring_slots = 8;
    register_number("ring_slots", "Slots of a new ring towards a peer, 32 bytes each, one for a message "
                    "of up to 10 bytes; a power of two (default: 8)", OPAL_INFO_LVL_5, &c->ring_slots);
    c->ring_slots_max = 1024;
    register_number("ring_slots_max", "Slots that the ring of a busy pair grows to; a power of two "
                    "(default: 1024)", OPAL_INFO_LVL_5, &c->ring_slots_max);
    c->far_ns = 80;
    register_number("far_ns", "A peer counts as far if reading a cache line that it wrote takes more "
                    "nanoseconds than this. Large messages to a far peer, and eager ones of at least "
                    "1536 bytes while others are in flight, are written past the caches; 0: all peers "
                    "are far, 1000000: none is (default: 80)", OPAL_INFO_LVL_6, &c->far_ns);
    c->pool_size = 2 * 1024 * 1024;
    (void) mca_base_component_var_register(&mca_btl_vmshm_component.btl_version, "pool_size",
                                           "Bytes of the pool of buffers in the segment that large "
                                           "messages to near peers use in turn: at least the size "
                                           "of a core's private caches; at most half a window, "
                                           "0: none (default: 2097152)",
                                           MCA_BASE_VAR_TYPE_SIZE_T, NULL, 0, 0, OPAL_INFO_LVL_6,
                                           MCA_BASE_VAR_SCOPE_READONLY, &c->pool_size);
    c->silence_warning = 30;
    register_number("silence_warning", "Seconds without a heartbeat after which a VM is reported "
                    "as silent (default: 30, 0: never)", OPAL_INFO_LVL_4, &c->silence_warning);
    c->silence_limit = 120;
    register_number("silence_limit", "Seconds without a heartbeat after which a VM counts as gone "
                    "and the job is ended (default: 120, 0: never)", OPAL_INFO_LVL_4,
                    &c->silence_limit);

    /* Below vader, which serves the ranks within one VM; above openib (1024) and tcp (100). */
    btl->btl_exclusivity = MCA_BTL_EXCLUSIVITY_HIGH / 2;
    btl->btl_eager_limit = 8 * 1024 + 64;   /* 8 KiB and a header */
    btl->btl_rndv_eager_limit = 32 * 1024;
    btl->btl_max_send_size = 32 * 1024;
    btl->btl_rdma_pipeline_send_length = btl->btl_eager_limit;
    btl->btl_rdma_pipeline_frag_size = btl->btl_eager_limit;
    btl->btl_min_rdma_pipeline_size = SIZE_MAX;     /* there is no put: ob1 must not use its put pipeline */
    btl->btl_flags = MCA_BTL_FLAGS_SEND | MCA_BTL_FLAGS_GET;
    btl->btl_get_limit = SIZE_MAX;
    btl->btl_bandwidth = 10000;   /* Mbit/s */
    btl->btl_latency = 1;         /* us */
    return mca_btl_base_param_register(&mca_btl_vmshm_component.btl_version, btl);
}

/* Warn of a get limit: Open MPI lets users set one for each BTL, but this BTL ignores it. */
static void check_get_limit(void)
{
    mca_btl_base_module_t *btl = &mca_btl_vmshm.super;

    if (SIZE_MAX != btl->btl_get_limit) {
        opal_show_help("help-btl-vmshm.txt", "get limit", true, btl->btl_get_limit);
        btl->btl_get_limit = SIZE_MAX;
    }
}

/* Warn if the PML is not ob1. Otherwise BTLs are silently unused, and users wonder why their job is slow.
 * Registered as a progress callback; runs once, after the PML was selected. */
static int check_pml(void)
{
    const char *pml = mca_btl_vmshm_selected_pml();

    if (NULL == pml) {
        return 0;
    }
    opal_progress_unregister(check_pml);
    if (0 != strcmp(pml, "ob1") && 0 != strcmp(pml, "v")) {
        opal_show_help("help-btl-vmshm.txt", "not ob1", true, pml, pml);
    }
    return 0;
}

static int mca_btl_vmshm_component_open(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    if (!mca_btl_vmshm_is_matching_series()) {
        return OPAL_SUCCESS;
    }
    OBJ_CONSTRUCT(&c->frags, opal_free_list_t);
    OBJ_CONSTRUCT(&c->streams, opal_free_list_t);
    OBJ_CONSTRUCT(&c->pulls, opal_free_list_t);
    OBJ_CONSTRUCT(&c->working, opal_list_t);
    OBJ_CONSTRUCT(&c->retired, opal_list_t);
    OBJ_CONSTRUCT(&c->lock, opal_mutex_t);
    OBJ_CONSTRUCT(&c->connect_lock, opal_mutex_t);
    pthread_mutex_init(&c->table_lock, NULL);
    find_help();
    if (mca_btl_vmshm_is_asked_for()) {
        opal_progress_register(check_pml);
    }
    return OPAL_SUCCESS;
}

static int mca_btl_vmshm_component_close(void)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;

    if (!mca_btl_vmshm_is_matching_series()) {
        return OPAL_SUCCESS;
    }
    opal_progress_unregister(check_pml);
    mca_btl_vmshm_module_stop();
    OBJ_DESTRUCT(&c->frags);
    OBJ_DESTRUCT(&c->streams);
    OBJ_DESTRUCT(&c->pulls);
    OBJ_DESTRUCT(&c->working);
    OBJ_DESTRUCT(&c->retired);
    OBJ_DESTRUCT(&c->lock);
    OBJ_DESTRUCT(&c->connect_lock);
    pthread_mutex_destroy(&c->table_lock);
    return OPAL_SUCCESS;
}

static bool is_power_of_two(unsigned int n)
{
    return 0 != n && 0 == (n & (n - 1));
}

static bool refuse(const char *name, const char *allowed)
{
    opal_show_help("help-btl-vmshm.txt", "bad parameter", true, name, allowed);
    return false;
}

static bool check_size(const char *name, size_t bytes)
{
    const size_t least = 1024, most = mca_btl_vmshm_context.window_size / 2;

    return (bytes >= least && bytes <= most)
           || refuse(name, "1024 to half of btl_vmshm_window_size");
}

static bool check_parameters(void)
{
    const mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    const mca_btl_base_module_t *btl = &mca_btl_vmshm.super;

    /* Open MPI treats 0 as "send". */
    if (0 != btl->btl_flags && 0 == (btl->btl_flags & MCA_BTL_FLAGS_SEND)) {
        return refuse("btl_vmshm_flags", "send, or send,get");
    }
    if (!is_power_of_two(c->ring_slots) || c->ring_slots < VMSHM_RING_MIN_SLOTS
        || c->ring_slots > VMSHM_RING_MAX_SLOTS) {
        return refuse("btl_vmshm_ring_slots", "a power of two from 8 to 65536");
    }
    if (!is_power_of_two(c->ring_slots_max) || c->ring_slots_max < c->ring_slots
        || c->ring_slots_max > VMSHM_RING_MAX_SLOTS) {
        return refuse("btl_vmshm_ring_slots_max",
                      "a power of two from btl_vmshm_ring_slots to 65536");
    }
    if (c->max_windows < 1 || c->max_windows > VMSHM_ARENA_MAX_WINDOWS) {
        return refuse("btl_vmshm_max_windows", "1 to 16");
    }
    if (c->window_size < VMSHM_GRANULE_BYTES) {
        return refuse("btl_vmshm_window_size", "at least 65536");
    }
    if (c->window_size / 2 < vmshm_ring_bytes(c->ring_slots_max)) {
        return refuse("btl_vmshm_ring_slots_max", "as many slots of 32 bytes as half of "
                      "btl_vmshm_window_size has room for");
    }
    return check_size("btl_vmshm_eager_limit", btl->btl_eager_limit)
           && check_size("btl_vmshm_rndv_eager_limit", btl->btl_rndv_eager_limit)
           && check_size("btl_vmshm_max_send_size", btl->btl_max_send_size);
}

static mca_btl_base_module_t **mca_btl_vmshm_component_init(int *num_modules,
                                                            bool enable_progress_threads,
                                                            bool enable_mpi_threads)
{
    mca_btl_vmshm_context_t *c = &mca_btl_vmshm_context;
    mca_btl_base_module_t **modules;
    struct vmshm_join_options join;
    struct vmshm_address address;
    const struct vmshm_member *m;

    (void) enable_progress_threads;
    (void) enable_mpi_threads;
    *num_modules = 0;
    if (!mca_btl_vmshm_is_matching_series()) {
        return NULL;
    }
    if (!mca_btl_vmshm_is_matching_openmpi() || !check_parameters()) {
        mca_btl_vmshm_end_if_alone();
        (void) mca_btl_vmshm_address_put(NULL);
        return NULL;
    }
    check_get_limit();
    opal_common_vmshm_join_options(&join);
    c->ranks = mca_btl_vmshm_job_size();
    modules = malloc(sizeof *modules);
    if (NULL == modules || OPAL_SUCCESS != mca_btl_vmshm_module_start(&join)) {
        goto fail;
    }
    m = mca_btl_vmshm_member();
    vmshm_member_address(m, &address);
    if (OPAL_SUCCESS != mca_btl_vmshm_address_put(&address)) {
        mca_btl_vmshm_module_stop();
        goto fail;
    }
    opal_output_verbose(20, opal_btl_base_framework.framework_output,
                        "btl vmshm: segment %s (%s), VM %u (from the %s), slot %u",
                        m->segment.path, m->segment.provider, m->id.vm, m->id.source, m->slot);
    modules[0] = &mca_btl_vmshm.super;
    *num_modules = 1;
    return modules;

fail:
    free(modules);
    (void) mca_btl_vmshm_address_put(NULL);
    return NULL;
}
