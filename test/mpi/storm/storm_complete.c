/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completing requests. What must be complete now is waited for together with the thread's others, which
 * then may be complete early; all of Waitall's must be able to, so only those take part whose both sides
 * have begun by the plan's time.
 */
#include "storm.h"

static void settle(struct storm_thread *thread, struct storm_pending *p)
{
    p->done = true;
    for (int i = 0; i < thread->pendings; ++i) {
        if (thread->pending[i] == p) {
            thread->pending[i] = thread->pending[--thread->pendings];
            break;
        }
    }
    if (NULL != p->settle) {
        p->settle(thread, p);
    }
}

static void complete(struct storm_thread *thread, struct storm_pending *p, const MPI_Status *status,
                     int error)
{
    p->status = *status;
    p->error = error;
    settle(thread, p);
}

void storm_begin(struct storm_thread *thread, struct storm_pending *p)
{
    p->done = false;
    if (thread->pendings == thread->room) {
        thread->room = 0 == thread->room ? 64 : 2 * thread->room;
        thread->pending = realloc(thread->pending, (size_t) thread->room * sizeof(*thread->pending));
        CHECK(NULL != thread->pending, "out of memory");
    }
    thread->pending[thread->pendings++] = p;
}

struct set {
    int n;
    MPI_Request *request;
    MPI_Status *status;
    int *index;
    struct storm_pending **p;
};

static void set_make(struct set *set, struct storm_thread *thread, const struct storm_pending *must,
                     bool all)
{
    size_t room = (size_t) thread->pendings + 1;

    set->n = 0;
    set->request = vt_malloc(room * sizeof(*set->request));
    set->status = vt_malloc(room * sizeof(*set->status));
    set->index = vt_malloc(room * sizeof(*set->index));
    set->p = vt_malloc(room * sizeof(*set->p));
    for (int i = 0; i < thread->pendings; ++i) {
        struct storm_pending *p = thread->pending[i];

        if (p == must || (!p->alone && (!all || p->ready < thread->now))) {
            set->request[set->n] = p->request;
            set->p[set->n++] = p;
        }
    }
}

static void set_free(struct set *set)
{
    free(set->request);
    free(set->status);
    free(set->index);
    free(set->p);
}

/* The one at `i` of the set is complete. */
static void set_done(struct storm_thread *thread, struct set *set, int i, const MPI_Status *status,
                     int error)
{
    set->p[i]->request = set->request[i];
    complete(thread, set->p[i], status, error);
}

static void check(struct storm_thread *thread, const struct storm_pending *p, const char *call, int rc)
{
    if (MPI_SUCCESS != rc) {
        char text[MPI_MAX_ERROR_STRING] = "";
        int length = 0;

        MPI_Error_string(rc, text, &length);
        storm_fail(thread->plan, p->op, p->part, "%s gave %s", call, text);
    }
}

/* The same for a call that has statuses: the first with an error says whose it is. */
static void check_set(struct storm_thread *thread, const struct storm_pending *must, const char *call,
                      int rc, const struct set *set, const int *index, int n)
{
    for (int i = 0; MPI_ERR_IN_STATUS == rc && i < n; ++i) {
        if (MPI_SUCCESS != set->status[i].MPI_ERROR && MPI_ERR_PENDING != set->status[i].MPI_ERROR) {
            check(thread, set->p[NULL == index ? i : index[i]], call, set->status[i].MPI_ERROR);
        }
    }
    check(thread, must, call, rc);
}

/* One alone. */
static void await_one(struct storm_thread *thread, struct storm_pending *p, enum storm_finish finish)
{
    MPI_Status status;
    int rc, flag = 0;

    if (STORM_WAIT == finish) {
        rc = MPI_Wait(&p->request, &status);
    } else {
        do {
            rc = MPI_Test(&p->request, &flag, &status);
        } while (MPI_SUCCESS == rc && !flag);
    }
    if (!p->fails) {
        check(thread, p, STORM_WAIT == finish ? "MPI_Wait" : "MPI_Test", rc);
    }
    complete(thread, p, &status, rc);
}

/* One of many. */
static void await_any(struct storm_thread *thread, struct storm_pending *must, bool test)
{
    MPI_Status status;
    struct set set;
    int at = MPI_UNDEFINED, flag = 0, rc;

    set_make(&set, thread, must, false);
    do {
        if (test) {
            rc = MPI_Testany(set.n, set.request, &at, &flag, &status);
        } else {
            rc = MPI_Waitany(set.n, set.request, &at, &status);
            flag = 1;
        }
    } while (MPI_SUCCESS == rc && !flag);
    check(thread, must, test ? "MPI_Testany" : "MPI_Waitany", rc);
    if (0 > at || at >= set.n) {
        storm_fail(thread->plan, must->op, must->part, "%s of %d active requests gave index %d",
                   test ? "MPI_Testany" : "MPI_Waitany", set.n, at);
    }
    set_done(thread, &set, at, &status, MPI_SUCCESS);
    set_free(&set);
}

static void await_some(struct storm_thread *thread, struct storm_pending *must, bool test)
{
    struct set set;
    int n = 0, rc;

    set_make(&set, thread, must, false);
    do {
        rc = test ? MPI_Testsome(set.n, set.request, &n, set.index, set.status)
                  : MPI_Waitsome(set.n, set.request, &n, set.index, set.status);
        check_set(thread, must, test ? "MPI_Testsome" : "MPI_Waitsome", rc, &set, set.index, n);
    } while (test && 0 == n);
    if (0 > n || n > set.n) {
        storm_fail(thread->plan, must->op, must->part, "%d of %d requests are complete", n, set.n);
    }
    for (int i = 0; i < n; ++i) {
        set_done(thread, &set, set.index[i], &set.status[i], MPI_SUCCESS);
    }
    set_free(&set);
}

static void await_all(struct storm_thread *thread, struct storm_pending *must, bool test)
{
    struct set set;
    int flag = 0, rc;

    set_make(&set, thread, must, true);
    do {
        if (test) {
            rc = MPI_Testall(set.n, set.request, &flag, set.status);
        } else {
            rc = MPI_Waitall(set.n, set.request, set.status);
            flag = 1;
        }
        check_set(thread, must, test ? "MPI_Testall" : "MPI_Waitall", rc, &set, NULL, set.n);
    } while (!flag);
    for (int i = 0; i < set.n; ++i) {
        set_done(thread, &set, i, &set.status[i], MPI_SUCCESS);
    }
    set_free(&set);
}

void storm_await(struct storm_thread *thread, struct storm_pending *p, enum storm_finish finish)
{
    /* One that fails makes statuses undefined that are waited for with it; MPICH 4.0 takes a partitioned
     * request among others for an error. */
    if (p->alone && STORM_TEST != finish) {
        finish = STORM_WAIT;
    }
    while (!p->done) {
        switch (finish) {
        case STORM_WAITANY: await_any(thread, p, false); break;
        case STORM_TESTANY: await_any(thread, p, true); break;
        case STORM_WAITSOME: await_some(thread, p, false); break;
        case STORM_TESTSOME: await_some(thread, p, true); break;
        case STORM_WAITALL: await_all(thread, p, false); break;
        case STORM_TESTALL: await_all(thread, p, true); break;
        default: await_one(thread, p, finish); break;
        }
    }
}
