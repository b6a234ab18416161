/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MCA parameters as a process of a job would have them, without Open MPI: its environment and its files.
 * What comes first counts: openmpi-mca-params-override.conf of the system, OMPI_MCA_<name>, and of the
 * files in OMPI_MCA_mca_base_param_files the earlier one; that is ~/.openmpi/mca-params.conf and the
 * system's openmpi-mca-params.conf unless it is set. See mca_base_var.c of Open MPI 4.1.
 */
#include "vmshmctl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "vmshm_config.h"

#define SYSTEM_FILE VMSHM_OMPI_SYSCONFDIR "/openmpi-mca-params.conf"

static char *strip(char *text)
{
    size_t bytes;

    while (isspace((unsigned char) *text)) {
        ++text;
    }
    for (bytes = strlen(text); bytes > 0 && isspace((unsigned char) text[bytes - 1]); --bytes) {
    }
    text[bytes] = '\0';
    return text;
}

/* The line without the comments that Open MPI knows: lines that begin with # or //, and C's, which may go on in the
 * next line. A value ends with its line, whatever stands in it. */
static char *without_comments(char *line, bool *in_comment)
{
    for (;;) {
        line = strip(line);
        if (!*in_comment && 0 != strncmp(line, "/*", 2)) {
            return '#' == line[0] || 0 == strncmp(line, "//", 2) ? line + strlen(line) : line;
        }
        line = strstr(*in_comment ? line : line + 2, "*/");
        *in_comment = NULL == line;
        if (NULL == line) {
            return NULL;
        }
        line += 2;
    }
}

/* Lines are "name = value". Within one file the last line counts. */
static bool find_in_file(const char *file, const char *name, struct ctl_parameter *p)
{
    FILE *f = fopen(file, "re");
    char *line = NULL;
    size_t room = 0;
    bool found = false, in_comment = false;

    if (NULL == f) {
        return false;
    }
    while (getline(&line, &room, f) >= 0) {
        char *text = without_comments(line, &in_comment), *value = NULL == text ? NULL : strchr(text, '=');

        if (NULL == value) {
            continue;
        }
        *value++ = '\0';
        if (0 == strcmp(strip(text), name)) {
            snprintf(p->value, sizeof p->value, "%s", strip(value));
            snprintf(p->from, sizeof p->from, "%s", file);
            found = true;
        }
    }
    free(line);
    fclose(f);
    return found;
}

bool ctl_parameter_find(const char *name, struct ctl_parameter *p)
{
    const char *list = getenv("OMPI_MCA_mca_base_param_files"), *home = getenv("HOME"), *value;
    char variable[128], files[4096], *save = NULL;

    if (find_in_file(VMSHM_OMPI_SYSCONFDIR "/openmpi-mca-params-override.conf", name, p)) {
        return true;
    }
    snprintf(variable, sizeof variable, "OMPI_MCA_%s", name);
    value = getenv(variable);
    if (NULL != value) {
        snprintf(p->value, sizeof p->value, "%s", value);
        snprintf(p->from, sizeof p->from, "%s", variable);
        return true;
    }
    if (NULL != list) {
        snprintf(files, sizeof files, "%s", list);
    } else {
        snprintf(files, sizeof files, "%s/.openmpi/mca-params.conf,%s", NULL == home ? "" : home, SYSTEM_FILE);
    }
    for (char *file = strtok_r(files, ",", &save); NULL != file; file = strtok_r(NULL, ",", &save)) {
        if (find_in_file(file, name, p)) {
            return true;
        }
    }
    return false;
}
