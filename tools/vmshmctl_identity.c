/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl identity: which segment is found in a guest, and which VM it is. */
#include "vmshmctl.h"

#include <inttypes.h>
#include <string.h>

#include "vmshm_identity.h"

static int print_identity(const struct vmshm_segment *s, const struct ctl_parameter *vm_id)
{
    struct vmshm_identity id = s->id;
    struct vmshm_error e;
    int rc = VMSHM_OK;
    bool is_parameter;
    char buf[40];

    printf("segment: %s\n", s->path);
    printf("provider: %s\n", s->provider);
    printf("segment-uuid: %s\n", ctl_uuid_text(s->header.segment_uuid, buf));
    printf("total-bytes: %" PRIu64 "\n", s->header.total_bytes);
    if (!s->managed) {
        id.source = "";
        rc = vmshm_identity_get("", vmshm_identity_parse(vm_id->value), s->header.vms, &id, &e);
    }
    is_parameter = !s->managed && 0 == strcmp(id.source, "parameter");
    if (VMSHM_OK != rc) {
        if (is_parameter) {
            snprintf(e.file, sizeof e.file, "%s", vm_id->from);
        }
        return ctl_fail(&e, NULL);
    }
    printf("vm-id: %u\n", id.vm);
    printf("vm-id-from: %s\n", id.source);
    if (is_parameter) {
        printf("vm-id-set-in: %s\n", vm_id->from);
    }
    printf("epoch: %016" PRIx64 "\n", id.epoch);
    printf("section: 0x%" PRIx64 " +%" PRIu64 "\n", s->sections[id.vm].offset, s->sections[id.vm].length);
    return CTL_OK;
}

static int identity(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = {
        { "vm-id", required_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    struct ctl_parameter segment = { .value = "auto" }, vm_id = { .value = "" };
    const char *path = segment.value;
    struct vmshm_segment s;
    struct vmshm_error e;
    int status, c;

    (void) ctl_parameter_find("common_vmshm_segment", &segment);
    (void) ctl_parameter_find("common_vmshm_vm_id", &vm_id);
    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('v' != c) {
            return ctl_option_end(self, c, argv);
        }
        if (vmshm_identity_parse(optarg) < 0) {
            return ctl_usage_error(self, "--vm-id", NULL, "'%s' is not a VM id", optarg);
        }
        vm_id = (struct ctl_parameter) { .from = "--vm-id" };
        snprintf(vm_id.value, sizeof vm_id.value, "%s", optarg);
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
    status = print_identity(&s, &vm_id);
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_identity = {
    "identity", "in a guest: show the segment and the id of this VM",
    "identity [--vm-id N] [PATH]\n"
    "Show which segment a process on this machine finds, which VM id it uses, and where the id comes from.\n"
    "The MCA parameters common_vmshm_segment and common_vmshm_vm_id are read as in a job: from the environment\n"
    "and from Open MPI's parameter files. Run it as the user of the job.\n\n"
    "  --vm-id N   as if the MCA parameter common_vmshm_vm_id were N\n",
    identity
};
