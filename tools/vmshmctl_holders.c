/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list in debugfs in which the kernel module of this VM shows root who has slots, windows and pages
 * (guest-kmod/vmshm_debugfs.c). Each line has the kind of an item, then NAME=VALUE pairs.
 */
#include "vmshmctl.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOLDERS_DIR "/sys/kernel/debug/vmshm"

static FILE *holders_open(const struct vmshm_segment *s, char *path, size_t path_bytes)
{
    const char *slash = strrchr(s->path, '/');

    snprintf(path, path_bytes, HOLDERS_DIR "/%s", NULL == slash ? s->path : slash + 1);
    return fopen(path, "re");
}

void ctl_holders_text(const struct vmshm_segment *s)
{
    char path[512], line[512];
    FILE *list;

    if (!s->managed) {
        return;
    }
    list = holders_open(s, path, sizeof path);
    if (NULL == list) {
        printf("\nWhat the kernel module holds is not shown: %s: %s. Only root can read it, and debugfs must be "
               "mounted.\n", path, strerror(errno));
        return;
    }
    printf("\nWhat the kernel module of this VM holds (and the limits):\n");
    while (NULL != fgets(line, sizeof line, list)) {
        printf("  %s", line);
    }
    fclose(list);
}

static cJSON *line_json(char *line)
{
    cJSON *o = cJSON_CreateObject();
    char *rest = line, *word = strtok_r(line, " \n", &rest);

    cJSON_AddStringToObject(o, "kind", NULL == word ? "" : word);
    while (NULL != (word = strtok_r(NULL, " \n", &rest))) {
        char *value = strchr(word, '=');

        if (NULL != value) {
            *value = '\0';
            cJSON_AddStringToObject(o, word, value + 1);
        }
    }
    return o;
}

void ctl_holders_json(const struct vmshm_segment *s, struct cJSON *root)
{
    char path[512], line[512];
    cJSON *array;
    FILE *list;

    if (!s->managed) {
        return;
    }
    list = holders_open(s, path, sizeof path);
    if (NULL == list) {
        cJSON_AddNullToObject(root, "module");
        return;
    }
    array = cJSON_AddArrayToObject(root, "module");
    while (NULL != fgets(line, sizeof line, list)) {
        cJSON_AddItemToArray(array, line_json(line));
    }
    fclose(list);
}
