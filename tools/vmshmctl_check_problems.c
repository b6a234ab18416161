/* SPDX-License-Identifier: BSD-3-Clause */
/* The problems that vmshmctl check finds, and what to do about them. */
#define _GNU_SOURCE
#include "vmshmctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char ctl_check_recreate[] = "`vmshmctl create --force` with the same size, while no VM uses it";

const char *ctl_reset_remedy(uint32_t vm, char *buf)
{
    snprintf(buf, 96, "`vmshmctl reset-vm --vm %u` once its jobs have ended", vm);
    return buf;
}

void ctl_problem(struct ctl_problems *p, const char *field, const char *remedy, const char *fmt, ...)
{
    char detail[256];
    char **lines = realloc(p->lines, (p->n + 1) * sizeof *lines);
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    if (NULL == lines) {
        p->no_memory = true;
        return;
    }
    p->lines = lines;
    if (asprintf(&p->lines[p->n], "%s: %s ; %s", field, detail, remedy) < 0) {
        p->no_memory = true;
        return;
    }
    ++p->n;
}

void ctl_problems_free(struct ctl_problems *p)
{
    for (size_t i = 0; i < p->n; ++i) {
        free(p->lines[i]);
    }
    free(p->lines);
    memset(p, 0, sizeof *p);
}
