/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tool has looked at MPI's variables before the program starts MPI. What was registered for it goes with
 * it, and must be there again for the program: a component that takes the defaults instead finds no
 * segment, or another one.
 */
#include "vt.h"

#define PREFIX "common_vmshm_"

/* How many variables of vmshm there are; of those which the environment sets the value is looked at. */
static int look_at_variables(void)
{
    int provided, count, ours = 0;

    MPI(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    MPI(MPI_T_cvar_get_num(&count));
    for (int i = 0; i < count; ++i) {
        char name[256], key[300], value[4096] = "";
        int name_bytes = sizeof(name), desc_bytes = 0, verbosity, bind, scope, values;
        MPI_T_cvar_handle handle;
        MPI_Datatype type;
        MPI_T_enum enumeration;
        const char *set;

        if (MPI_SUCCESS != MPI_T_cvar_get_info(i, name, &name_bytes, &verbosity, &type, &enumeration,
                                               NULL, &desc_bytes, &bind, &scope)
            || 0 != strncmp(name, PREFIX, strlen(PREFIX))) {
            continue;
        }
        ++ours;
        snprintf(key, sizeof(key), "OMPI_MCA_%s", name);
        set = getenv(key);
        MPI(MPI_T_cvar_handle_alloc(i, NULL, &handle, &values));
        CHECK(values <= (int) sizeof(value), "%s has %d characters", name, values);
        MPI(MPI_T_cvar_read(handle, value));
        MPI(MPI_T_cvar_handle_free(&handle));
        CHECK(NULL == set || 0 == strcmp(set, value), "%s is \"%s\", the environment says \"%s\"", name,
              value, set);
    }
    MPI(MPI_T_finalize());
    return ours;
}

int main(int argc, char **argv)
{
    unsigned char *out;
    struct vt_buf in;
    MPI_Status st;
    const size_t size = 100000;
    int before, during;

    before = look_at_variables();
    vt_init(&argc, &argv, "tool");
    vt_args_done();
    out = vt_malloc(size);
    vt_buf_init(&in, size);
    during = look_at_variables();
    CHECK(before == during, "%d variables " PREFIX "*, %d before MPI_Init", during, before);
    for (int i = 1; i < vt.size; ++i) {
        const int to = (vt.rank + i) % vt.size, from = (vt.rank - i + vt.size) % vt.size;

        vt_at("exchange with %d and %d", to, from);
        vt_fill(out, VT_KEY(vt.rank, to, i, size, 0));
        vt_guard_set(&in, (size_t) i, size);
        MPI(MPI_Sendrecv(out, (int) size, MPI_BYTE, to, i, in.data, (int) size, MPI_BYTE, from, i,
                         MPI_COMM_WORLD, &st));
        vt_check(in.data, &st, VT_KEY(from, vt.rank, i, size, 0));
        vt_guard_check(&in);
    }
    vt_buf_free(&in);
    free(out);
    return vt_report("variables=%d", during);
}
