/* SPDX-License-Identifier: BSD-3-Clause */
/* Conversion between numbers and the text that people read and write. */
#include "vmshmctl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool ctl_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *unit;
    char *end;
    unsigned shift = 0;

    if (!isdigit((unsigned char) text[0])) {
        return false;
    }
    errno = 0;
    *bytes = strtoull(text, &end, 10);
    if (0 != errno) {
        return false;
    }
    if ('\0' != *end) {
        unit = strchr(units, toupper((unsigned char) *end));
        if (NULL == unit || '\0' != end[1]) {
            return false;
        }
        shift = 10 * (unsigned) (unit - units + 1);
    }
    if (*bytes > UINT64_MAX >> shift) {
        return false;
    }
    *bytes <<= shift;
    return true;
}

bool ctl_parse_u32(const char *text, uint32_t *value)
{
    unsigned long long number;
    char *end;

    if (!isdigit((unsigned char) text[0])) {
        return false;
    }
    errno = 0;
    number = strtoull(text, &end, 10);
    if (0 != errno || '\0' != *end || number >= UINT32_MAX) {
        return false;
    }
    *value = (uint32_t) number;
    return true;
}

bool ctl_parse_indexed(const char *text, uint32_t *index, const char **rest)
{
    const char *colon = strchr(text, ':');
    char digits[16];

    if (NULL == colon || (size_t) (colon - text) >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, (size_t) (colon - text));
    digits[colon - text] = '\0';
    *rest = colon + 1;
    return ctl_parse_u32(digits, index);
}

const char *ctl_size_text(uint64_t bytes, char *buf)
{
    static const char units[] = "\0KMGTPE";
    unsigned unit = 0;
    uint64_t scale = 1;

    while (unit < 6 && bytes / scale >= 1024) {
        scale <<= 10;
        ++unit;
    }
    if (0 == bytes % scale) {
        snprintf(buf, 32, "%" PRIu64 "%.1s", bytes / scale, &units[unit]);
    } else {
        snprintf(buf, 32, "%.1f%c", (double) bytes / (double) scale, units[unit]);
    }
    return buf;
}

const char *ctl_hex_text(const uint8_t *bytes, size_t n, char *buf)
{
    for (size_t i = 0; i < n; ++i) {
        snprintf(buf + 2 * i, 3, "%02x", bytes[i]);
    }
    return buf;
}

const char *ctl_uuid_text(const uint8_t u[16], char *buf)
{
    char hex[33];

    ctl_hex_text(u, 16, hex);
    snprintf(buf, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return buf;
}

const char *ctl_time_text(uint64_t seconds, char *buf)
{
    const time_t when = (time_t) seconds;
    struct tm tm;

    /* The number may come from a guest: one that is not a valid time is printed as a number. */
    if (seconds > INT64_C(253402300799) || NULL == gmtime_r(&when, &tm)) {
        snprintf(buf, 32, "%" PRIu64, seconds);
    } else {
        strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    return buf;
}
