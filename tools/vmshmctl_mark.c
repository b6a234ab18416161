/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl mark-vm: record what the host knows about a VM, for the other VMs to read. */
#include "vmshmctl.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

static int set_mark(struct vmshm_segment *s, uint32_t vm, uint32_t mark, struct vmshm_error *e)
{
    struct vmshm_vm_mark *entry;
    uint8_t *header = mmap(NULL, VMSHM_HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);

    if (MAP_FAILED == header) {
        return vmshm_fail_errno(e, s->path, "mark", "mapping the header for writing");
    }
    entry = (struct vmshm_vm_mark *) (header + VMSHM_MARK_OFFSET) + vm;
    entry->changed_sec = (uint64_t) time(NULL);
    entry->changes += 1;
    /* Whoever sees the mark also sees the fields stored before it. The VM itself, when it joins, reads the count and
     * then the mark, and must not find a new count with an old mark: hence the count is stored last. */
    __atomic_store_n(&entry->mark, mark, __ATOMIC_RELEASE);
    if (VMSHM_MARK_GONE == mark) {
        __atomic_store_n(&entry->gone, entry->gone + 1, __ATOMIC_RELEASE);
    }
    munmap(header, VMSHM_HEADER_BYTES);
    return VMSHM_OK;
}

static int mark_vm(const struct ctl_command *self, int argc, char **argv)
{
    static const char *const names[] = { "unknown", "up", "gone" };
    static const struct option options[] = {
        { "vm", required_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    uint32_t vm = CTL_VM_UNSET, mark = 0;
    struct vmshm_segment s;
    struct vmshm_error e;
    const char *path;
    int status, c;

    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('v' != c) {
            return ctl_option_end(self, c, argv);
        }
        if (!ctl_parse_u32(optarg, &vm)) {
            return ctl_usage_error(self, "--vm", NULL, "'%s' is not a VM id", optarg);
        }
    }
    while (optind < argc && mark < 3 && 0 != strcmp(argv[optind], names[mark])) {
        ++mark;
    }
    if (optind == argc || 3 == mark) {
        return ctl_usage_error(self, "MARK", NULL, "'%s' is not up, gone or unknown",
                               optind == argc ? "" : argv[optind]);
    }
    ++optind;
    status = ctl_path_argument(self, argc, argv, &path);
    if (CTL_OK == status) {
        status = ctl_open_for_vm(self, path, vm, &s);
    }
    if (CTL_OK != status) {
        return status;
    }
    if (VMSHM_OK != set_mark(&s, vm, mark, &e)) {
        status = ctl_fail(&e, NULL);
    }
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_mark_vm = {
    "mark-vm", "tell the other VMs that a VM has started or stopped",
    "mark-vm --vm N up|gone|unknown PATH\n"
    "Set the host's mark of a VM, as a libvirt hook does when the VM starts or stops. A VM marked as\n"
    "gone counts as dead at once: other VMs give up connections to it and reuse the memory it was reading.\n"
    "If it is still running, its processes lose the segment; new ones get it when the mark is changed.\n\n"
    "  --vm N   the VM's id\n",
    mark_vm
};
