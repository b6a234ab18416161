// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows that an RDMA device reads and writes: rdma_rxe over the guest's network device, which must be
 * there. Two queue pairs of the process talk to each other.
 */
#define _GNU_SOURCE
#include "st.h"

#include <infiniband/verbs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY 11
#define RW (PROT_READ | PROT_WRITE)
#define ALL (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)
#define BYTES (2 * VMSHM_GRANULE_BYTES)

struct verbs {
    struct ibv_context *context;
    struct ibv_pd *pd;
    struct ibv_cq *cq;
    struct ibv_qp *qp[2];
};

static void verbs_open(struct verbs *v)
{
    struct ibv_device **list = ibv_get_device_list(NULL);

    if (NULL == list || NULL == list[0]) {
        st_skip("no RDMA device: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev eth0");
    }
    v->context = ibv_open_device(list[0]);
    CHECK(NULL != v->context);
    v->pd = ibv_alloc_pd(v->context);
    v->cq = ibv_create_cq(v->context, 16, NULL, NULL, 0);
    CHECK(NULL != v->pd && NULL != v->cq);
    ibv_free_device_list(list);
}

/* The IPv4 address of the device's interface, as RoCE has it. */
static union ibv_gid own_gid(struct verbs *v, int *index)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    union ibv_gid gid;

    for (*index = 0; 0 == ibv_query_gid(v->context, 1, *index, &gid); ++*index) {
        if (0 == memcmp(gid.raw, mapped, sizeof mapped)) {
            return gid;
        }
    }
    st_fail(__FILE__, __LINE__, "the RDMA device has no IPv4 address");
}

static void connect_pair(struct verbs *v)
{
    struct ibv_qp_init_attr init = {
        .send_cq = v->cq, .recv_cq = v->cq, .qp_type = IBV_QPT_RC,
        .cap = { .max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1 },
    };
    int gid_index;
    const union ibv_gid gid = own_gid(v, &gid_index);

    for (int i = 0; i < 2; ++i) {
        v->qp[i] = ibv_create_qp(v->pd, &init);
        CHECK(NULL != v->qp[i]);
    }
    for (int i = 0; i < 2; ++i) {
        struct ibv_qp_attr a = {
            .qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = ALL,
        };

        CHECK(0 == ibv_modify_qp(v->qp[i], &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT
                                 | IBV_QP_ACCESS_FLAGS));
        a = (struct ibv_qp_attr) {
            .qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_1024, .dest_qp_num = v->qp[1 - i]->qp_num,
            .max_dest_rd_atomic = 1, .min_rnr_timer = 12,
            .ah_attr = { .is_global = 1, .port_num = 1,
                         .grh = { .dgid = gid, .sgid_index = (uint8_t) gid_index, .hop_limit = 1 } },
        };
        CHECK(0 == ibv_modify_qp(v->qp[i], &a, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU
                                 | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC
                                 | IBV_QP_MIN_RNR_TIMER));
        a = (struct ibv_qp_attr) {
            .qp_state = IBV_QPS_RTS, .timeout = 18, .retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = 1,
        };
        CHECK(0 == ibv_modify_qp(v->qp[i], &a, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT
                                 | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
    }
}

/* RDMA between two registered places, all BYTES: the status of its completion. */
static enum ibv_wc_status transfer(struct verbs *v, enum ibv_wr_opcode what, struct ibv_mr *here,
                                   struct ibv_mr *there)
{
    struct ibv_sge sge = { (uintptr_t) here->addr, BYTES, here->lkey };
    struct ibv_send_wr wr = {
        .sg_list = &sge, .num_sge = 1, .opcode = what, .send_flags = IBV_SEND_SIGNALED,
        .wr.rdma = { (uintptr_t) there->addr, there->rkey },
    };
    struct ibv_send_wr *bad;
    struct ibv_wc wc;
    int n;

    CHECK(0 == ibv_post_send(v->qp[0], &wr, &bad));
    while (0 == (n = ibv_poll_cq(v->cq, 1, &wc))) {
        usleep(1000);
    }
    CHECK(1 == n);
    return wc.status;
}

static struct ibv_mr *reg(struct verbs *v, void *at, int access)
{
    struct ibv_mr *mr = ibv_reg_mr(v->pd, at, BYTES, access);

    CHECK(NULL != mr);
    return mr;
}

static void refused(struct verbs *v, void *at, int access)
{
    struct ibv_mr *mr = ibv_reg_mr(v->pd, at, BYTES, access);

    CHECK(NULL == mr && EFAULT == errno);
}

static void fill(uint8_t *at, uint8_t seed)
{
    for (uint64_t i = 0; i < BYTES; ++i) {
        at[i] = (uint8_t) (seed + i + i / 251);
    }
}

static bool is_filled(const uint8_t *at, uint8_t seed)
{
    for (uint64_t i = 0; i < BYTES; ++i) {
        if ((uint8_t) (seed + i + i / 251) != at[i]) {
            return false;
        }
    }
    return true;
}

static void *heap(void)
{
    void *p = aligned_alloc(ST_PAGE, BYTES);

    CHECK(NULL != p);
    memset(p, 0, BYTES);
    return p;
}

struct windows {
    struct st_member m;         /* has them */
    struct st_member r;         /* finds them */
    struct vmshm_alloc closed;
    struct vmshm_alloc open;
    uint8_t *own_closed;
    uint8_t *own_open;
    uint8_t *found_closed;      /* read-only */
    uint8_t *found_open;
};

static void windows_make(struct windows *w)
{
    st_member(&w->m, KEY);
    st_member(&w->r, KEY);
    w->closed = st_alloc(&w->m, BYTES, VMSHM_KIND_PRIVATE);
    w->open = st_alloc(&w->m, BYTES, VMSHM_KIND_OPEN);
    st_find(&w->r, w->m.about.vm, w->m.joined.slot, w->closed.index, KEY);
    st_find(&w->r, w->m.about.vm, w->m.joined.slot, w->open.index, KEY);
    w->own_closed = st_map(&w->m, w->closed.offset, BYTES, RW);
    w->own_open = st_map(&w->m, w->open.offset, BYTES, RW);
    w->found_closed = st_map(&w->r, w->closed.offset, BYTES, PROT_READ);
    w->found_open = st_map(&w->r, w->open.offset, BYTES, RW);
}

static void without_pages(void)
{
    struct windows w;
    struct verbs v;

    verbs_open(&v);
    windows_make(&w);
    if (st_has_pages(&w.m)) {
        st_skip("the segment has struct pages");
    }
    for (int access = 0; access <= ALL; access += ALL) {
        refused(&v, w.own_closed, access);
        refused(&v, w.own_open, access);
        refused(&v, w.found_closed, access);
        refused(&v, w.found_open, access);
    }
}

static void with_pages(struct windows *w, struct verbs *v)
{
    verbs_open(v);
    windows_make(w);
    if (!st_has_pages(&w->m)) {
        st_skip("the segment has no struct pages");
    }
    connect_pair(v);
}

static void writes_and_reads(void)
{
    struct ibv_mr *closed, *open, *found, *plain;
    struct windows w;
    struct verbs v;
    uint8_t *p;

    with_pages(&w, &v);
    p = heap();
    closed = reg(&v, w.own_closed, ALL);
    open = reg(&v, w.own_open, ALL);
    found = reg(&v, w.found_open, ALL);
    plain = reg(&v, p, ALL);
    /* heap to window, window to window, a found window to the heap */
    fill(p, 1);
    SAME(IBV_WC_SUCCESS, transfer(&v, IBV_WR_RDMA_WRITE, plain, closed));
    CHECK(is_filled(w.own_closed, 1) && is_filled(w.found_closed, 1));
    SAME(IBV_WC_SUCCESS, transfer(&v, IBV_WR_RDMA_READ, open, closed));
    CHECK(is_filled(w.own_open, 1));
    fill(w.own_open, 2);
    memset(p, 0, BYTES);
    SAME(IBV_WC_SUCCESS, transfer(&v, IBV_WR_RDMA_READ, plain, found));
    CHECK(is_filled(p, 2));
    fill(p, 3);
    SAME(IBV_WC_SUCCESS, transfer(&v, IBV_WR_RDMA_WRITE, plain, found));
    CHECK(is_filled(w.own_open, 3) && is_filled(w.own_closed, 1));
}

/* A device may not write to what its process may only read. */
static void found_read_only(void)
{
    struct ibv_mr *found;
    struct windows w;
    struct verbs v;
    uint8_t *p;

    with_pages(&w, &v);
    p = heap();
    fill(w.own_closed, 4);
    for (int seen = 0; seen < 2; ++seen) {
        refused(&v, w.found_closed, ALL);
        refused(&v, w.found_closed, IBV_ACCESS_LOCAL_WRITE);
        SAME(0, st_try_read(w.found_closed));
    }
    found = ibv_reg_mr(v.pd, w.found_closed, BYTES, IBV_ACCESS_REMOTE_READ);
    if (NULL == found) {
        /* Before 6.2 the kernel asks for the right to write in any case. */
        CHECK(EFAULT == errno);
        printf("# read-only memory cannot be registered with this kernel\n");
    } else {
        SAME(IBV_WC_SUCCESS, transfer(&v, IBV_WR_RDMA_READ, reg(&v, p, ALL), found));
        CHECK(is_filled(p, 4));
        CHECK(IBV_WC_SUCCESS != transfer(&v, IBV_WR_RDMA_WRITE, reg(&v, heap(), ALL), found));
    }
    CHECK(is_filled(w.own_closed, 4));
}

static void handed_out_again(const struct st_member *m, const struct vmshm_alloc *w)
{
    struct vmshm_alloc next = { 0 };

    /* the module looks four times a second */
    for (int i = 0; i < 100 && next.offset != w->offset; ++i) {
        st_sleep_ms(100);
        next = st_alloc(m, BYTES, VMSHM_KIND_PRIVATE);
        if (next.offset != w->offset) {
            st_release(m, m->about.vm, next.index);
        }
    }
    SAME(w->offset, next.offset);
    SAME((uint64_t) -1, st_differs(st_map(m, next.offset, BYTES, PROT_READ), BYTES, 0));
}

static void released_while_registered(void)
{
    struct ibv_mr *closed, *plain;
    struct vmshm_alloc next;
    struct windows w;
    struct verbs v;
    uint8_t *p;

    with_pages(&w, &v);
    p = heap();
    plain = reg(&v, p, ALL);
    closed = reg(&v, w.own_closed, ALL);
    fill(w.own_closed, 5);
    st_release(&w.r, w.m.about.vm, w.closed.index);
    st_release(&w.m, w.m.about.vm, w.closed.index);
    SAME(SIGBUS, st_try_read(w.own_closed));
    for (int i = 0; i < 3; ++i) {
        next = st_alloc(&w.m, BYTES, VMSHM_KIND_PRIVATE);
        CHECK(next.offset >= w.closed.offset + BYTES || next.offset + BYTES <= w.closed.offset);
        memset(st_map(&w.m, next.offset, BYTES, RW), 0xee, BYTES);
        st_sleep_ms(300);
    }
    SAME(VMSHM_WINDOW_QUARANTINE, st_window(&w.m, w.m.about.vm, w.closed.index)->state);
    /* the device still finds there what was there */
    SAME(IBV_WC_SUCCESS, transfer(&v, IBV_WR_RDMA_READ, plain, closed));
    CHECK(is_filled(p, 5));
    CHECK(0 == ibv_dereg_mr(closed));
    handed_out_again(&w.m, &w.closed);
}

static void registers_and_waits(void *arg)
{
    struct st_turn *turn = arg;
    struct windows w;
    struct verbs v;

    with_pages(&w, &v);
    reg(&v, w.own_closed, ALL);
    reg(&v, w.found_open, ALL);
    CHECK((ssize_t) sizeof w.closed == write(turn->from[1], &w.closed, sizeof w.closed));
    pause();
}

static void killed_while_registered(void)
{
    struct vmshm_alloc w;
    struct st_turn turn;
    struct st_member m;
    struct verbs v;
    pid_t pid;

    verbs_open(&v);
    st_member(&m, KEY);
    if (!st_has_pages(&m)) {
        st_skip("the segment has no struct pages");
    }
    st_turn_make(&turn);
    pid = st_fork(registers_and_waits, &turn);
    CHECK((ssize_t) sizeof w == read(turn.from[0], &w, sizeof w));
    kill(pid, SIGKILL);
    st_wait(pid);
    handed_out_again(&m, &w);
}

static const struct st_test tests[] = {
    { "without-pages", without_pages },
    { "writes-and-reads", writes_and_reads },
    { "found-read-only", found_read_only },
    { "released-while-registered", released_while_registered },
    { "killed-while-registered", killed_while_registered },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
