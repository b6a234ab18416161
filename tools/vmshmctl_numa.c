/* SPDX-License-Identifier: BSD-3-Clause */
/* The NUMA node of a section's memory, through hwloc. */
#include "vmshmctl.h"

#include <hwloc.h>

static int topology_load(hwloc_topology_t *topology, struct vmshm_error *e)
{
    if (0 != hwloc_topology_init(topology)) {
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, "hwloc", "--numa", "hwloc_topology_init failed");
    }
    if (0 != hwloc_topology_load(*topology)) {
        hwloc_topology_destroy(*topology);
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, "hwloc", "--numa",
                          "the machine's topology cannot be read");
    }
    return VMSHM_OK;
}

int ctl_numa_nth(uint32_t n, uint32_t *node, struct vmshm_error *e)
{
    hwloc_topology_t topology;
    hwloc_obj_t obj = NULL;
    int nodes, rc = topology_load(&topology, e);

    if (VMSHM_OK != rc) {
        return rc;
    }
    nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    if (nodes > 0) {
        obj = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, n % (uint32_t) nodes);
    }
    if (NULL == obj) {
        rc = vmshm_fail(e, VMSHM_ERR_SYSTEM, "hwloc", "--numa", "hwloc found no NUMA node");
    } else {
        *node = obj->os_index;
    }
    hwloc_topology_destroy(topology);
    return rc;
}

int ctl_numa_bind(void *addr, uint64_t bytes, uint32_t node, const char *path,
                  struct vmshm_error *e)
{
    hwloc_topology_t topology;
    hwloc_obj_t obj;
    int rc = topology_load(&topology, e);

    if (VMSHM_OK != rc) {
        return rc;
    }
    obj = hwloc_get_numanode_obj_by_os_index(topology, node);
    if (NULL == obj) {
        rc = vmshm_fail(e, VMSHM_ERR_SYSTEM, path, "--numa", "this host has no NUMA node %u",
                        node);
    } else if (0 != hwloc_set_area_membind(topology, addr, bytes, obj->nodeset,
                                           HWLOC_MEMBIND_BIND,
                                           HWLOC_MEMBIND_STRICT | HWLOC_MEMBIND_BYNODESET)) {
        rc = vmshm_fail_errno(e, path, "--numa", "binding memory to the NUMA node");
    }
    hwloc_topology_destroy(topology);
    return rc;
}
