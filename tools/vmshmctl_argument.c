/* SPDX-License-Identifier: BSD-3-Clause */
/* The arguments that commands have in common: unknown options, PATH, and --vm. */
#include "vmshmctl.h"

int ctl_option_end(const struct ctl_command *self, int option, char **argv)
{
    if ('h' == option) {
        printf("usage: vmshmctl %s", self->usage);
        return CTL_OK;
    }
    return ctl_usage_error(self, argv[optind - 1], NULL, "%s",
                           ':' == option ? "it needs a value" : "there is no such option");
}

int ctl_path_argument(const struct ctl_command *self, int argc, char **argv, const char **path)
{
    if (optind + 1 != argc) {
        return ctl_usage_error(self, "PATH", NULL, "%s", optind == argc
                               ? "the path of the segment is missing"
                               : "exactly one path is expected");
    }
    *path = argv[optind];
    if ('\0' == (*path)[0]) {
        return ctl_usage_error(self, "PATH", NULL, "it is empty");
    }
    return CTL_OK;
}

int ctl_open_for_vm(const struct ctl_command *self, const char *path, uint32_t vm,
                    struct vmshm_segment *s)
{
    struct vmshm_error e;

    if (CTL_VM_UNSET == vm) {
        return ctl_usage_error(self, "--vm", NULL, "the VM's id is missing");
    }
    if (VMSHM_OK != vmshm_segment_open(path, s, &e)) {
        return ctl_fail(&e, NULL);
    }
    if (vm >= s->header.vms) {
        const uint32_t vms = s->header.vms;

        vmshm_segment_close(s);
        return ctl_usage_error(self, "--vm", vmshm_error_remedy(VMSHM_ERR_VM_ID_RANGE),
                               "%u is not in the segment's table, which has VMs 0 to %u", vm,
                               vms - 1);
    }
    return CTL_OK;
}
