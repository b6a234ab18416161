/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshmctl.h"

#include <string.h>

static const struct ctl_command *const commands[] = {
    &ctl_create, &ctl_show, &ctl_check, &ctl_reset_vm, &ctl_mark_vm, &ctl_destroy,
    &ctl_qemu_args, &ctl_libvirt_xml, &ctl_identity,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *to)
{
    fputs("usage: vmshmctl COMMAND [OPTIONS] PATH\n"
          "Manage shared-memory segments between the virtual machines of one host.\n\n", to);
    for (size_t i = 0; i < COMMANDS; ++i) {
        fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n`vmshmctl COMMAND --help` describes a command; the manual page is vmshmctl(1).\n", to);
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
    opterr = 0;     /* commands report wrong options themselves */
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
