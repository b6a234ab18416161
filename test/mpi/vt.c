/* SPDX-License-Identifier: BSD-3-Clause */
/* See vt.h. */
#define _GNU_SOURCE
#include "vt.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

struct vt_state vt = {.name = "?", .seed = 1};

static int vt_argc;
static char **vt_argv;
static bool *vt_argv_used;
static atomic_ullong vt_messages, vt_bytes;
static unsigned vt_timeout = 120;

/* Where each thread is. Read by the signal handler, hence plain memory and no locks. */
#define VT_POS_MAX 64
static struct vt_pos {
    const char *volatile file;
    volatile int line;
    char step[96];
} vt_pos[VT_POS_MAX];
static atomic_int vt_pos_used;
static _Thread_local struct vt_pos *vt_my_pos;

static struct vt_pos *vt_pos_get(void)
{
    if (NULL == vt_my_pos) {
        int i = atomic_fetch_add(&vt_pos_used, 1);

        vt_my_pos = &vt_pos[i < VT_POS_MAX ? i : VT_POS_MAX - 1];
    }
    return vt_my_pos;
}

void vt_line_(const char *file, int line)
{
    struct vt_pos *p = vt_pos_get();

    p->file = file;
    p->line = line;
}

void vt_at_(const char *file, int line, const char *fmt, ...)
{
    struct vt_pos *p = vt_pos_get();
    va_list ap;

    p->file = file;
    p->line = line;
    va_start(ap, fmt);
    vsnprintf(p->step, sizeof(p->step), fmt, ap);
    va_end(ap);
}

/*
 * snprintf is not on POSIX's list for signal handlers; glibc's allocates nothing for %s and %d, and the
 * process ends here anyway. The pause lets the other ranks, whose alarms come about now, speak too
 * before mpirun ends them because this one exited.
 */
static void (*vt_timeout_hook)(void);

static void vt_on_alarm(int sig)
{
    int n = atomic_load(&vt_pos_used);

    (void) sig;
    if (NULL != vt_timeout_hook) {
        vt_timeout_hook();
    }
    for (int i = 0; i < n && i < VT_POS_MAX; ++i) {
        char line[320];
        int len = snprintf(line, sizeof(line),
                           "TIMEOUT %s rank %d of %d thread %d: at %s:%d (%s) after %u s\n", vt.name,
                           vt.rank, vt.size, i, vt_pos[i].file ? vt_pos[i].file : "?",
                           vt_pos[i].line, vt_pos[i].step, vt_timeout);

        if (0 < len && 0 > write(STDERR_FILENO, line, (size_t) len)) {
            break;
        }
    }
    sleep(3);
    _exit(124);
}

void vt_on_timeout(void (*hook)(void))
{
    vt_timeout_hook = hook;
}

void vt_watchdog_restart(unsigned more_seconds)
{
    alarm(vt_timeout + more_seconds);
}

static void vt_vprint(FILE *out, const char *head, const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    fprintf(out, "%s%s\n", head, text);
    fflush(out);
}

void vt_fail_(const char *file, int line, const char *fmt, ...)
{
    char head[256];
    va_list ap;

    snprintf(head, sizeof(head), "FAIL %s rank %d of %d at %s:%d (%s): ", vt.name, vt.rank, vt.size,
             file, line, vt_pos_get()->step);
    va_start(ap, fmt);
    vt_vprint(stderr, head, fmt, ap);
    va_end(ap);
    MPI_Abort(MPI_COMM_WORLD, 1);
    _exit(1);
}

void vt_mpi_error_(const char *file, int line, const char *call, int rc)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int len = 0;

    MPI_Error_string(rc, text, &len);
    vt_fail_(file, line, "%s returned %d: %s", call, rc, text);
}

/* -------------------------------------------------------------------- start, arguments and end -- */

long long vt_parse_num(const char *text, const char *what)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 0);
    switch (*end) {
    case 'G': v *= 1024; /* fall through */
    case 'M': v *= 1024; /* fall through */
    case 'K': v *= 1024; ++end; break;
    default: break;
    }
    if (end == text || '\0' != *end || 0 != errno) {
        VT_FAIL("%s: \"%s\" is not a number (write 123, 64K, 4M or 1G)", what, text);
    }
    return v;
}

static int vt_arg_find(const char *name)
{
    for (int i = 1; i < vt_argc; ++i) {
        if (0 == strcmp(vt_argv[i], name)) {
            vt_argv_used[i] = true;
            return i;
        }
    }
    return 0;
}

bool vt_flag(const char *name)
{
    return 0 != vt_arg_find(name);
}

const char *vt_arg(const char *name)
{
    int i = vt_arg_find(name);

    if (0 == i) {
        return NULL;
    }
    if (i + 1 >= vt_argc) {
        VT_FAIL("%s needs a value", name);
    }
    vt_argv_used[i + 1] = true;
    return vt_argv[i + 1];
}

long long vt_arg_num(const char *name, long long dflt)
{
    const char *text = vt_arg(name);

    return NULL == text ? dflt : vt_parse_num(text, name);
}

void vt_args_done(void)
{
    for (int i = 1; i < vt_argc; ++i) {
        CHECK(vt_argv_used[i], "unknown argument \"%s\"", vt_argv[i]);
    }
}

static size_t vt_thresholds[32] = {4096, 32768, 65536, 131072};
static size_t vt_nthresholds = 4;

const size_t *vt_threshold_list(size_t *n)
{
    *n = vt_nthresholds;
    return vt_thresholds;
}

static void vt_add_thresholds(const char *list, const char *what)
{
    char *copy, *save = NULL;

    if (NULL == list || '\0' == *list) {
        return;
    }
    copy = strdup(list);
    CHECK(NULL != copy, "out of memory");
    for (char *t = strtok_r(copy, ",", &save); NULL != t; t = strtok_r(NULL, ",", &save)) {
        CHECK(vt_nthresholds < sizeof(vt_thresholds) / sizeof(vt_thresholds[0]),
              "%s: too many thresholds (28 at most)", what);
        vt_thresholds[vt_nthresholds++] = (size_t) vt_parse_num(t, what);
    }
    free(copy);
}

void vt_init_thread(int *argc, char ***argv, const char *name, int required)
{
    struct sigaction sa = {.sa_handler = vt_on_alarm};
    const char *text = getenv("VT_TIMEOUT");

    vt.name = name;
    if (NULL != text && 0 < atoi(text)) {
        vt_timeout = (unsigned) atoi(text);
    }
    sigaction(SIGALRM, &sa, NULL);
    vt_at("MPI_Init");
    alarm(vt_timeout);
    if (MPI_THREAD_SINGLE == required) {
        MPI(MPI_Init(argc, argv));
    } else {
        MPI(MPI_Init_thread(argc, argv, required, &vt.thread_level));
    }
    MPI(MPI_Comm_rank(MPI_COMM_WORLD, &vt.rank));
    MPI(MPI_Comm_size(MPI_COMM_WORLD, &vt.size));
    vt_argc = *argc;
    vt_argv = *argv;
    vt_argv_used = calloc((size_t) vt_argc + 1, sizeof(*vt_argv_used));
    CHECK(NULL != vt_argv_used, "out of memory");
    vt.quick = vt_flag("--quick");
    vt_timeout = (unsigned) vt_arg_num("--watchdog", vt_timeout);
    alarm(vt_timeout);
    text = getenv("VT_SEED");
    vt.seed = (uint64_t) vt_arg_num("--seed", NULL == text ? 1 : vt_parse_num(text, "VT_SEED"));
    vt_add_thresholds(getenv("VT_THRESHOLDS"), "VT_THRESHOLDS");
    vt_add_thresholds(vt_arg("--thresholds"), "--thresholds");
    vt_at("start");
}

void vt_init(int *argc, char ***argv, const char *name)
{
    vt_init_thread(argc, argv, name, MPI_THREAD_SINGLE);
}

void vt_quiet_end(void)
{
    vt_at("MPI_Finalize");
    MPI(MPI_Finalize());
    free(vt_argv_used);
    alarm(0);
}

int vt_report(const char *fmt, ...)
{
    /* A flag of 1 from each rank: a sum that is not exactly np is a failure, whatever else happened. */
    unsigned long long mine[3] = {1, atomic_load(&vt_messages), atomic_load(&vt_bytes)};
    unsigned long long all[3] = {0, 0, 0};

    vt_at("report");
    MPI(MPI_Reduce(mine, all, 3, MPI_UNSIGNED_LONG_LONG, MPI_SUM, 0, MPI_COMM_WORLD));
    if (0 == vt.rank) {
        char head[160];
        va_list ap;

        CHECK((unsigned long long) vt.size == all[0], "%llu of %d ranks passed", all[0], vt.size);
        CHECK(0 < all[1], "nothing was checked");
        snprintf(head, sizeof(head), "PASS %s np=%d messages=%llu bytes=%llu ", vt.name, vt.size,
                 all[1], all[2]);
        va_start(ap, fmt);
        vt_vprint(stdout, head, fmt, ap);
        va_end(ap);
    }
    vt_quiet_end();
    return 0;
}

int vt_skip(const char *fmt, ...)
{
    if (0 == vt.rank) {
        char head[64];
        va_list ap;

        snprintf(head, sizeof(head), "SKIP %s ", vt.name);
        va_start(ap, fmt);
        vt_vprint(stdout, head, fmt, ap);
        va_end(ap);
    }
    vt_quiet_end();
    return 0;
}

/* ------------------------------------------------------------------------------------- content -- */

#define VT_K1 0x9e3779b97f4a7c15ull
#define VT_K2 0xd6e8feb86659fd93ull

uint64_t vt_mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a + VT_K1) * VT_K2 ^ b;

    x ^= x >> 32;
    x *= VT_K2;
    x ^= x >> 29;
    x *= VT_K1;
    return x ^ x >> 32;
}

uint64_t vt_rand(uint64_t *state)
{
    *state += VT_K1;
    return vt_mix(*state, 0);
}

static uint64_t vt_key_seed(struct vt_key k)
{
    uint64_t h = vt_mix(vt.seed, (uint64_t) (unsigned) k.src << 32 | (unsigned) k.dst);

    h = vt_mix(h, (uint64_t) (unsigned) k.tag);
    h = vt_mix(h, k.size);
    return vt_mix(h, k.iter);
}

/* The word at index i: depends on the place, so that a shifted piece does not pass. */
static inline uint64_t vt_word(uint64_t seed, uint64_t i)
{
    uint64_t x = seed + i * VT_K1;

    x ^= x >> 32;
    x *= VT_K2;
    return x ^ x >> 32;
}

static inline unsigned char vt_byte(uint64_t seed, size_t off)
{
    return (unsigned char) (vt_word(seed, off / 8) >> 8 * (off % 8));
}

void vt_fill_at(void *buf, struct vt_key key, size_t off, size_t n)
{
    unsigned char *p = buf;
    uint64_t seed = vt_key_seed(key);
    size_t i = 0;

    vt_handed_back(buf);
    for (; i < n && 0 != (off + i) % 8; ++i) {
        p[i] = vt_byte(seed, off + i);
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t w = vt_word(seed, (off + i) / 8);

        memcpy(p + i, &w, 8);
    }
    for (; i < n; ++i) {
        p[i] = vt_byte(seed, off + i);
    }
    vt_handed_over(buf);
}

void vt_fill(void *buf, struct vt_key key)
{
    vt_fill_at(buf, key, 0, key.size);
}

static _Noreturn void vt_wrong(const char *file, int line, const unsigned char *p, struct vt_key key,
                               size_t off, size_t n, size_t first)
{
    uint64_t seed = vt_key_seed(key);
    size_t bad = 0, last = first;
    char got[3 * 8 + 1] = "", want[3 * 8 + 1] = "";

    for (size_t i = first; i < n; ++i) {
        if (p[i] != vt_byte(seed, off + i)) {
            ++bad;
            last = i;
        }
    }
    for (size_t i = 0; i < 8 && first + i < n; ++i) {
        snprintf(want + 3 * i, 4, " %02x", vt_byte(seed, off + first + i));
        snprintf(got + 3 * i, 4, " %02x", p[first + i]);
    }
    vt_fail_(file, line,
             "message src=%d dst=%d tag=%d size=%zu iter=%llu: byte %zu is 0x%02x, expected 0x%02x; "
             "%zu wrong bytes up to byte %zu; from there expected%s got%s",
             key.src, key.dst, key.tag, key.size, (unsigned long long) key.iter, off + first, p[first],
             vt_byte(seed, off + first), bad, off + last, want, got);
}

void vt_verify_(const char *file, int line, const void *buf, struct vt_key key, size_t off, size_t n)
{
    const unsigned char *p = buf;
    uint64_t seed = vt_key_seed(key);
    size_t i = 0;

    vt_handed_back(buf);
    for (; i < n && 0 != (off + i) % 8; ++i) {
        if (p[i] != vt_byte(seed, off + i)) {
            vt_wrong(file, line, p, key, off, n, i);
        }
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t w;

        memcpy(&w, p + i, 8);
        if (w != vt_word(seed, (off + i) / 8)) {
            break; /* the loop below finds the byte */
        }
    }
    for (; i < n; ++i) {
        if (p[i] != vt_byte(seed, off + i)) {
            vt_wrong(file, line, p, key, off, n, i);
        }
    }
    vt_count(1, n);
}

void vt_count(uint64_t messages, uint64_t bytes)
{
    atomic_fetch_add_explicit(&vt_messages, messages, memory_order_relaxed);
    atomic_fetch_add_explicit(&vt_bytes, bytes, memory_order_relaxed);
}

void vt_check_(const char *file, int line, const void *buf, const MPI_Status *st, struct vt_key key)
{
    int count = -1;

    MPI(MPI_Get_count(st, MPI_BYTE, &count));
    if (st->MPI_SOURCE != key.src || st->MPI_TAG != key.tag || (size_t) count != key.size) {
        vt_fail_(file, line,
                 "status says source %d tag %d count %d, expected source %d tag %d count %zu "
                 "(message %llu of the series)",
                 st->MPI_SOURCE, st->MPI_TAG, count, key.src, key.tag, key.size,
                 (unsigned long long) key.iter);
    }
    vt_verify_(file, line, buf, key, 0, key.size);
}

/* ------------------------------------------------------------------------------ guarded buffers -- */

static unsigned char vt_canary(size_t i)
{
    return (unsigned char) (0xa5 ^ i * 29);
}

void *vt_malloc(size_t n)
{
    void *p = malloc(n ? n : 1);

    CHECK(NULL != p, "out of memory: %zu bytes", n);
    return p;
}

void vt_buf_init(struct vt_buf *b, size_t cap)
{
    b->cap = cap;
    b->base = vt_malloc(cap + 2 * VT_GUARD + 64);
    b->data = NULL;
    b->n = 0;
}

void vt_buf_free(struct vt_buf *b)
{
    free(b->base);
    b->base = NULL;
}

unsigned char *vt_guard_set(struct vt_buf *b, size_t misalign, size_t n)
{
    CHECK(n <= b->cap, "test bug: %zu bytes in a buffer of %zu", n, b->cap);
    b->data = b->base + VT_GUARD + misalign % 64;
    b->n = n;
    /* A stale copy of an earlier message must not look right: the poison covers the whole message. */
    memset(b->data, 0xdb, n);
    for (size_t i = 0; i < VT_GUARD; ++i) {
        b->data[-1 - (ptrdiff_t) i] = vt_canary(i);
        b->data[n + i] = vt_canary(i + 1000);
    }
    vt_handed_over(b->data);
    return b->data;
}

void vt_guard_check_(const char *file, int line, const struct vt_buf *b)
{
    for (size_t i = 0; i < VT_GUARD; ++i) {
        if (b->data[-1 - (ptrdiff_t) i] != vt_canary(i)) {
            vt_fail_(file, line, "byte %zu before the receive buffer of %zu bytes was overwritten",
                     i + 1, b->n);
        }
        if (b->data[b->n + i] != vt_canary(i + 1000)) {
            vt_fail_(file, line, "byte %zu after the receive buffer of %zu bytes was overwritten",
                     i + 1, b->n);
        }
    }
}

/* --------------------------------------------------------------------------------------- sizes -- */

static int vt_cmp_size(const void *a, const void *b)
{
    size_t x = *(const size_t *) a, y = *(const size_t *) b;

    return (x > y) - (x < y);
}

static size_t vt_sort_unique(size_t *list, size_t n, size_t max)
{
    size_t out = 0;

    qsort(list, n, sizeof(*list), vt_cmp_size);
    for (size_t i = 0; i < n; ++i) {
        if (list[i] <= max && (0 == out || list[out - 1] != list[i])) {
            list[out++] = list[i];
        }
    }
    return out;
}

size_t *vt_size_list(size_t small, size_t max, size_t *n)
{
    size_t *list = vt_malloc(sizeof(*list) * (small + 1 + 3 * 64 + 23 * vt_nthresholds));
    size_t k = 0;

    for (size_t s = 0; s <= small; ++s) {
        list[k++] = s;
    }
    for (size_t p = 2; p <= max && 0 != p; p <<= 1) {
        list[k++] = p - 1;
        list[k++] = p;
        list[k++] = p + 1;
    }
    for (size_t t = 0; t < vt_nthresholds; ++t) {
        list[k++] = vt_thresholds[t] - 1;
        list[k++] = vt_thresholds[t] + 1;
        for (size_t d = 0; d <= 80; d += 8) {
            list[k++] = vt_thresholds[t] + d;
            if (d <= vt_thresholds[t]) {
                list[k++] = vt_thresholds[t] - d;
            }
        }
    }
    /* The largest power of two may have a neighbour above max: allowed, buffers have room for it. */
    *n = vt_sort_unique(list, k, max + 1);
    return list;
}

size_t *vt_size_few(size_t max, size_t *n)
{
    static const size_t base[] = {0, 1, 8, 13, 64, 100, 256, 1024, 3000, 10000, 262144, 1048579};
    size_t *list = vt_malloc(sizeof(*list) * (sizeof(base) / sizeof(base[0]) + 4 * vt_nthresholds));
    size_t k = 0;

    for (size_t i = 0; i < sizeof(base) / sizeof(base[0]); ++i) {
        list[k++] = base[i];
    }
    for (size_t t = 0; t < vt_nthresholds; ++t) {
        list[k++] = vt_thresholds[t] - 72;
        list[k++] = vt_thresholds[t];
        list[k++] = vt_thresholds[t] + 1;
    }
    *n = vt_sort_unique(list, k, max);
    return list;
}

double vt_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

void vt_sleep_ms(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (0 != nanosleep(&ts, &ts) && EINTR == errno) {
    }
}
