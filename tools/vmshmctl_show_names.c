/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of states and kinds, as vmshmctl show prints them. */
#include "vmshmctl.h"

static const char *name_of(const char *const *names, uint32_t n, uint32_t value, char *buf)
{
    if (value < n) {
        return names[value];
    }
    snprintf(buf, 16, "bad:%u", value);
    return buf;
}

const char *ctl_section_state(uint32_t state, char *buf)
{
    static const char *const names[] = { "never", "up", "leaving" };

    return name_of(names, 3, state, buf);
}

const char *ctl_proc_state(uint32_t state, char *buf)
{
    static const char *const names[] = { "free", "live", "left", "dead" };

    return name_of(names, 4, state, buf);
}

const char *ctl_window_state(uint32_t state, char *buf)
{
    static const char *const names[] = { "empty", "live", "quarantine" };

    return name_of(names, 3, state, buf);
}

const char *ctl_window_kind(uint32_t kind, char *buf)
{
    static const char *const names[] = { "private", "open" };

    return name_of(names, 2, kind, buf);
}

const char *ctl_mark_name(uint32_t mark, char *buf)
{
    static const char *const names[] = { "unknown", "up", "gone" };

    return name_of(names, 3, mark, buf);
}
