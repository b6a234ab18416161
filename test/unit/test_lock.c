/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock file: who may open it, who waits for whom, and how long; who looks for the dead.
 */
#define _GNU_SOURCE
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRANULE VMSHM_GRANULE_BYTES

static uint32_t proc_state(const struct vmshm_member *m, uint32_t slot)
{
    return vmshm_proc_of(&m->segment, m->id.vm, slot)->state;
}

/* --------------------------------------------------------------------- somebody has it locked */

struct holder {
    const char *path;
    int command;                        /* F_OFD_SETLK or F_SETLK */
    off_t first, count;
    int ready[2];
};

static int hold(void *arg)
{
    const struct holder *h = arg;
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = h->first,
                        .l_len = h->count };
    const int fd = open(h->path, O_RDWR | O_CLOEXEC);

    if (fd < 0 || 0 != fcntl(fd, h->command, &fl) || 1 != write(h->ready[1], "r", 1)) {
        return 1;
    }
    sleep(60);
    return 0;
}

/* A process that is none of vmshm's locks bytes of the file and keeps them. */
static pid_t start_holder(const char *path, int command, off_t first, off_t count)
{
    struct holder h = { .path = path, .command = command, .first = first, .count = count };
    char byte;
    pid_t pid;

    assert_int_equal(pipe(h.ready), 0);
    pid = unit_fork(hold, &h);
    close(h.ready[1]);
    assert_int_equal(read(h.ready[0], &byte, 1), 1);
    close(h.ready[0]);
    return pid;
}

static void end_holder(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), 128 + SIGKILL);
}

/* What runs by itself must not stand still, nor who wants to go: who waits would wait for ever here. */
static void nobody_waits_but_who_wants_something(void **state)
{
    struct vmshm_member m, other;
    uint64_t offset, beat;
    uint32_t index, slot;
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    unit_join(*state, 0, "boot", &other);
    index = unit_alloc(&m, GRANULE, &offset);
    m.lock.patience_ms = other.lock.patience_ms = 60000;
    pid = start_holder(m.lock.path, F_OFD_SETLK, 0, 1);
    alarm(20);
    beat = vmshm_section_of(&m.segment, 0)->heartbeat;
    for (int i = 0; i < 3; ++i) {
        vmshm_heartbeat(&m);
        (void) vmshm_look_after(&m);
        (void) vmshm_look_after(&other);
        assert_int_equal(vmshm_reap(&m), 0);
    }
    assert_true(vmshm_section_of(&m.segment, 0)->heartbeat == beat + 3);
    vmshm_window_release(&m, index);
    assert_int_equal(unit_window_state(&m, index), VMSHM_WINDOW_QUARANTINE);
    slot = m.slot;
    vmshm_leave(&m);
    alarm(0);
    /* To others it has left: it is not dead. */
    assert_int_equal(proc_state(&other, slot), VMSHM_PROC_LEFT);
    end_holder(pid);
    vmshm_reap(&other);
    assert_int_equal(proc_state(&other, slot), VMSHM_PROC_LEFT);
    assert_int_equal(unit_window_state(&other, index), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&other);
}

/* What a process had is given back whole, though nobody could have the mutex. */
static void leaving_gives_all_back(void **state)
{
    struct vmshm_member m, peer, next;
    uint64_t offset[3];
    uint32_t index[3];
    struct vmshm_window w;
    struct vmshm_error e;
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    unit_join(*state, 1, "tooth", &peer);
    for (int i = 0; i < 3; ++i) {
        index[i] = unit_alloc(&m, GRANULE, &offset[i]);
    }
    assert_true(vmshm_reader_enter(&peer, 0, m.slot, index[1], &w, &e));
    m.lock.patience_ms = 60000;
    pid = start_holder(m.lock.path, F_OFD_SETLK, 0, 1);
    alarm(20);
    vmshm_leave(&m);
    alarm(0);
    end_holder(pid);
    unit_join(*state, 0, "boot", &next);
    assert_int_equal(unit_window_state(&next, index[0]), VMSHM_WINDOW_EMPTY);
    assert_int_equal(unit_window_state(&next, index[1]), VMSHM_WINDOW_QUARANTINE);
    assert_int_equal(unit_window_state(&next, index[2]), VMSHM_WINDOW_EMPTY);
    vmshm_reader_leave(&peer, 0, index[1]);
    vmshm_reap(&next);
    assert_int_equal(unit_window_state(&next, index[1]), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&next);
    vmshm_leave(&peer);
}

static void must_be_held(struct vmshm_member *m, const char *who)
{
    struct vmshm_error e = { 0 };
    uint64_t offset;
    uint32_t index;

    alarm(20);
    assert_int_equal(vmshm_window_alloc(m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_ERR_HELD);
    alarm(0);
    assert_string_equal(e.file, m->lock.path);
    assert_string_equal(e.field, "mutex");
    if (NULL == strstr(e.detail, who)) {
        fail_msg("\"%s\" does not say \"%s\"", e.detail, who);
    }
}

static void waiting_ends_and_names_the_holder(void **state)
{
    struct vmshm_member m;
    uint64_t offset;
    char who[64];
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    m.lock.patience_ms = 50;
    pid = start_holder(m.lock.path, F_OFD_SETLK, 0, 1);
    must_be_held(&m, "by a process that does not say which");
    end_holder(pid);
    pid = start_holder(m.lock.path, F_SETLK, 0, 1);
    snprintf(who, sizeof who, "by process %d (", (int) pid);
    must_be_held(&m, who);
    end_holder(pid);
    /* Nobody has it: all is well again. */
    unit_alloc(&m, GRANULE, &offset);
    vmshm_leave(&m);
}

struct stopper {
    const char *dir;
    int ready[2];
};

static int stop_inside(void *arg)
{
    const struct stopper *s = arg;
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(s->dir, 0, "boot", &m, &e)
        || VMSHM_OK != vmshm_lock_enter(&m.lock, &e) || 1 != write(s->ready[1], "r", 1)) {
        return 1;
    }
    raise(SIGSTOP);
    vmshm_lock_leave(&m.lock);
    vmshm_leave(&m);
    return 0;
}

static void a_member_that_is_stopped_inside_is_named(void **state)
{
    struct stopper s = { .dir = *state };
    struct vmshm_join_options o = { .vm_id = 0, .patience_ms = 50 };
    char segment[512], locks[512], root[512], who[64];
    struct vmshm_member m, late;
    struct vmshm_error e = { 0 };
    char byte;
    pid_t pid;
    int status;

    unit_join(*state, 0, "boot", &m);
    m.lock.patience_ms = 50;
    assert_int_equal(pipe(s.ready), 0);
    pid = unit_fork(stop_inside, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    snprintf(who, sizeof who, "by process %d (", (int) pid);
    must_be_held(&m, who);
    must_be_held(&m, ", stopped)");
    /* Who comes new is told the same. */
    strcpy(segment, unit_path(*state, "segment"));
    strcpy(locks, unit_path(*state, "locks-boot"));
    strcpy(root, unit_path(*state, "root-boot"));
    o.segment = segment;
    o.lock_dir = locks;
    o.root = root;
    alarm(20);
    assert_int_equal(vmshm_join(&o, &late, &e), VMSHM_ERR_HELD);
    alarm(0);
    assert_non_null(strstr(e.detail, who));
    kill(pid, SIGCONT);
    assert_int_equal(unit_wait(pid), 0);
    unit_join(*state, 0, "boot", &late);
    vmshm_leave(&late);
    vmshm_leave(&m);
    close(s.ready[0]);
    close(s.ready[1]);
}

/* Free slots whose bytes somebody locks are not "taken": another remedy. */
static void locked_slots_are_told_from_taken_ones(void **state)
{
    struct vmshm_member m, late;
    struct vmshm_error e = { 0 };
    pid_t pid;

    unit_join(*state, 0, "boot", &m);
    pid = start_holder(m.lock.path, F_OFD_SETLK, 1 + (off_t) m.slot + 1, 100);
    assert_int_equal(unit_try_join(*state, 0, "boot", &late, &e), VMSHM_ERR_HELD);
    assert_string_equal(e.file, m.lock.path);
    assert_string_equal(e.field, "procs");
    assert_non_null(strstr(e.detail, "1 are taken"));
    end_holder(pid);
    unit_join(*state, 0, "boot", &late);
    vmshm_leave(&late);
    vmshm_leave(&m);
}

/* --------------------------------------------------------------------------- who may open it */

static void make_segment(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
    unit_write_text(path, "segment");
    assert_int_equal(chown(path, uid, gid), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static const uint8_t uuid[16] = { 1 };

static int open_lock(const char *dir, const char *segment, struct vmshm_lock *lock,
                     struct vmshm_error *e)
{
    const int fd = open(segment, O_RDONLY | O_CLOEXEC);
    const int rc = vmshm_lock_open(lock, dir, uuid, 0, fd, e);

    close(fd);
    return rc;
}

static void expect_access(const char *dir, const char *segment, uid_t uid, gid_t gid, mode_t mode)
{
    struct vmshm_error e = { 0 };
    struct vmshm_lock lock;
    struct stat st;

    if (VMSHM_OK != open_lock(dir, segment, &lock, &e)) {
        fail_msg("%s: %s", e.field, e.detail);
    }
    assert_int_equal(fstat(lock.fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, mode);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
    vmshm_lock_close(&lock);
}

#define ALICE 54321
#define BOB   54322
#define GROUP 54323

/* Only root can give files away. */
static void access_is_that_of_the_segment(void **state)
{
    const char *segment = unit_path(*state, "seg");
    const char *dir = unit_path(*state, "locks");
    char path[512];

    if (0 != geteuid()) {
        return;
    }
    unit_mkdirs(dir);
    make_segment(segment, ALICE, GROUP, 0600);
    expect_access(dir, segment, ALICE, GROUP, 0600);
    /* The segment was opened to more users meanwhile, and one of an earlier version to all. */
    make_segment(segment, 0, GROUP, 0660);
    expect_access(dir, segment, 0, GROUP, 0660);
    make_segment(segment, 0, GROUP, 0666);
    expect_access(dir, segment, 0, GROUP, 0666);
    make_segment(segment, 0, GROUP, 0660);
    expect_access(dir, segment, 0, GROUP, 0660);
    snprintf(path, sizeof path, "%s/vmshm-01000000000000000000000000000000-0.lock", dir);
    assert_int_equal(unlink(path), 0);
}

struct user {
    const char *dir, *segment;
    uid_t uid;
    gid_t gid;
    int expected;
    mode_t mode;
};

static int open_as_user(void *arg)
{
    const struct user *u = arg;
    struct vmshm_error e = { 0 };
    struct vmshm_lock lock;
    struct stat st;
    const int fd = open(u->segment, O_RDONLY | O_CLOEXEC);

    if (0 != setgid(u->gid) || 0 != setuid(u->uid)) {
        return 1;
    }
    if (u->expected != vmshm_lock_open(&lock, u->dir, uuid, 0, fd, &e)) {
        return 2;
    }
    if (VMSHM_OK == u->expected) {
        return 0 == fstat(lock.fd, &st) && u->mode == (st.st_mode & 0777) ? 0 : 3;
    }
    return 0 == strcmp(e.field, "common_vmshm_lock_dir")
           && NULL != strstr(e.detail, "users who may not open the segment") ? 0 : 4;
}

static bool no_links;

int __real_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);

int __wrap_link(const char *from, const char *to)
{
    if (no_links) {
        errno = EPERM;
        return -1;
    }
    return __real_link(from, to);
}

/* As on vfat. */
static void it_needs_no_hard_links(void **state)
{
    struct vmshm_lock first, second;
    struct vmshm_error e;
    char segment[512];
    int fd;

    strcpy(segment, unit_path(*state, "seg"));
    unit_write_text(segment, "");
    fd = open(segment, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    no_links = true;
    assert_int_equal(vmshm_lock_open(&first, *state, uuid, 0, fd, &e), VMSHM_OK);
    assert_int_equal(vmshm_lock_open(&second, *state, uuid, 0, fd, &e), VMSHM_OK);
    no_links = false;
    assert_true(first.inode == second.inode);
    assert_int_equal(unlink(first.path), 0);
    vmshm_lock_close(&first);
    vmshm_lock_close(&second);
    close(fd);
}

/* Not as if there were no segment. */
static void a_missing_directory_is_named(void **state)
{
    const char *dir = unit_path(*state, "none");
    char segment[512];
    struct vmshm_lock lock;
    struct vmshm_error e;
    int fd;

    strcpy(segment, unit_path(*state, "seg"));
    unit_write_text(segment, "");
    fd = open(segment, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(vmshm_lock_open(&lock, dir, uuid, 0, fd, &e), VMSHM_ERR_SYSTEM);
    assert_non_null(strstr(e.detail, "there is no such directory"));
    close(fd);
}

static void others_cannot_slip_one_in(void **state)
{
    struct user u = { .segment = unit_path(*state, "seg"), .dir = unit_path(*state, "locks") };
    char path[512];

    if (0 != geteuid()) {
        return;
    }
    assert_int_equal(chmod(*state, 0755), 0);
    unit_mkdirs(u.dir);
    assert_int_equal(chmod(u.dir, 01777), 0);
    snprintf(path, sizeof path, "%s/vmshm-01000000000000000000000000000000-0.lock", u.dir);
    /* A member of the group makes it for the group, another one uses it. */
    make_segment(u.segment, 0, GROUP, 0660);
    u.uid = ALICE;
    u.gid = GROUP;
    u.mode = 0660;
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
    u.uid = BOB;
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
    assert_int_equal(unlink(path), 0);
    /* Bob is in no group, and made one that he can lock. */
    unit_write_text(path, "");
    assert_int_equal(chown(path, BOB, BOB), 0);
    assert_int_equal(chmod(path, 0666), 0);
    u.uid = ALICE;
    u.expected = VMSHM_ERR_PERMISSION;
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
    /* Root does not make it its own either: Bob may have it open, and locked. */
    u.uid = 0;
    u.gid = 0;
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
    assert_int_equal(chmod(path, 0666), 0);
    u.uid = ALICE;
    u.gid = GROUP;
    /* A segment that is Alice's alone. */
    make_segment(u.segment, ALICE, GROUP, 0600);
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
    /* With one for everybody nothing is to be guarded. */
    make_segment(u.segment, 0, 0, 0666);
    u.expected = VMSHM_OK;
    u.mode = 0666;
    assert_int_equal(unit_wait(unit_fork(open_as_user, &u)), 0);
}

static void the_directory_is_the_same_for_all(void **state)
{
    const char *root = *state;

    assert_string_equal(vmshm_lock_dir(root), "/tmp");
    unit_mkdirs(unit_path(root, "run/lock"));
    /* Root may write there, users may not. */
    assert_int_equal(chmod(unit_path(root, "run/lock"), 0755), 0);
    assert_string_equal(vmshm_lock_dir(root), "/tmp");
    assert_int_equal(chmod(unit_path(root, "run/lock"), 01777), 0);
    assert_string_equal(vmshm_lock_dir(root), "/run/lock");
    unit_mkdirs(unit_path(root, "run/vmshm"));
    assert_string_equal(vmshm_lock_dir(root), "/run/vmshm");
}

/* ----------------------------------------------------------------------- who looks for the dead */

#define MEMBERS 8

static void one_of_them_looks(void **state)
{
    struct vmshm_member m[MEMBERS];
    struct vmshm_section *section;
    uint32_t before, looker;

    for (int i = 0; i < MEMBERS; ++i) {
        unit_join(*state, 0, "boot", &m[i]);
    }
    section = vmshm_section_of(&m[0].segment, 0);
    before = section->looks;
    for (int round = 1; round <= 5; ++round) {
        for (int i = 0; i < MEMBERS; ++i) {
            (void) vmshm_look_after(&m[i]);
        }
        assert_int_equal(section->looks, before + (uint32_t) round);
    }
    /* The one who did stands still: another one does it after two rounds at the latest, and stays with it
     * when the first one comes back. */
    looker = section->looker - 1;
    before = section->looks;
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < MEMBERS; ++i) {
            if (m[i].slot != looker) {
                (void) vmshm_look_after(&m[i]);
            }
        }
    }
    assert_in_range(section->looks, before + 3, before + 4);
    assert_int_not_equal(section->looker - 1, looker);
    before = section->looks;
    for (int i = 0; i < MEMBERS; ++i) {
        (void) vmshm_look_after(&m[i]);
    }
    assert_int_equal(section->looks, before + 1);
    for (int i = 0; i < MEMBERS; ++i) {
        vmshm_leave(&m[i]);
    }
}

static int join_and_wait(void *arg)
{
    struct stopper *s = arg;
    struct vmshm_member m;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    if (VMSHM_OK != unit_try_join(s->dir, 0, "boot", &m, &e)
        || VMSHM_OK != vmshm_window_alloc(&m, 13 * UNIT_MIB, VMSHM_KIND_PRIVATE, &index, &offset, &e)
        || 1 != write(s->ready[1], "r", 1)) {
        return 1;
    }
    sleep(60);
    return 0;
}

/* Between two looks nobody knows of a death, but who is short of memory or of a slot looks himself. */
static void who_needs_the_dead_ones_memory_looks(void **state)
{
    struct stopper s = { .dir = *state };
    struct vmshm_member looker, m[MEMBERS];
    uint64_t offset;
    char byte;
    pid_t pid;

    unit_join(*state, 0, "boot", &looker);
    (void) vmshm_look_after(&looker);
    assert_int_equal(pipe(s.ready), 0);
    pid = unit_fork(join_and_wait, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    end_holder(pid);
    unit_join(*state, 0, "boot", &m[0]);
    unit_alloc(&m[0], 13 * UNIT_MIB, &offset);
    vmshm_leave(&m[0]);
    pid = unit_fork(join_and_wait, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    end_holder(pid);
    for (int i = 0; i < MEMBERS - 1; ++i) {
        unit_join(*state, 0, "boot", &m[i]);
    }
    for (int i = 0; i < MEMBERS - 1; ++i) {
        vmshm_leave(&m[i]);
    }
    vmshm_leave(&looker);
    close(s.ready[0]);
    close(s.ready[1]);
}

static void the_looker_finds_the_dead(void **state)
{
    struct stopper s = { .dir = *state };
    struct vmshm_member looker;
    char byte;
    pid_t pid;

    unit_join(*state, 0, "boot", &looker);
    assert_int_equal(pipe(s.ready), 0);
    pid = unit_fork(join_and_wait, &s);
    assert_int_equal(read(s.ready[0], &byte, 1), 1);
    assert_int_equal(vmshm_look_after(&looker), 0);
    end_holder(pid);
    assert_int_equal(vmshm_look_after(&looker), 1);
    assert_int_equal(vmshm_look_after(&looker), 0);
    vmshm_leave(&looker);
    close(s.ready[0]);
    close(s.ready[1]);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)
#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(nobody_waits_but_who_wants_something), SMALL(leaving_gives_all_back),
        SMALL(waiting_ends_and_names_the_holder), SMALL(a_member_that_is_stopped_inside_is_named),
        SMALL(locked_slots_are_told_from_taken_ones), IN_DIR(access_is_that_of_the_segment),
        IN_DIR(others_cannot_slip_one_in), IN_DIR(a_missing_directory_is_named), IN_DIR(it_needs_no_hard_links),
        IN_DIR(the_directory_is_the_same_for_all),
        SMALL(one_of_them_looks), SMALL(who_needs_the_dead_ones_memory_looks),
        SMALL(the_looker_finds_the_dead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
