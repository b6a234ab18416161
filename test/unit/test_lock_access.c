/* SPDX-License-Identifier: BSD-3-Clause */
/* The lock file of a VM: which directory it is in, and who may open it. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(access_is_that_of_the_segment), IN_DIR(others_cannot_slip_one_in),
        IN_DIR(a_missing_directory_is_named), IN_DIR(it_needs_no_hard_links),
        IN_DIR(the_directory_is_the_same_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
