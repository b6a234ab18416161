/* SPDX-License-Identifier: BSD-3-Clause */
/* The addresses that processes exchange in MPI_Init. */
#include "opal_config.h"

#include "btl_vmshm_modex.h"

#include <stdlib.h>
#include <string.h>

/* A process without an address must publish that, too: if it published nothing, PMIx would let each of its peers wait
 * for several seconds. */
int mca_btl_vmshm_address_put(const struct vmshm_address *address)
{
    const struct vmshm_address none = { .format = 0 };

    address = NULL == address ? &none : address;
    return mca_btl_vmshm_modex_send(&mca_btl_vmshm.super.btl_component->btl_version, address, sizeof *address);
}

bool mca_btl_vmshm_address_get(const opal_process_name_t *name, struct vmshm_address *a)
{
    void *data;
    size_t bytes;
    bool got;
    int rc;

    rc = mca_btl_vmshm_modex_recv(&mca_btl_vmshm.super.btl_component->btl_version, name, &data, &bytes);
    got = OPAL_SUCCESS == rc && sizeof *a == bytes;
    if (got) {
        memcpy(a, data, sizeof *a);
        got = 0 != a->format;           /* 0: the process published that it has no address */
    }
    free(data);
    return got;
}
