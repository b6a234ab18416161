/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshmctl.h"

#include <stdarg.h>
#include <string.h>

static const struct ctl_command *const commands[] = {
    &ctl_create, &ctl_show, &ctl_check, &ctl_reset_vm, &ctl_mark_vm, &ctl_destroy,
    &ctl_qemu_args, &ctl_libvirt_xml, &ctl_identity,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *to)
{
    fputs("usage: vmshmctl COMMAND [OPTIONS] PATH\n"
          "Shared-memory segments between the virtual machines of one host.\n\n", to);
    for (size_t i = 0; i < COMMANDS; ++i) {
        fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n`vmshmctl COMMAND --help` tells more, vmshmctl(1) tells all.\n", to);
}

int ctl_fail(const struct vmshm_error *e, const char *remedy)
{
    fflush(stdout);
    fprintf(stderr, "vmshmctl: %s: %s: %s\n  %s\n", e->file, e->field, e->detail,
            NULL != remedy ? remedy : vmshm_error_remedy(e->code));
    return CTL_FAILED;
}

int ctl_usage_error(const struct ctl_command *self, const char *option, const char *remedy,
                    const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "vmshmctl: %s: %s: ", self->name, option);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    if (NULL != remedy) {
        fprintf(stderr, "\n  %s\n", remedy);
    } else {
        fprintf(stderr, "\n  See `vmshmctl %s --help`.\n", self->name);
    }
    return CTL_USAGE;
}

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

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CTL_USAGE;
    }
    if (0 == strcmp(argv[1], "--help") || 0 == strcmp(argv[1], "-h")
        || 0 == strcmp(argv[1], "help")) {
        print_help(stdout);
        return CTL_OK;
    }
    opterr = 0;     /* commands tell about options themselves */
    for (size_t i = 0; i < COMMANDS; ++i) {
        if (0 == strcmp(argv[1], commands[i]->name)) {
            const int status = commands[i]->run(commands[i], argc - 1, argv + 1);

            /* A full disk behind stdout must not look like success. */
            if (0 != fflush(stdout) || ferror(stdout)) {
                perror("vmshmctl: standard output");
                return CTL_FAILED;
            }
            return status;
        }
    }
    fprintf(stderr, "vmshmctl: %s: there is no such command\n  See `vmshmctl --help`.\n", argv[1]);
    return CTL_USAGE;
}
