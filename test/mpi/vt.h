/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vt: the small library under the MPI test programs.
 *
 * Every message carries a pattern that depends on who sent it to whom, with which tag, which size and
 * as which one of a series, so a byte that is lost, stale, shifted, doubled or taken from another
 * message is seen and named. A failed check prints rank, file and line and ends the whole job. A rank
 * that hangs says where it is and ends the job too.
 *
 * Arguments common to all programs: --quick (for slow machines), --seed N, --thresholds A,B,...,
 * --watchdog SECONDS. Environment: VT_TIMEOUT (seconds, default 120), VT_SEED, VT_THRESHOLDS.
 */
#ifndef VT_H
#define VT_H

#include <mpi.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vt_state {
    const char *name;
    int rank;
    int size;
    bool quick;
    uint64_t seed;
    int thread_level;
};
extern struct vt_state vt;

/* What identifies a message. The pattern of its bytes is a function of all five. */
struct vt_key {
    int src;
    int dst;
    int tag;
    size_t size;
    uint64_t iter;
};

#define VT_KEY(s, d, t, n, i) \
    ((struct vt_key) {.src = (s), .dst = (d), .tag = (t), .size = (n), .iter = (i)})

/* Starts MPI, the watchdog and the reading of arguments. The errors of MPI stay fatal. */
void vt_init(int *argc, char ***argv, const char *name);
void vt_init_thread(int *argc, char ***argv, const char *name, int required);

/* Arguments: a flag, a value (NULL or the default if absent); vt_args_done refuses what nobody read. */
bool vt_flag(const char *name);
const char *vt_arg(const char *name);
long long vt_arg_num(const char *name, long long dflt); /* understands K, M, G */
void vt_args_done(void);
long long vt_parse_num(const char *text, const char *what);

/* Full or quick value. */
#define VT_Q(full, quick_) (vt.quick ? (quick_) : (full))

/*
 * Collective over MPI_COMM_WORLD. Rank 0 prints one line "PASS name np=N messages=.. bytes=.. <details>"
 * if every rank came here and content was really checked. Ends MPI; returns the exit status.
 */
int vt_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same end for a program that cannot run here: "SKIP name reason"; the exit status is 0. */
int vt_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Ends MPI without a line (children of a spawn). */
void vt_quiet_end(void);

/* Position of the calling thread, for the watchdog. */
void vt_at_(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void vt_line_(const char *file, int line);
#define vt_at(...) vt_at_(__FILE__, __LINE__, __VA_ARGS__)
/* Gives the watchdog its full time again, and some more, for a part that is long by intent. */
void vt_watchdog_restart(unsigned more_seconds);

/* What else the watchdog does before it ends the process: called in a signal handler. */
void vt_on_timeout(void (*hook)(void));

_Noreturn void vt_fail_(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define VT_FAIL(...) vt_fail_(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(cond, ...)            \
    do {                            \
        if (!(cond)) {              \
            VT_FAIL(__VA_ARGS__);   \
        }                           \
    } while (0)
/* An MPI call that must succeed; the watchdog knows that we are in it. */
#define MPI(call)                                          \
    do {                                                   \
        vt_line_(__FILE__, __LINE__);                      \
        int vt_rc_ = (call);                               \
        if (MPI_SUCCESS != vt_rc_) {                       \
            vt_mpi_error_(__FILE__, __LINE__, #call, vt_rc_); \
        }                                                  \
    } while (0)
_Noreturn void vt_mpi_error_(const char *file, int line, const char *call, int rc);

/* For ThreadSanitizer, which does not see that MPI completes a request in one thread for another: the buffer
 * goes to MPI, or came back from it. The functions below say it of what they are called with; see also
 * btl_vmshm_item.h. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define vt_handed_over(buf) __tsan_release((void *) (uintptr_t) (buf))
#define vt_handed_back(buf) __tsan_acquire((void *) (uintptr_t) (buf))
#else
#define vt_handed_over(buf) ((void) (buf))
#define vt_handed_back(buf) ((void) (buf))
#endif

/* Content. vt_fill_at/vt_verify_at work on a part [off, off+n) of the message. */
void vt_fill(void *buf, struct vt_key key);
void vt_fill_at(void *buf, struct vt_key key, size_t off, size_t n);
void vt_verify_(const char *file, int line, const void *buf, struct vt_key key, size_t off, size_t n);
#define vt_verify(buf, key) vt_verify_(__FILE__, __LINE__, buf, key, 0, (key).size)
#define vt_verify_at(buf, key, off, n) vt_verify_(__FILE__, __LINE__, buf, key, off, n)
/* Status (source, tag, count in bytes) and content at once. */
void vt_check_(const char *file, int line, const void *buf, const MPI_Status *st, struct vt_key key);
#define vt_check(buf, st, key) vt_check_(__FILE__, __LINE__, buf, st, key)
/* For content that was checked by other means: counts towards the report. */
void vt_count(uint64_t messages, uint64_t bytes);

/*
 * A receive buffer between two guard zones. vt_guard_set lays them around n bytes and poisons these;
 * vt_guard_check fails if a byte of a zone changed.
 */
#define VT_GUARD 128
struct vt_buf {
    unsigned char *base;
    size_t cap;
    unsigned char *data;
    size_t n;
};
void vt_buf_init(struct vt_buf *b, size_t cap);
void vt_buf_free(struct vt_buf *b);
unsigned char *vt_guard_set(struct vt_buf *b, size_t misalign, size_t n);
void vt_guard_check_(const char *file, int line, const struct vt_buf *b);
#define vt_guard_check(b) vt_guard_check_(__FILE__, __LINE__, b)

/*
 * Sizes worth trying up to max, sorted, each once: 0..small, powers of two and their neighbours, and
 * each protocol threshold with 8..80 bytes more and less. Free the list.
 */
size_t *vt_size_list(size_t small, size_t max, size_t *n);
/* A few sizes around the thresholds only: for tests that multiply sizes with much else. */
size_t *vt_size_few(size_t max, size_t *n);

/* Those of the arguments and the environment, with Open MPI's own. */
const size_t *vt_threshold_list(size_t *n);

/* Deterministic random numbers: every rank can compute what another one will send. */
uint64_t vt_mix(uint64_t a, uint64_t b);
uint64_t vt_rand(uint64_t *state);
static inline size_t vt_rand_below(uint64_t *state, size_t n)
{
    return (size_t) (vt_rand(state) % n);
}

void *vt_malloc(size_t n);
double vt_now(void);
void vt_sleep_ms(long ms);

#endif
