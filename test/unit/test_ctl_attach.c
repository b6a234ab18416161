/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl: how a segment is attached to a VM, and what identity finds in it. */
#include "ctl.h"

static void qemu_args(void **state)
{
    const char *path = unit_path(*state, "a,b");
    char wanted[1024];

    must(*state, "create", "--sparse", "--size", "64M", path);
    must(*state, "qemu-args", "--vm", "1", path);
    snprintf(wanted, sizeof wanted, "-object memory-backend-file,id=vmshm,mem-path=%s/a,,b,"
             "size=67108864,share=on\n-device ivshmem-plain,memdev=vmshm\n"
             "-smbios type=11,value=vmshm.vm-id=1\n", (const char *) *state);
    assert_string_equal(out, wanted);
    must(*state, "create", "--force", "--sparse", "--size", "64M", path);
    must(*state, "qemu-args", "--vm", "1", "--patched", path);
    assert_contains(out, "\n-device ivshmem-plain,memdev=vmshm,id=vmshm-device,vmshm=on,vm-id=1,"
                    "window-offset=33554432,window-size=31457280,segment-uuid=");
    expect_status(run(*state, "qemu-args", path), 2);
    expect_status(run(*state, "qemu-args", "--vm", "2", path), 2);
    expect_status(run(*state, "qemu-args", "--vm", "0", unit_path(*state, "none")), 1);
}

static void libvirt_xml(void **state)
{
    const char *path = unit_path(*state, "a&b");
    char shm[64];
    int status;

    must(*state, "create", "--sparse", "--size", "64M", path);
    must(*state, "libvirt-xml", "--vm", "1", path);
    assert_contains(out, "<entry>vmshm.vm-id=1</entry>");
    assert_contains(out, "<smbios mode='sysinfo'/>");
    assert_contains(out, "/a&amp;b,size=67108864,share=on'/>");
    assert_contains(out, "<qemu:arg value='ivshmem-plain,memdev=vmshm'/>");

    snprintf(shm, sizeof shm, "/dev/shm/vmshm-unit-%d", (int) getpid());
    must(*state, "create", "--sparse", "--size", "64M", shm);
    status = run(*state, "libvirt-xml", "--vm", "0", shm);
    unlink(shm);
    expect_status(status, 0);
    assert_contains(out, "<shmem name='vmshm-unit-");
    assert_contains(out, "<size unit='M'>64</size>");
    assert_null(strstr(out, "qemu:commandline"));

    must(*state, "create", "--sparse", "--size", "64M", shm);
    status = run(*state, "libvirt-xml", "--vm", "1", "--patched", shm);
    unlink(shm);
    expect_status(status, 0);
    assert_contains(out, "vmshm=on,vm-id=1,window-offset=33554432,window-size=31457280,");
    assert_null(strstr(out, "<shmem name"));
}

static void identity(void **state)
{
    const char *path = unit_path(*state, "segment");
    char line[600];

    must(*state, "identity", "--vm-id", "1", path);
    snprintf(line, sizeof line, "segment: %s\nprovider: file\n", path);
    assert_contains(out, line);
    assert_contains(out, "vm-id: 1\n");
    assert_contains(out, "vm-id-from: parameter\n");
    expect_status(run(*state, "identity", "--vm-id", "7", path), 1);
    assert_contains(err, "VMs 0 to 1");
    expect_status(run(*state, "identity", "--vm-id", "x", path), 2);
}

static void put_parameters(const char *file, const char *text)
{
    FILE *f = fopen(file, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* As a job reads it: the environment before the user's file before the system's. */
static void identity_of_parameter_files(void **state)
{
    char first[400], second[400], files[1024], line[600];
    const char *path = unit_path(*state, "segment");

    snprintf(first, sizeof first, "%s", unit_path(*state, "first.conf"));
    snprintf(second, sizeof second, "%s", unit_path(*state, "second.conf"));
    snprintf(files, sizeof files, "%s,%s", first, second);
    setenv("OMPI_MCA_mca_base_param_files", files, 1);
    snprintf(line, sizeof line, "common_vmshm_segment=%s\ncommon_vmshm_vm_id = 0\n", path);
    put_parameters(second, line);
    put_parameters(first, "# common_vmshm_vm_id = 0\n\tcommon_vmshm_vm_id = 0\n"
                   "// common_vmshm_vm_id = 0\n/* common_vmshm_vm_id = 0 */ common_vmshm_vm_id =  1 \t\n"
                   "no parameter\n/*\ncommon_vmshm_vm_id = 0\n */\n");
    must(*state, "identity");
    snprintf(line, sizeof line, "vm-id: 1\nvm-id-from: parameter\nvm-id-set-in: %s\n", first);
    assert_contains(out, line);
    unlink(first);
    must(*state, "identity");
    snprintf(line, sizeof line, "vm-id: 0\nvm-id-from: parameter\nvm-id-set-in: %s\n", second);
    assert_contains(out, line);
    put_parameters(first, "common_vmshm_vm_id = 1 # no comment, for Open MPI\n");
    expect_status(run(*state, "identity"), 1);
    assert_contains(err, first);
    assert_contains(err, "not a number");
    must(*state, "identity", "--vm-id", "1");
    assert_contains(out, "vm-id-set-in: --vm-id\n");
    put_parameters(first, "common_vmshm_vm_id = 1\r\n");
    expect_status(run(*state, "identity"), 1);
    assert_contains(err, "not a number");
    put_parameters(first, "-mca common_vmshm_vm_id  1\n--mca common_vmshm_segment ~/segment\n");
    setenv("HOME", *state, 1);
    setenv("OMPI_MCA_mca_base_param_files", "~/first.conf", 1);
    must(*state, "identity");
    snprintf(line, sizeof line, "segment: %s\n", path);
    assert_contains(out, line);
    assert_contains(out, "vm-id: 1\n");
    setenv("OMPI_MCA_mca_base_param_files", "none", 1);
    expect_status(run(*state, "identity", path), 1);
    assert_contains(err, "common_vmshm_vm_id is not set");
    unsetenv("OMPI_MCA_mca_base_param_files");
    setenv("OPAL_SYSCONFDIR", *state, 1);
    snprintf(line, sizeof line, "%s", unit_path(*state, "openmpi-mca-params.conf"));
    put_parameters(line, "common_vmshm_vm_id = +1\n");
    must(*state, "identity", path);
    assert_contains(out, "vm-id: 1\n");
    unlink(line);
    unsetenv("OPAL_SYSCONFDIR");
    unlink(first);
    unlink(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(qemu_args), EMPTY(libvirt_xml), SMALL(identity), SMALL(identity_of_parameter_files),
    };

    return cmocka_run_group_tests_name("vmshmctl", tests, NULL, NULL);
}
