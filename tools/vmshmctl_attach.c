/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl qemu-args and libvirt-xml: how to attach a segment to a VM.
 *
 * The device is left in its default role, in which QEMU refuses live migration. With master=on,
 * migration copies the whole segment, header and nonces included, over the one at the destination. That
 * makes the jobs of all VMs there fail, and the copied nonces would be taken as proof of shared memory.
 */
#include "vmshmctl.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct attach {
    char path[PATH_MAX];        /* absolute */
    uint32_t vm;
    uint64_t bytes;
    bool patched;               /* the device of ivshmem-patch/ */
    struct vmshm_header header;
    struct vmshm_section_entry sections[VMSHM_MAX_VMS];
};

static int attach_parse(const struct ctl_command *self, int argc, char **argv, struct attach *a,
                        bool *done)
{
    static const struct option options[] = {
        { "vm", required_argument, NULL, 'v' }, { "patched", no_argument, NULL, 'p' },
        { "help", no_argument, NULL, 'h' }, { 0 }
    };
    struct vmshm_segment s;
    struct vmshm_error e;
    const char *path;
    int status, c;

    memset(a, 0, sizeof *a);
    a->vm = CTL_VM_UNSET;
    *done = true;
    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('p' == c) {
            a->patched = true;
            continue;
        }
        if ('v' != c) {
            return ctl_option_end(self, c, argv);
        }
        if (!ctl_parse_u32(optarg, &a->vm)) {
            return ctl_usage_error(self, "--vm", NULL, "'%s' is not a VM id", optarg);
        }
    }
    status = ctl_path_argument(self, argc, argv, &path);
    if (CTL_OK == status) {
        status = ctl_open_for_vm(self, path, a->vm, &s);
    }
    if (CTL_OK != status) {
        return status;
    }
    a->bytes = s.header.total_bytes;
    a->header = s.header;
    memcpy(a->sections, s.sections, sizeof a->sections);
    vmshm_segment_close(&s);
    if (0 != (a->bytes & (a->bytes - 1))) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, path, "total_bytes", "%" PRIu64 " is not a power of two: "
                   "QEMU refuses a PCI memory BAR of such a size", a->bytes);
        return ctl_fail(&e, "Create the segment without --any-size.");
    }
    if (NULL == realpath(path, a->path)) {
        vmshm_fail_errno(&e, path, "PATH", "resolving the path");
        return ctl_fail(&e, NULL);
    }
    *done = false;
    return CTL_OK;
}

/* QEMU's option parser expects a comma in a value to be doubled; in XML, special characters are escaped. */
static void put_path(const char *path, bool double_commas, bool xml)
{
    for (; '\0' != *path; ++path) {
        const char *entity = !xml ? NULL : '&' == *path ? "&amp;" : '<' == *path ? "&lt;"
                             : '>' == *path ? "&gt;" : '\'' == *path ? "&apos;" : NULL;

        if (NULL != entity) {
            fputs(entity, stdout);
        } else {
            putchar(*path);
        }
        if (double_commas && ',' == *path) {
            putchar(',');
        }
    }
}

static void put_object(const struct attach *a, bool xml)
{
    fputs("memory-backend-file,id=vmshm,mem-path=", stdout);
    put_path(a->path, true, xml);
    printf(",size=%" PRIu64 ",share=on", a->bytes);
}

/* The patched device is told all that the guest may know, and where the guest may write. */
static void put_device(const struct attach *a)
{
    const struct vmshm_section_entry *own = &a->sections[a->vm];
    const char *separator = ",stripes=";
    char uuid[40];

    fputs("ivshmem-plain,memdev=vmshm", stdout);
    if (!a->patched) {
        return;
    }
    printf(",id=vmshm-device,vmshm=on,vm-id=%u,window-offset=%" PRIu64 ",window-size=%" PRIu64, a->vm,
           own->offset, own->length);
    printf(",segment-uuid=%s", ctl_uuid_text(a->header.segment_uuid, uuid));
    printf(",node-uuid=%s", ctl_uuid_text(a->header.node_uuid, uuid));
    if (VMSHM_NO_NUMA != own->numa_node) {
        printf(",numa-node=%u", own->numa_node);
    }
    for (uint32_t vm = 0; vm < a->header.vms; ++vm) {
        if (VMSHM_NO_NUMA != a->sections[vm].numa_node && 0 != a->sections[vm].length) {
            printf("%s%" PRIu64 ":%" PRIu64 ":%u", separator, a->sections[vm].offset,
                   a->sections[vm].length, a->sections[vm].numa_node);
            separator = "/";
        }
    }
}

static int qemu_args(const struct ctl_command *self, int argc, char **argv)
{
    struct attach a;
    bool done;
    const int status = attach_parse(self, argc, argv, &a, &done);

    if (done) {
        return status;
    }
    fputs("-object ", stdout);
    put_object(&a, false);
    fputs("\n-device ", stdout);
    put_device(&a);
    printf("\n-smbios type=11,value=vmshm.vm-id=%u\n", a.vm);
    return CTL_OK;
}

static int libvirt_xml(const struct ctl_command *self, int argc, char **argv)
{
    static const char shm[] = "/dev/shm/";
    struct attach a;
    const char *name;
    bool done;
    const int status = attach_parse(self, argc, argv, &a, &done);

    if (done) {
        return status;
    }
    name = a.path + sizeof shm - 1;
    printf("<!-- in <domain>: the VM's id (libvirt 4.1.0 or later) -->\n"
           "<sysinfo type='smbios'>\n"
           "  <oemStrings>\n"
           "    <entry>vmshm.vm-id=%u</entry>\n"
           "  </oemStrings>\n"
           "</sysinfo>\n"
           "<!-- in <os>: make it visible to the guest -->\n"
           "<smbios mode='sysinfo'/>\n", a.vm);
    /* libvirt's own element supports only files directly below /dev/shm, and only the stock device. */
    if (!a.patched && 0 == strncmp(a.path, shm, sizeof shm - 1) && NULL == strchr(name, '/')) {
        printf("<!-- in <devices>: the segment (libvirt 2.5.0 or later) -->\n<shmem name='");
        put_path(name, false, true);
        printf("'>\n  <model type='ivshmem-plain'/>\n  <size unit='M'>%" PRIu64
               "</size>\n</shmem>\n", a.bytes >> 20);
        return CTL_OK;
    }
    printf("<!-- last in <domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>: the "
           "segment;\n     libvirt's <shmem> supports neither files outside /dev/shm nor the properties of the "
           "patched\n     device; AppArmor or SELinux must allow QEMU to open the file -->\n"
           "<qemu:commandline>\n"
           "  <qemu:arg value='-object'/>\n"
           "  <qemu:arg value='");
    put_object(&a, true);
    printf("'/>\n  <qemu:arg value='-device'/>\n  <qemu:arg value='");
    put_device(&a);
    printf("'/>\n</qemu:commandline>\n");
    return CTL_OK;
}

const struct ctl_command ctl_qemu_args = {
    "qemu-args", "print the QEMU arguments that attach a segment to a VM",
    "qemu-args --vm N [--patched] PATH\n"
    "Print the QEMU arguments that attach the segment and tell the VM its id, one per line.\n\n"
    "  --vm N     the VM's id\n"
    "  --patched  for the device of ivshmem-patch/: passes it the VM's id and section, and keeps the VM\n"
    "             from writing outside its section\n",
    qemu_args
};

const struct ctl_command ctl_libvirt_xml = {
    "libvirt-xml", "print the libvirt XML that attaches a segment to a VM",
    "libvirt-xml --vm N [--patched] PATH\n"
    "Print the XML for a libvirt domain that attaches the segment and tells the VM its id.\n\n"
    "  --vm N     the VM's id\n"
    "  --patched  for the device of ivshmem-patch/: passes it the VM's id and section, and keeps the VM\n"
    "             from writing outside its section\n",
    libvirt_xml
};
