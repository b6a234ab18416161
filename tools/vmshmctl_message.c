/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors, as all commands print them. */
#include "vmshmctl.h"

#include <stdarg.h>

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
