/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl show: what a segment holds. Sections are written by guests: everything is copied once, no number is used
 * as an index or an address before it has been compared with a bound, and no text is taken from them.
 */
#include "vmshmctl.h"

static int show(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    struct ctl_view views[VMSHM_MAX_VMS] = { 0 };
    const char *path = NULL;
    struct vmshm_segment s;
    struct vmshm_error e;
    bool json = false;
    int status = CTL_OK, c;

    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('j' != c) {
            return ctl_option_end(self, c, argv);
        }
        json = true;
    }
    /* Without PATH: in a VM there is usually only one segment. */
    if (optind < argc) {
        status = ctl_path_argument(self, argc, argv, &path);
        if (CTL_OK != status) {
            return status;
        }
    }
    if (VMSHM_OK != vmshm_segment_open(path, &s, &e)) {
        return ctl_fail(&e, NULL);
    }
    for (uint32_t vm = 0; vm < s.header.vms && CTL_OK == status; ++vm) {
        if (VMSHM_OK != ctl_view_load(&s, vm, &views[vm], &e)) {
            status = ctl_fail(&e, NULL);
        }
    }
    if (CTL_OK == status) {
        if (json) {
            status = ctl_show_json(&s, views);
        } else {
            ctl_show_text(&s, views);
        }
    }
    for (uint32_t vm = 0; vm < s.header.vms; ++vm) {
        ctl_view_free(&views[vm]);
    }
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_show = {
    "show", "show what a segment holds",
    "show [--json] [PATH]\n"
    "Show what a segment holds: VMs, processes, windows and their readers, and traffic. Without PATH, in a\n"
    "VM, the segment of its device. For /dev/vmshmN, root also sees what the kernel module holds for whom.\n\n"
    "  --json   output for programs; vmshmctl(1) lists the names\n",
    show
};
