/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers that the tests of vmshm.ko share: TAP output, processes, /dev/vmshmN.
 *
 * Each test runs in a child process of its own, so that a membership ends with its test and a crash is
 * one failed test. A check that does not hold ends the test at once. After each test the kernel's log
 * is read (the guest must allow that to all users: kernel.dmesg_restrict=0): what a broken kernel
 * writes fails the test.
 */
#ifndef ST_H
#define ST_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmshm_layout.h"
#include "vmshm_uapi.h"

#define ST_KIB UINT64_C(1024)
#define ST_MIB (UINT64_C(1) << 20)
#define ST_PAGE UINT64_C(4096)
#define ST_HUGE (2 * ST_MIB)

struct st_test {
    const char *name;
    void (*run)(void);
};

/* Runs all tests of the NULL-terminated list, or those whose names start with one of argv[1..].
 * `seconds`: limit of each. Returns main's status. */
int st_main(int argc, char **argv, const struct st_test *tests, unsigned seconds);

/* Ends the calling process, which must be the test's or a child that st_fork() made. */
void st_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void st_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            st_fail(__FILE__, __LINE__, "%s (errno %s)", #condition, st_errno(errno)); \
        } \
    } while (0)

/* CALL returns -1 with ERROR in errno. */
#define FAILS(error, call) \
    do { \
        const long st_rc = (long) (call); \
        if (-1 != st_rc || (error) != errno) { \
            const int st_e = errno; \
            st_fail(__FILE__, __LINE__, "%s: expected %s, got %s", #call, st_errno(error), \
                    -1 == st_rc ? st_errno(st_e) : "success"); \
        } \
    } while (0)

#define SAME(wanted, value) \
    do { \
        const uint64_t st_w = (uint64_t) (wanted), st_v = (uint64_t) (value); \
        if (st_w != st_v) { \
            st_fail(__FILE__, __LINE__, "%s is %#llx, not %#llx (%s)", #value, \
                    (unsigned long long) st_v, (unsigned long long) st_w, #wanted); \
        } \
    } while (0)

const char *st_errno(int error);

/* ---------------------------------------------------------------- processes */

/* A child that runs `run` and ends with 0 unless a check fails; what fails in it fails the test in
 * st_join(). */
pid_t st_fork(void (*run)(void *), void *arg);
void st_join(pid_t pid);
/* Returns the wait status. */
int st_wait(pid_t pid);

/* One byte each way between processes that run in turn. */
struct st_turn {
    int to[2];
    int from[2];
};
void st_turn_make(struct st_turn *t);
void st_turn_tell(int fd[2]);
void st_turn_await(int fd[2]);

/* Wait until condition() is true, or for this long. */
bool st_until(bool (*condition)(void *), void *arg, unsigned ms);
void st_sleep_ms(unsigned ms);
uint64_t st_now_ms(void);
/* Factor for all time limits: VMSHM_PATIENCE, for slow kernels with debugging options. */
unsigned st_patience(void);
uint64_t st_random(uint64_t *state);
/* Any advice for madvise(2), except those that make Linux 6.1 complain about a correct module. */
int st_advice(uint64_t n);

/* ---------------------------------------------------------------- memory */

/* 0, or the signal that an access of one byte gave. */
int st_try_read(const volatile void *p);
int st_try_write(volatile void *p, uint8_t value);
/* The first byte of [p, p + bytes) that is not `value`; -1: none. */
int64_t st_differs(const volatile uint8_t *p, size_t bytes, uint8_t value);

/* ---------------------------------------------------------------- the device */

/* The device's path: $VMSHM_DEVICE or /dev/vmshm0. */
const char *st_path(void);
int st_open(int flags);
void st_key(uint8_t key[16], uint8_t n);
/* vmshm_ioctl(2): 0 or -1 with errno. */
int st_ioctl(int fd, unsigned long request, void *arg);

/* A process's membership, with the tables of the segment mapped. */
struct st_member {
    int fd;
    uint8_t key[16];
    struct vmshm_describe about;        /* st_has_pages() */
    struct vmshm_join joined;
    struct vmshm_header header;
    const uint8_t *head;                            /* the mapped header */
    const uint8_t *tables[VMSHM_MAX_VMS];           /* of each VM, from its section's start */
};

/* Open and map the tables; st_member also joins the job of this key. */
void st_visitor(struct st_member *m);
void st_member(struct st_member *m, uint8_t key);
void st_join_job(struct st_member *m, uint8_t key);
void st_leave(struct st_member *m);

const struct vmshm_section_entry *st_entry(const struct st_member *m, uint32_t vm);
const struct vmshm_section *st_section(const struct st_member *m, uint32_t vm);
const struct vmshm_proc *st_proc(const struct st_member *m, uint32_t vm, uint32_t slot);
const struct vmshm_window *st_window(const struct st_member *m, uint32_t vm, uint32_t index);
uint32_t st_bell(const struct st_member *m, uint32_t of, uint32_t vm, uint32_t slot);
bool st_reads(const struct st_member *m, uint32_t vm, uint32_t slot, uint32_t of, uint32_t index);
/* Bytes of the own heap that are not free, windows in quarantine included. */
uint64_t st_used(const struct st_member *m);
/* Is all of it free, or will be in a moment? The module may need several holds of its lock to free it. */
void st_all_free(const struct st_member *m);

/* A failure of these fails the test. */
struct vmshm_alloc st_alloc(const struct st_member *m, uint64_t bytes, uint32_t kind);
struct vmshm_find st_find(const struct st_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                          uint8_t key);
void st_release(const struct st_member *m, uint32_t vm, uint32_t index);
uint8_t *st_map(const struct st_member *m, uint64_t offset, uint64_t bytes, int prot);
/* An aligned piece of a new window that surely holds `count` entries of 2 MiB. */
uint8_t *st_aligned(const struct st_member *m, uint64_t count, struct vmshm_alloc *w, int prot);
/* A new window full of 0x66, in small entries or in one of 2 MiB: the kernel walks them differently. */
uint8_t *st_touched(const struct st_member *m, int huge, struct vmshm_alloc *w);

/* These may fail: -1 and errno. */
int st_try_alloc(const struct st_member *m, uint64_t bytes, uint32_t kind, struct vmshm_alloc *a);
int st_try_find(const struct st_member *m, uint32_t vm, uint32_t slot, uint32_t index, uint8_t key,
                struct vmshm_find *f);
int st_try_release(const struct st_member *m, uint32_t vm, uint32_t index);
/* NULL and errno on failure. */
uint8_t *st_try_map(const struct st_member *m, uint64_t offset, uint64_t bytes, int prot);

/* Does the segment's memory have struct pages? Then it can be pinned, as that of ordinary files. */
static inline bool st_has_pages(const struct st_member *m)
{
    return 0 != (m->about.features & VMSHM_FEATURE_PAGES);
}

#endif
