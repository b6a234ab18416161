/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MCA parameters as a process of a job would get them from its environment and its files, read without Open MPI.
 * The first source that sets a parameter wins: the system's openmpi-mca-params-override.conf, then OMPI_MCA_<name>,
 * then the files listed in OMPI_MCA_mca_base_param_files in their order. If that variable is not set, the files are
 * ~/.openmpi/mca-params.conf and the system's openmpi-mca-params.conf; if it is "none", no file is read. The system's
 * files are in etc of the Open MPI installation, or in OPAL_SYSCONFDIR. See mca_base_var.c, mca_base_parse_paramfile.c
 * and keyval_lex.l of Open MPI 4.1. Differences: a comment in the middle of a line, a byte order mark, ":~/" within a
 * value, and several -mca in a line or quotes after it are read differently; OPAL_PREFIX and
 * OMPI_MCA_mca_base_envar_file_prefix are ignored.
 */
#include "vmshmctl.h"

#include <stdlib.h>
#include <string.h>

#include "vmshm_config.h"

static const char *home(void)
{
    const char *dir = getenv("HOME");

    return NULL == dir ? "" : dir;
}

/* As in Open MPI, a leading "~/" is the home directory. */
static void copy_value(char *to, size_t room, const char *from)
{
    const bool in_home = 0 == strncmp(from, "~/", 2);

    snprintf(to, room, "%s%s", in_home ? home() : "", in_home ? from + 1 : from);
}

/* As in Open MPI, a carriage return is part of the value. */
static bool is_blank(char c)
{
    return NULL != memchr(" \t\f\v\n", c, 5);
}

static char *strip(char *text)
{
    size_t bytes;

    while (is_blank(*text)) {
        ++text;
    }
    for (bytes = strlen(text); bytes > 0 && is_blank(text[bytes - 1]); --bytes) {
    }
    text[bytes] = '\0';
    return text;
}

/* The line without the comments that Open MPI knows: lines that begin with # or //, and C comments, which may
 * continue on the next line. A value extends to the end of its line, whatever it contains. */
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

/* Split "name = value" or "-mca name value" into name and value; false: the text is neither. */
static bool cut(char *text, char **name, char **value)
{
    const size_t word = strcspn(text, " \t");

    if ((4 == word && 0 == strncmp(text, "-mca", word)) || (5 == word && 0 == strncmp(text, "--mca", word))) {
        *name = strip(text + word);
        *value = *name + strcspn(*name, " \t");
    } else {
        *name = text;
        *value = strchr(text, '=');
    }
    if (NULL == *value || '\0' == **value) {
        return false;
    }
    *(*value)++ = '\0';
    *name = strip(*name);
    *value = strip(*value);
    return true;
}

/* Within one file the last line wins. */
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
        char *text = without_comments(line, &in_comment), *key, *value;

        if (NULL != text && cut(text, &key, &value) && 0 == strcmp(key, name)) {
            copy_value(p->value, sizeof p->value, value);
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
    const char *list = getenv("OMPI_MCA_mca_base_param_files"), *etc = getenv("OPAL_SYSCONFDIR"), *value;
    char variable[128], files[4096], file[1024], *save = NULL;
    const bool none = NULL != list && 0 == strcmp(list, "none");

    etc = NULL == etc || '\0' == etc[0] ? VMSHM_OMPI_SYSCONFDIR : etc;
    snprintf(file, sizeof file, "%s/openmpi-mca-params-override.conf", etc);
    if (!none && find_in_file(file, name, p)) {
        return true;
    }
    snprintf(variable, sizeof variable, "OMPI_MCA_%s", name);
    value = getenv(variable);
    if (NULL != value) {
        copy_value(p->value, sizeof p->value, value);
        snprintf(p->from, sizeof p->from, "%s", variable);
        return true;
    }
    if (NULL != list) {
        snprintf(files, sizeof files, "%s", none ? "" : list);
    } else {
        snprintf(files, sizeof files, "~/.openmpi/mca-params.conf,%s/openmpi-mca-params.conf", etc);
    }
    for (char *next = strtok_r(files, ",", &save); NULL != next; next = strtok_r(NULL, ",", &save)) {
        copy_value(file, sizeof file, next);
        if (find_in_file(file, name, p)) {
            return true;
        }
    }
    return false;
}
