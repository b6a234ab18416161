/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between the kernels this module is built for (6.1 and later). features.sh detects those that are
 * visible in the headers.
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

/* Keep the page table entries from the child's copy of a mapping, called while a fork makes it. Before Linux 6.9 the
 * entries are copied already and must be removed; later kernels check the flag before they copy.
 */
static inline void vmshm_disinherit(struct vm_area_struct *vma)
{
#ifdef VMSHM_HAS_ZAP_PAGE_RANGE
	zap_page_range(vma, vma->vm_start, vma->vm_end - vma->vm_start);
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
	/* This affects all processes that map the range; they fault it in again. */
	unmap_mapping_range(vma->vm_file->f_mapping, (loff_t)vma->vm_pgoff << PAGE_SHIFT,
			    vma->vm_end - vma->vm_start, 1);
#endif
	vm_flags_mod(vma, VM_WIPEONFORK, 0);
}

#ifndef VMSHM_HAS_PCI_IRQ_INTX
#define PCI_IRQ_INTX PCI_IRQ_LEGACY
#endif

/* May a mapping have entries of 2 MiB? Two page table walks in the kernel cannot cope with them:
 *  - Before Linux 6.5 madvise(MADV_COLD) treats one of a device as corrupt ("bad pmd") and clears it without flushing
 *    the TLB. A later zap finds no entry and does not flush either, so a process could still access a window that
 *    it has released.
 *  - mbind(MPOL_MF_STRICT) accesses its struct page, even if there is none.
 */
static inline bool vmshm_may_be_large(bool has_pages)
{
#ifdef VMSHM_HAS_PMD_TRANS_UNSTABLE
	return false;
#else
	return has_pages;
#endif
}

/* Insert a 2 MiB entry. PFN_MAP is needed in addition to PFN_DEV: with PFN_DEV alone get_user_pages_fast() assumes
 * that there are struct pages, and a shared futex there oopses.
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

/* Support for pinning pages of the segment. Later kernels count references to device memory in another way, which this
 * module does not support yet, so there the memory has no struct pages.
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
