/* SPDX-License-Identifier: MIT */
/* Builds 4-level page tables: pure logic, compiled for the host too. */
#include "arch/page_table.h"

#include <stddef.h>

#include "lib/error.h"

enum { ENTRIES = 512, LEVEL_PTE = 1, LEVEL_PDE = 2, LEVEL_PDPTE = 3, LEVEL_PML4E = 4 };

/* Bytes that one entry of the level maps. */
static uint64_t span(int level)
{
    return PAGE_SIZE << (9 * (level - 1));
}

static unsigned index_of(uint64_t address, int level)
{
    return address / span(level) % ENTRIES;
}

static uint64_t *table_of(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & PTE_ADDRESS);
}

static bool is_leaf(uint64_t entry, int level)
{
    return level == LEVEL_PTE || (entry & PTE_LARGE);
}

static bool may_be_leaf(const struct page_table *table, int level)
{
    return level <= LEVEL_PDE || (level == LEVEL_PDPTE && table->has_1g);
}

static uint64_t leaf(uint64_t address, int level, uint64_t rights)
{
    if (!(rights & PTE_PRESENT)) {
        return PTE_NONE;
    }
    return address | rights | (level > LEVEL_PTE ? PTE_LARGE : 0);
}

/* The table below entry; an absent or large entry is replaced by a table that maps the same. */
static uint64_t *open_entry(struct page_table *table, uint64_t *entry, int level)
{
    if ((*entry & PTE_PRESENT) && !is_leaf(*entry, level)) {
        return table_of(*entry);
    }
    uint64_t *lower = table->alloc_page();
    if (lower == NULL) {
        return NULL;
    }
    if (*entry & PTE_PRESENT) {
        uint64_t rights = *entry & ~(PTE_ADDRESS | PTE_LARGE);
        uint64_t start = *entry & PTE_ADDRESS;
        for (unsigned i = 0; i < ENTRIES; i++) {
            lower[i] = leaf(start + i * span(level - 1), level - 1, rights);
        }
    }
    *entry = (uintptr_t)lower | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
    return lower;
}

/* Map as much of start..end as one leaf can; returns its size, or 0 without memory. */
static uint64_t map_one(struct page_table *table, uint64_t start, uint64_t end, uint64_t rights)
{
    uint64_t *entries = table->root;
    for (int level = LEVEL_PML4E;; level--) {
        uint64_t *entry = &entries[index_of(start, level)];
        bool fits = is_aligned(start, span(level)) && end - start >= span(level);
        bool has_table = (*entry & PTE_PRESENT) && !is_leaf(*entry, level);
        if (fits && may_be_leaf(table, level) && !has_table) {
            *entry = leaf(start, level, rights);
            return span(level);
        }
        entries = open_entry(table, entry, level);
        if (entries == NULL) {
            return 0;
        }
    }
}

int page_table_init(struct page_table *table, bool has_1g, void *(*alloc_page)(void))
{
    *table =
        (struct page_table){ .root = alloc_page(), .has_1g = has_1g, .alloc_page = alloc_page };
    return table->root == NULL ? ERR_NO_MEMORY : RIVET_OK;
}

int page_table_map(struct page_table *table, uint64_t start, uint64_t size, uint64_t rights)
{
    uint64_t end = start + size;
    if (!is_aligned(start | size, PAGE_SIZE) || end < start || end > PAGE_TABLE_LIMIT) {
        return ERR_RANGE;
    }
    while (start < end) {
        uint64_t mapped = map_one(table, start, end, rights);
        if (mapped == 0) {
            return ERR_NO_MEMORY;
        }
        start += mapped;
    }
    return RIVET_OK;
}

uint64_t *page_table_open_page(struct page_table *table, uint64_t address)
{
    uint64_t *entries = table->root;
    for (int level = LEVEL_PML4E; level > LEVEL_PTE && entries != NULL; level--) {
        entries = open_entry(table, &entries[index_of(address, level)], level);
    }
    return entries == NULL ? NULL : &entries[index_of(address, LEVEL_PTE)];
}

/* The leaf entry of the address (0: none) and, in *size, how many bytes around it are the same. */
static uint64_t walk(const struct page_table *table, uint64_t address, uint64_t *size)
{
    const uint64_t *entries = table->root;
    for (int level = LEVEL_PML4E;; level--) {
        uint64_t entry = entries[index_of(address, level)];
        *size = span(level);
        if (!(entry & PTE_PRESENT)) {
            return 0;
        }
        if (is_leaf(entry, level)) {
            return entry;
        }
        entries = table_of(entry);
    }
}

uint64_t page_table_lookup(const struct page_table *table, uint64_t address)
{
    uint64_t size;
    return address < PAGE_TABLE_LIMIT ? walk(table, address, &size) : 0;
}

bool page_table_is_mapped(const struct page_table *table, uint64_t start, uint64_t size)
{
    uint64_t end = start + size;
    if (end < start || end > PAGE_TABLE_LIMIT) {
        return false;
    }
    while (start < end) {
        uint64_t step;
        if (walk(table, start, &step) == 0) {
            return false;
        }
        start = align_down(start, step) + step;
    }
    return true;
}
