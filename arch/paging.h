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

/* A page of RAM that is not mapped, and what it is, for the panic that an access to it ends in. */
enum { PAGING_HOLE_NAME = 64 };
struct paging_hole {
    uint64_t address; /* set by the owner before paging_withdraw, as name */
    char name[PAGING_HOLE_NAME];
    struct paging_hole *next; /* arch/paging.c's */
};

/*
 * Take a page for good out of what Rivet can access, on all CPUs: any later access faults, and the
 * panic names the hole. hole must last. Boot CPU, before VMs run.
 */
void paging_withdraw(struct paging_hole *hole);

/*
 * Fill a page with zeros, whether it is withdrawn or not; it stays so. Through a mapping of this
 * CPU's own elsewhere, so there is nothing to flush on the others. Interrupts off.
 */
void paging_wipe(uint64_t address);

/* The name of the hole around the address, or NULL. Any context. */
const char *paging_hole_name(uint64_t address);

/*
 * Take a 4 KiB page out of the mapping: any later access faults. Only before other CPUs run (there is
 * no TLB shootdown). Boot CPU.
 */
void paging_unmap_page(uint64_t address);
