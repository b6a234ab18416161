/* SPDX-License-Identifier: BSD-3-Clause */
/* Which plans and which of their operations are run. */
#include "storm.h"

#include <ctype.h>

static uint64_t number(const char **at, const char *what)
{
    char *end;
    uint64_t value;

    CHECK(isdigit((unsigned char) **at), "%s: a number is expected at \"%s\"", what, *at);
    value = strtoull(*at, &end, 10);
    *at = end;
    return value;
}

size_t storm_select(const char *text, struct storm_choice **choices)
{
    size_t n = 0, room = 16;
    const char *at = text;

    *choices = vt_malloc(room * sizeof(**choices));
    for (;;) {
        struct storm_choice c = {.seed = number(&at, "--plans")};
        uint64_t last = c.seed;

        if (0 == strncmp(at, "..", 2)) {
            at += 2;
            last = number(&at, "--plans");
            CHECK(c.seed <= last && last - c.seed < 1000000, "--plans: from %llu to %llu",
                  (unsigned long long) c.seed, (unsigned long long) last);
        } else if (':' == *at) {
            c.ops = ++at;
            c.length = strspn(at, "0123456789,-");
            at += c.length;
        }
        for (; c.seed <= last; ++c.seed) {
            if (n == room) {
                room *= 2;
                *choices = realloc(*choices, room * sizeof(**choices));
                CHECK(NULL != *choices, "out of memory");
            }
            (*choices)[n++] = c;
        }
        if ('\0' == *at) {
            return n;
        }
        CHECK('+' == *at, "--plans: \"+\" is expected at \"%s\"", at);
        ++at;
    }
}

void storm_select_ops(struct storm_plan *plan, const struct storm_choice *choice)
{
    const char *at = choice->ops;

    for (int i = 0; i < plan->ops; ++i) {
        plan->op[i].kept = NULL == choice->ops;
    }
    while (NULL != at && at < choice->ops + choice->length) {
        uint64_t first = number(&at, "--plans, operations"), last = first;

        if ('-' == *at) {
            ++at;
            last = number(&at, "--plans, operations");
        }
        CHECK(first <= last && last < (uint64_t) plan->ops, "plan %llu has operations 0 to %d, not %llu",
              (unsigned long long) plan->seed, plan->ops - 1, (unsigned long long) last);
        for (; first <= last; ++first) {
            plan->op[first].kept = true;
        }
        if (',' == *at) {
            ++at;
        }
    }
}
