/* SPDX-License-Identifier: MIT */
/*
 * Rivet's own page tables: identity mapping with W^X (SDM volume 3, chapter "Paging"). RAM and
 * firmware tables are write-back, everything else below 4 GiB is uncached for devices, page 0 and the
 * guard pages are not present, only the image's text is executable.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/boot_info.h"

/* Build the tables and switch to them. Boot CPU, once, after memory_init. */
void paging_init(const struct boot_info *info);

/*
 * Bring another CPU's paging controls (CR0, CR4, EFER, PAT) to the boot CPU's values; it is already
 * on the tables. Every CPU but the boot CPU, once.
 */
void paging_init_cpu(void);

/* Physical address of the top table, for CR3; below 4 GiB. Any CPU after paging_init. */
uint64_t paging_root(void);

/* Whether all bytes of start..start+size-1 may be read. Any CPU after paging_init. */
bool paging_is_mapped(uint64_t start, uint64_t size);

/*
 * Take a 4 KiB page out of the mapping: any later access faults. Only before other CPUs run (there is
 * no TLB shootdown). Boot CPU.
 */
void paging_unmap_page(uint64_t address);
