/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl identity: in a guest, which segment is found and who this VM is. */
#include "vmshmctl.h"

#include <inttypes.h>
#include <stdlib.h>

#include "vmshm_identity.h"

static int identity(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = {
        { "vm-id", required_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    const char *path = getenv("OMPI_MCA_common_vmshm_segment");
    const char *parameter = getenv("OMPI_MCA_common_vmshm_vm_id");
    int param = VMSHM_VM_ID_UNSET, status = CTL_OK, c;
    struct vmshm_identity id;
    struct vmshm_segment s;
    struct vmshm_error e;
    uint32_t number;
    char buf[40];

    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('v' != c) {
            return ctl_option_end(self, c, argv);
        }
        parameter = optarg;
    }
    if (NULL != parameter && '\0' != parameter[0]) {
        if (!ctl_parse_u32(parameter, &number) || number > INT32_MAX) {
            return ctl_usage_error(self, "--vm-id", NULL, "'%s' is not a VM id", parameter);
        }
        param = (int) number;
    }
    if (optind < argc) {
        status = ctl_path_argument(self, argc, argv, &path);
        if (CTL_OK != status) {
            return status;
        }
    }
    if (VMSHM_OK != vmshm_segment_open(path, &s, &e)) {
        return ctl_fail(&e, NULL);
    }
    printf("segment: %s\n", s.path);
    printf("provider: %s\n", s.provider);
    printf("segment-uuid: %s\n", ctl_uuid_text(s.header.segment_uuid, buf));
    printf("total-bytes: %" PRIu64 "\n", s.header.total_bytes);
    id = s.id;
    if (!s.managed && VMSHM_OK != vmshm_identity_get("", param, s.header.vms, &id, &e)) {
        status = ctl_fail(&e, NULL);
    } else {
        printf("vm-id: %u\n", id.vm);
        printf("vm-id-from: %s\n", id.source);
        printf("epoch: %016" PRIx64 "\n", id.epoch);
        printf("section: 0x%" PRIx64 " +%" PRIu64 "\n", s.sections[id.vm].offset,
               s.sections[id.vm].length);
    }
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_identity = {
    "identity", "in a guest: which segment is found, which VM this is",
    "identity [--vm-id N] [PATH]\n"
    "Tell which segment a process of this machine finds, which VM id it takes and from where.\n"
    "Reads OMPI_MCA_common_vmshm_segment and OMPI_MCA_common_vmshm_vm_id as a job does.\n\n"
    "  --vm-id N   as if the MCA parameter common_vmshm_vm_id were N\n",
    identity
};
