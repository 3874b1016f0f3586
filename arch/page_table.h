/* SPDX-License-Identifier: MIT */
/* Builds 4-level page tables (SDM volume 3, "4-Level Paging"). Pure logic: writes memory only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/bits.h"

#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_PWT      BIT(3)
#define PTE_PCD      BIT(4)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7) /* PS: a 1 GiB or 2 MiB page */
#define PTE_ADDRESS  0x000FFFFFFFFFF000ULL
#define PTE_NX       BIT(63)

/* The rights that page_table_map is used with. Accessed and dirty are preset: no locked updates. */
#define PTE_NONE   0ULL
#define PTE_TEXT   (PTE_PRESENT | PTE_ACCESSED)
#define PTE_RODATA (PTE_PRESENT | PTE_ACCESSED | PTE_NX)
#define PTE_DATA   (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_NX)
#define PTE_DEVICE (PTE_DATA | PTE_PWT | PTE_PCD) /* IA32_PAT entry 3: UC */

/* Addresses from here on are not canonical when identity mapped. */
#define PAGE_TABLE_LIMIT BIT(47)

struct page_table {
    uint64_t *root;
    bool has_1g;               /* the CPU has 1 GiB pages */
    void *(*alloc_page)(void); /* a zeroed page or NULL */
};

/* Make an empty table. 0 or ERR_NO_MEMORY. */
int page_table_init(struct page_table *table, bool has_1g, void *(*alloc_page)(void));

/*
 * Identity-map a range with these rights (PTE_NONE: unmap it), replacing what was mapped there, by
 * the largest pages that fit; larger pages that it cuts are split. The range is whole pages below
 * PAGE_TABLE_LIMIT. 0, ERR_RANGE, or ERR_NO_MEMORY with part of the range mapped. Does not flush any
 * TLB.
 */
int page_table_map(struct page_table *table, uint64_t start, uint64_t size, uint64_t rights);

/*
 * Where the entry of the 4 KiB page at a canonical address of either half is, for a page that is not
 * identity-mapped; the tables above it are made, a larger page is split. NULL: no memory. Who
 * changes the entry flushes the TLBs.
 */
uint64_t *page_table_open_page(struct page_table *table, uint64_t address);

/* The entry that maps the address, or 0 when nothing does. */
uint64_t page_table_lookup(const struct page_table *table, uint64_t address);

/* Whether every byte of the range is mapped; false for ranges that wrap or leave the table. */
bool page_table_is_mapped(const struct page_table *table, uint64_t start, uint64_t size);
