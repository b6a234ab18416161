#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What this kernel offers, tried with its own headers: its version says little, since distributions take
# over what later ones have. Kbuild calls it:
#     features.sh OUTPUT COMPILER FLAG...
# OUTPUT is a header with a VMSHM_HAS_* for what compiles.
set -eu
output=$1
shift
work=$output.d
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

# compiles COMPILER FLAG...: standard input. Only what is asked for matters, not that nobody uses it.
compiles() {
    {
        printf '#include <linux/%s.h>\n' version mm huge_mm pci
        cat
    } >"$work/try.c"
    "$@" -Wno-error -Werror=implicit-function-declaration -Werror=incompatible-pointer-types \
        -Werror=int-conversion -c -o "$work/try.o" "$work/try.c" >"$work/log" 2>&1
}

# has NAME TEXT COMPILER FLAG...
has() {
    name=$1
    text=$2
    shift 2
    if compiles "$@"; then
        echo "#define VMSHM_HAS_$name 1 /* $text */"
    else
        echo "/* not VMSHM_HAS_$name: $text */"
    fi >>"$work/header"
}

echo "/* Made by features.sh. */" >"$work/header"

# Else it would say of everything that it is not there.
if ! compiles "$@" <<'END'
int vmshm_try(struct vm_area_struct *vma) { return vma->vm_flags != 0; }
END
then
    echo "features.sh: the kernel's headers do not compile:" >&2
    cat "$work/log" >&2
    exit 1
fi

# Linux 6.3, and RHEL 9.5
has VM_FLAGS_MOD "vm_flags_mod()" "$@" <<'END'
void vmshm_try(struct vm_area_struct *vma) { vm_flags_mod(vma, VM_DONTCOPY, VM_MAYEXEC); }
END

# Before Linux 6.3
has ZAP_PAGE_RANGE "zap_page_range()" "$@" <<'END'
void vmshm_try(struct vm_area_struct *vma) { zap_page_range(vma, vma->vm_start, PAGE_SIZE); }
END

# Linux 6.8
has PCI_IRQ_INTX "the name PCI_IRQ_INTX" "$@" <<'END'
int vmshm_try(struct pci_dev *pdev) { return pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_INTX); }
END

# Before Linux 6.17
has PFN_T "page frames as pfn_t" "$@" <<'END'
#include <linux/pfn_t.h>
vm_fault_t vmshm_try(struct vm_fault *vmf, unsigned long pfn)
{
	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV | PFN_MAP), true);
}
vm_fault_t vmshm_try_mixed(struct vm_fault *vmf, unsigned long pfn)
{
	return vmf_insert_mixed(vmf->vma, vmf->address, __pfn_to_pfn_t(pfn, PFN_DEV | PFN_MAP));
}
END

# Linux 6.15 came with it, and counts references to device memory in another way.
has INSERT_FOLIO_PMD "vmf_insert_folio_pmd()" "$@" <<'END'
vm_fault_t vmshm_try(struct vm_fault *vmf, struct folio *folio)
{
	return vmf_insert_folio_pmd(vmf, folio, true);
}
END

# CONFIG_ZONE_DEVICE, which not every architecture's configuration has
has ZONE_DEVICE "pages for a device's memory" "$@" <<'END'
#include <linux/memremap.h>
void *vmshm_try(struct dev_pagemap *pages)
{
	pages->type = MEMORY_DEVICE_GENERIC;
	pages->nr_range = 1;
	pages->range.end = 0;
	return memremap_pages(pages, 0);
}
END

# Before Linux 6.5. See vmshm_compat.h.
has PMD_TRANS_UNSTABLE "pmd_trans_unstable()" "$@" <<'END'
int vmshm_try(pmd_t *pmd) { return pmd_trans_unstable(pmd); }
END

# Is there a pte to look at? x86 only
has LOOKUP_ADDRESS "lookup_address() and the bits of x86" "$@" <<'END'
#include <asm/pgtable.h>
int vmshm_try(void *at)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)at, &level);

	return pte && (pte_flags(*pte) & (_PAGE_PCD | _PAGE_PWT));
}
END

mv "$work/header" "$output"
