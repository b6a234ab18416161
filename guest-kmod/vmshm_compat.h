/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between the kernels this module is built for (6.1 and later). What can be seen in their
 * headers features.sh looks for there.
 */
#ifndef VMSHM_COMPAT_H
#define VMSHM_COMPAT_H

#include <linux/err.h>
#include <linux/huge_mm.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/version.h>

#include "vmshm_features.h"

#ifndef VMSHM_HAS_VM_FLAGS_MOD
static inline void vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/* The child's copy of a mapping, while it is made by a fork, loses what was copied. Before Linux 6.9
 * the entries are there by then; later ones ask for the flag before they copy.
 */
static inline void vmshm_disinherit(struct vm_area_struct *vma)
{
#ifdef VMSHM_HAS_ZAP_PAGE_RANGE
	zap_page_range(vma, vma->vm_start, vma->vm_end - vma->vm_start);
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
	/* All who have that range mapped fault it in again. */
	unmap_mapping_range(vma->vm_file->f_mapping, (loff_t)vma->vm_pgoff << PAGE_SHIFT,
			    vma->vm_end - vma->vm_start, 1);
#endif
	vm_flags_mod(vma, VM_WIPEONFORK, 0);
}

#ifndef VMSHM_HAS_PCI_IRQ_INTX
#define PCI_IRQ_INTX PCI_IRQ_LEGACY
#endif

/* May a mapping have entries of 2 MiB? Two walks of the kernel's must not meet one:
 *  - Before Linux 6.5 madvise(MADV_COLD) takes a device's for damage ("bad pmd") and clears it. The TLB is not
 *    flushed, nor by the zap that follows, which finds nothing: who has released a window goes on using it.
 *  - mbind(MPOL_MF_STRICT) looks at its struct page, also where there is none.
 */
static inline bool vmshm_may_be_large(bool has_pages)
{
#ifdef VMSHM_HAS_PMD_TRANS_UNSTABLE
	return false;
#else
	return has_pages;
#endif
}

/* A 2 MiB entry. PFN_MAP beside PFN_DEV: with PFN_DEV alone get_user_pages_fast() takes the entry
 * for one with struct pages, and a shared futex on it oopses.
 */
#ifdef VMSHM_HAS_PFN_T
#include <linux/pfn_t.h>
#endif

#ifndef CONFIG_TRANSPARENT_HUGEPAGE
static inline vm_fault_t vmshm_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return VM_FAULT_FALLBACK;
}
#elif defined(VMSHM_HAS_PFN_T)
static inline vm_fault_t vmshm_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV | PFN_MAP), write);
}
#else
static inline vm_fault_t vmshm_insert_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return vmf_insert_pfn_pmd(vmf, pfn, write);
}
#endif

/* Pages of the segment that can be pinned. Later kernels count references to device memory in
 * another way, which this module does not follow yet: there the memory has no pages.
 */
#if defined(VMSHM_HAS_PFN_T) && defined(VMSHM_HAS_ZONE_DEVICE) && !defined(VMSHM_HAS_INSERT_FOLIO_PMD)
#define VMSHM_HAS_PAGES true
static inline void *vmshm_pages_map(struct dev_pagemap *pages, int node)
{
	return memremap_pages(pages, node);
}

static inline void vmshm_pages_unmap(struct dev_pagemap *pages)
{
	memunmap_pages(pages);
}

static inline vm_fault_t vmshm_insert_page(struct vm_area_struct *vma, unsigned long address,
					   unsigned long pfn)
{
	return vmf_insert_mixed(vma, address, __pfn_to_pfn_t(pfn, PFN_DEV | PFN_MAP));
}
#else
#define VMSHM_HAS_PAGES false
static inline void *vmshm_pages_map(struct dev_pagemap *pages, int node)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void vmshm_pages_unmap(struct dev_pagemap *pages)
{
}

static inline vm_fault_t vmshm_insert_page(struct vm_area_struct *vma, unsigned long address,
					   unsigned long pfn)
{
	return VM_FAULT_SIGBUS;
}
#endif

#endif
