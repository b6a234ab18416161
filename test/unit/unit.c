/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void unit_dir_make(char dir[64])
{
    const char *tmp = getenv("TMPDIR");

    /* The length leaves room in vmshm's own path buffers. */
    snprintf(dir, 64, "%s/vmshm-unit-XXXXXX", NULL != tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (NULL == mkdtemp(dir)) {
        perror(dir);
        abort();
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

void unit_dir_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int unit_setup(void **state)
{
    *state = malloc(64);
    unit_dir_make(*state);
    return 0;
}

int unit_teardown(void **state)
{
    unit_dir_remove(*state);
    free(*state);
    return 0;
}

const char *unit_path(const char *dir, const char *name)
{
    static char paths[16][512];
    static unsigned next;
    char *path = paths[next++ % 16];

    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

void unit_mkdirs(const char *path)
{
    char part[512];

    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; '\0' != *p; ++p) {
        if ('/' == *p) {
            *p = '\0';
            mkdir(part, 0755);
            *p = '/';
        }
    }
    mkdir(part, 0755);
}

void unit_write(const char *path, const void *data, size_t bytes)
{
    char dir[512];
    char part[560];
    FILE *f;

    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    unit_mkdirs(dir);
    /* Processes that race must not read each other's half-written files. */
    snprintf(part, sizeof part, "%s.part-%d", path, (int) getpid());
    f = fopen(part, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(part, path), 0);
}

void unit_write_text(const char *path, const char *text)
{
    unit_write(path, text, strlen(text));
}

void unit_copy_file(const char *from, const char *to)
{
    static char buf[1 << 16];
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t got;

    assert_true(in >= 0 && out >= 0);
    while ((got = read(in, buf, sizeof buf)) > 0) {
        assert_int_equal(write(out, buf, (size_t) got), got);
    }
    close(in);
    close(out);
}

void unit_image_seal(uint8_t image[VMSHM_CHECKED_BYTES])
{
    struct vmshm_header h;

    memcpy(&h, image, sizeof h);
    h.checksum = vmshm_header_checksum(image);
    memcpy(image, &h, sizeof h);
}

void unit_image(uint8_t image[VMSHM_CHECKED_BYTES], uint32_t vms, uint32_t procs, uint32_t windows,
                uint64_t section_bytes, uint64_t open_bytes)
{
    struct vmshm_header h = {
        .magic = VMSHM_MAGIC, .version = VMSHM_FORMAT_VERSION,
        .checked_bytes = VMSHM_CHECKED_BYTES,
        .total_bytes = VMSHM_HEADER_BYTES + vms * section_bytes, .page_bytes = 4096,
        .created_sec = 1, .vms = vms, .procs = procs, .windows = windows
    };

    memset(image, 0, VMSHM_CHECKED_BYTES);
    for (int i = 0; i < 16; ++i) {
        h.segment_uuid[i] = (uint8_t) vmshm_random64();
    }
    memcpy(image, &h, sizeof h);
    for (uint32_t vm = 0; vm < vms; ++vm) {
        const struct vmshm_section_entry entry = {
            .offset = VMSHM_HEADER_BYTES + vm * section_bytes, .length = section_bytes,
            .open_offset = section_bytes - open_bytes, .vm_id = vm, .numa_node = VMSHM_NO_NUMA
        };

        memcpy(image + VMSHM_TABLE_OFFSET + vm * sizeof entry, &entry, sizeof entry);
    }
    unit_image_seal(image);
}

void unit_segment(const char *path, uint64_t section_bytes, uint64_t open_bytes)
{
    uint8_t image[VMSHM_CHECKED_BYTES];

    unit_image(image, 2, 8, 64, section_bytes, open_bytes);
    unit_write(path, image, sizeof image);
    assert_int_equal(truncate(path, (off_t) (VMSHM_HEADER_BYTES + 2 * section_bytes)), 0);
}

const char *unit_root(const char *dir, const char *name, const char *boot_id)
{
    static char roots[8][512];
    static unsigned next;
    char *root = roots[next++ % 8];
    char path[600];

    snprintf(root, sizeof roots[0], "%s/%s", dir, name);
    snprintf(path, sizeof path, "%s/proc/sys/kernel/random/boot_id", root);
    unit_write_text(path, boot_id);
    return root;
}

int unit_try_join(const char *dir, uint32_t vm, const char *boot, struct vmshm_member *m,
                  struct vmshm_error *e)
{
    char segment[512], locks[512], root[512], name[64], text[64];
    struct vmshm_join_options o = {
        .segment = segment, .lock_dir = locks, .root = root, .vm_id = (int) vm, .name = vm
    };

    snprintf(segment, sizeof segment, "%s/segment", dir);
    snprintf(locks, sizeof locks, "%s/locks-%s", dir, boot);
    unit_mkdirs(locks);
    snprintf(name, sizeof name, "root-%s", boot);
    snprintf(text, sizeof text, "%016llx\n",
             (unsigned long long) vmshm_fnv1a(VMSHM_FNV_START, boot, strlen(boot)));
    snprintf(root, sizeof root, "%s", unit_root(dir, name, text));
    memset(o.job, 0x5a, sizeof o.job);
    return vmshm_join(&o, m, e);
}

void unit_join(const char *dir, uint32_t vm, const char *boot, struct vmshm_member *m)
{
    struct vmshm_error e = { 0 };

    if (VMSHM_OK != unit_try_join(dir, vm, boot, m, &e)) {
        fail_msg("join of VM %u: %s: %s: %s", vm, e.file, e.field, e.detail);
    }
}

void unit_join_slot(const char *dir, uint32_t vm, const char *boot, uint32_t slot,
                    struct vmshm_member *m)
{
    for (int i = 0; i < 64; ++i) {
        unit_join(dir, vm, boot, m);
        if (slot == m->slot) {
            return;
        }
        vmshm_leave(m);
    }
    fail_msg("slot %u of VM %u is never handed out", slot, vm);
}

uint32_t unit_publish(struct vmshm_member *m)
{
    struct vmshm_window_header *w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    assert_int_equal(vmshm_window_alloc(m, vmshm_control_bytes(&m->segment.header),
                                        VMSHM_KIND_PRIVATE, &index, &offset, &e), VMSHM_OK);
    w = vmshm_at(m, offset);
    w->nonce = m->nonce;
    w->magic = VMSHM_WINDOW_MAGIC;
    vmshm_window_publish(m, index);
    return index;
}

pid_t unit_fork(int (*run)(void *), void *arg)
{
    const pid_t pid = fork();

    assert_true(pid >= 0);
    if (0 == pid) {
        _exit(run(arg));
    }
    return pid;
}

int unit_wait(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int unit_setup_segment(void **state)
{
    unit_setup(state);
    unit_segment(unit_path(*state, "segment"), UNIT_SECTION, 0);
    return 0;
}

uint32_t unit_alloc(struct vmshm_member *m, uint64_t bytes, uint64_t *offset)
{
    struct vmshm_error e = { 0 };
    uint32_t index;

    if (VMSHM_OK != vmshm_window_alloc(m, bytes, VMSHM_KIND_PRIVATE, &index, offset, &e)) {
        fail_msg("%s: %s", e.field, e.detail);
    }
    return index;
}

uint32_t unit_window_state(const struct vmshm_member *m, uint32_t index)
{
    return vmshm_window_of(&m->segment, m->id.vm, index)->state;
}
