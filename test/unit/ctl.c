/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl.h"

char out[1 << 20], err[1 << 14];

void slurp(const char *path, char *buf, size_t bytes)
{
    FILE *f = fopen(path, "re");
    size_t got;

    assert_non_null(f);
    got = fread(buf, 1, bytes - 1, f);
    buf[got] = '\0';
    fclose(f);
}

/* Run vmshmctl with these arguments; returns its exit status. */
int run_argv(const char *dir, const char *const *argv)
{
    const char *tool = getenv("VMSHMCTL");
    char out_path[512], err_path[512];
    int status;
    pid_t pid;

    snprintf(out_path, sizeof out_path, "%s/.out", dir);
    snprintf(err_path, sizeof err_path, "%s/.err", dir);
    pid = fork();
    assert_true(pid >= 0);
    if (0 == pid) {
        if (NULL == freopen(out_path, "w", stdout) || NULL == freopen(err_path, "w", stderr)) {
            _exit(126);
        }
        unsetenv("OMPI_MCA_common_vmshm_segment");
        unsetenv("OMPI_MCA_common_vmshm_vm_id");
        execv(NULL != tool ? tool : "./vmshmctl", (char *const *) argv);
        _exit(127);
    }
    status = unit_wait(pid);
    if (status >= 126) {
        fail_msg("%s cannot be run, or died: status %d", NULL != tool ? tool : "./vmshmctl",
                 status);
    }
    slurp(out_path, out, sizeof out);
    slurp(err_path, err, sizeof err);
    unlink(out_path);
    unlink(err_path);
    return status;
}

void expect_status(int got, int wanted)
{
    if (got != wanted) {
        fail_msg("exit status %d, not %d\n%s%s", got, wanted, out, err);
    }
}

void assert_contains(const char *text, const char *part)
{
    if (NULL == strstr(text, part)) {
        fail_msg("'%s' is not in:\n%s", part, text);
    }
}

/* --- JSON of `show --json` */

cJSON *show_json(const char *dir, const char *path)
{
    cJSON *json;

    must(dir, "show", "--json", path);
    json = cJSON_Parse(out);
    if (NULL == json) {
        fail_msg("not JSON: %s", out);
    }
    return json;
}

const cJSON *vm_of(const cJSON *json, int vm)
{
    return cJSON_GetArrayItem(cJSON_GetObjectItem(json, "vms"), vm);
}

uint64_t number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);

    if (!cJSON_IsNumber(item)) {
        fail_msg("%s is no number", name);
    }
    return (uint64_t) item->valuedouble;
}

const char *string(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

    if (NULL == text) {
        fail_msg("%s is no string", name);
    }
    return text;
}

void poke(const char *path, uint64_t at, uint64_t value, size_t bytes)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, &value, bytes, (off_t) at), (ssize_t) bytes);
    close(fd);
}

uint64_t peek(const char *path, uint64_t at, size_t bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t value = 0;

    assert_int_equal(pread(fd, &value, bytes, (off_t) at), (ssize_t) bytes);
    close(fd);
    return value;
}

/* --- a process of a VM that runs */

static int beat(void *dir)
{
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(dir, 1, "boot", &m, &e)) {
        return 1;
    }
    /* Not for ever: a test that fails must not leave this process behind. */
    for (int i = 0; i < 200; ++i) {
        const struct timespec tick = { 0, 100000000 };

        vmshm_heartbeat(&m);
        nanosleep(&tick, NULL);
    }
    return 2;
}

pid_t start_vm(const char *dir)
{
    const pid_t pid = unit_fork(beat, (void *) dir);
    const uint64_t at = VMSHM_HEADER_BYTES + SECTION + offsetof(struct vmshm_section, heartbeat);

    for (int i = 0; i < 500 && 0 == peek(unit_path(dir, "segment"), at, 8); ++i) {
        const struct timespec tick = { 0, 10000000 };

        nanosleep(&tick, NULL);
    }
    return pid;
}

void stop_vm(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), 128 + SIGKILL);
}

int small_segment(void **state)
{
    unit_setup(state);
    unit_segment(unit_path(*state, "segment"), SECTION, 4 * UNIT_MIB);
    return 0;
}
