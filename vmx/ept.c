/* SPDX-License-Identifier: MIT */
/* Building and reading extended page tables (SDM volume 3, "The Extended Page Table Mechanism"). */
#include "vmx/ept.h"

#include <stddef.h>

#include "arch/memory.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/string.h"

#define EPT_MEMORY_TYPE_WB (6ULL << 3)
#define EPT_LARGE          BIT(7) /* the entry maps a page at level 1 or 2 */
#define EPT_ADDRESS        0x000FFFFFFFFFF000ULL

/* EPT pointer */
#define EPTP_MEMORY_TYPE_WB 6ULL
#define EPTP_WALK_LENGTH_4  (3ULL << 3)
#define EPTP_ACCESSED_DIRTY BIT(6)

enum { EPT_LEVELS = 4, EPT_ENTRIES = 512, EPT_GPA_BITS = 48 };

/* Bytes that one entry of a table at level maps: level 0 is the page table, 3 the PML4. */
static uint64_t entry_size(unsigned level)
{
    return PAGE_SIZE << (9 * level);
}

static unsigned entry_index(uint64_t gpa, unsigned level)
{
    return (gpa >> (12 + 9 * level)) % EPT_ENTRIES;
}

static bool is_present(uint64_t entry)
{
    return (entry & EPT_RWX) != 0;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 0 || (entry & EPT_LARGE) != 0;
}

static uint64_t *table_of(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & EPT_ADDRESS);
}

static uint64_t leaf_entry(uint64_t hpa, unsigned level, unsigned rights)
{
    return hpa | EPT_MEMORY_TYPE_WB | (level > 0 ? EPT_LARGE : 0) | rights;
}

/*
 * The entry that decides over gpa: a leaf, or the first one that is not present. *level is that of its
 * table.
 */
static uint64_t *walk(const struct ept *ept, uint64_t gpa, unsigned *level)
{
    uint64_t *table = ept->root;
    for (*level = EPT_LEVELS - 1;; (*level)--) {
        uint64_t *entry = &table[entry_index(gpa, *level)];
        if (!is_present(*entry) || is_leaf(*entry, *level)) {
            return entry;
        }
        table = table_of(*entry);
    }
}

/* Make table map what the large page of an entry does. */
static void split(uint64_t *table, uint64_t entry, unsigned level)
{
    uint64_t base = entry & ~(entry_size(level) - 1) & EPT_ADDRESS;
    for (unsigned i = 0; i < EPT_ENTRIES; i++) {
        table[i] = leaf_entry(base + i * entry_size(level - 1), level - 1, entry & EPT_RWX);
    }
}

/* Put an empty table into an entry that is not present, or one that maps the same as the large page did. */
static int grow(uint64_t *entry, unsigned level)
{
    uint64_t *table = memory_alloc_page();
    if (table == NULL) {
        return ERR_NO_MEMORY;
    }
    if (is_present(*entry)) {
        split(table, *entry, level);
    }
    *entry = (uintptr_t)table | EPT_RWX;
    return RIVET_OK;
}

static bool can_be_leaf(const struct ept *ept, unsigned level, uint64_t gpa, uint64_t hpa,
                        uint64_t size)
{
    bool offered = level == 0 || (level == 1 && ept->features.page_2m) ||
                   (level == 2 && ept->features.page_1g);
    uint64_t page = entry_size(level);
    return offered && is_aligned(gpa | hpa, page) && size >= page;
}

int ept_init(struct ept *ept, const struct ept_features *features)
{
    ept->features = *features;
    ept->root = memory_alloc_page();
    return ept->root == NULL ? ERR_NO_MEMORY : RIVET_OK;
}

/* Whether nothing is mapped in the range. */
static bool is_free(const struct ept *ept, uint64_t gpa, uint64_t size)
{
    uint64_t end = gpa + size;
    while (gpa < end) {
        unsigned level;
        if (is_present(*walk(ept, gpa, &level))) {
            return false;
        }
        gpa = align_down(gpa, entry_size(level)) + entry_size(level);
    }
    return true;
}

/* Map as much of the range as one leaf can; *done bytes. */
static int map_leaf(struct ept *ept, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights,
                    uint64_t *done)
{
    for (;;) {
        unsigned level;
        uint64_t *entry = walk(ept, gpa, &level);
        if (can_be_leaf(ept, level, gpa, hpa, size)) {
            *entry = leaf_entry(hpa, level, rights);
            *done = entry_size(level);
            return RIVET_OK;
        }
        int error = grow(entry, level);
        if (error != RIVET_OK) {
            return error;
        }
    }
}

int ept_map(struct ept *ept, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights)
{
    if (!is_aligned(gpa | hpa | size, PAGE_SIZE) || gpa >> EPT_GPA_BITS != 0 ||
        size > BIT(EPT_GPA_BITS) - gpa) {
        return ERR_INVALID;
    }
    if (!is_free(ept, gpa, size)) {
        return ERR_EXISTS;
    }
    while (size > 0) {
        uint64_t done;
        int error = map_leaf(ept, gpa, hpa, size, rights, &done);
        if (error != RIVET_OK) {
            return error;
        }
        gpa += done;
        hpa += done;
        size -= done;
    }
    return RIVET_OK;
}

int ept_unmap(struct ept *ept, uint64_t gpa, uint64_t size)
{
    uint64_t end = gpa + size;
    while (gpa < end) {
        unsigned level;
        uint64_t *entry = walk(ept, gpa, &level);
        uint64_t next = align_down(gpa, entry_size(level)) + entry_size(level);
        bool whole = is_aligned(gpa, entry_size(level)) && next <= end;
        if (is_present(*entry) && !whole) {
            int error = grow(entry, level);
            if (error != RIVET_OK) {
                return error;
            }
            continue;
        }
        *entry = 0;
        gpa = next;
    }
    return RIVET_OK;
}

int ept_lookup(const struct ept *ept, uint64_t gpa, uint64_t *hpa, unsigned *rights, uint64_t *left)
{
    if (gpa >> EPT_GPA_BITS != 0) {
        return ERR_NOT_FOUND;
    }
    unsigned level;
    uint64_t entry = *walk(ept, gpa, &level);
    if (!is_present(entry)) {
        return ERR_NOT_FOUND;
    }
    uint64_t offset = gpa & (entry_size(level) - 1);
    *hpa = (entry & EPT_ADDRESS & ~(entry_size(level) - 1)) + offset;
    *rights = entry & EPT_RWX;
    *left = entry_size(level) - offset;
    return RIVET_OK;
}

int ept_view_with_page(struct ept *copy, const struct ept *ept, uint64_t gpa, uint64_t hpa,
                       unsigned rights)
{
    int error = ept_init(copy, &ept->features);
    if (error != RIVET_OK) {
        return error;
    }
    memcpy(copy->root, ept->root, PAGE_SIZE);
    uint64_t *table = copy->root;
    for (unsigned level = EPT_LEVELS - 1; level > 0; level--) {
        uint64_t *entry = &table[entry_index(gpa, level)];
        uint64_t shared = *entry;
        if (!is_present(shared) || is_leaf(shared, level)) {
            break;
        }
        *entry = 0;
        if (grow(entry, level) != RIVET_OK) {
            return ERR_NO_MEMORY;
        }
        table = table_of(*entry);
        memcpy(table, table_of(shared), PAGE_SIZE);
    }
    return ept_map(copy, gpa, hpa, PAGE_SIZE, rights);
}

int ept_overlay_init(struct ept_overlay *overlay)
{
    for (unsigned level = 0; level < EPT_LEVELS; level++) {
        overlay->tables[level] = memory_alloc_page();
        if (overlay->tables[level] == NULL) {
            return ERR_NO_MEMORY;
        }
    }
    return RIVET_OK;
}

void ept_overlay_build(struct ept_overlay *overlay, const struct ept *ept, uint64_t gpa,
                       uint64_t hpa, unsigned rights, struct ept *view)
{
    uint64_t *table = overlay->tables[EPT_LEVELS - 1];
    memcpy(table, ept->root, PAGE_SIZE);
    for (unsigned level = EPT_LEVELS - 1; level > 0; level--) {
        uint64_t *entry = &table[entry_index(gpa, level)];
        table = overlay->tables[level - 1];
        if (!is_present(*entry)) {
            memset(table, 0, PAGE_SIZE);
        } else if (is_leaf(*entry, level)) {
            split(table, *entry, level);
        } else {
            memcpy(table, table_of(*entry), PAGE_SIZE);
        }
        *entry = (uintptr_t)table | EPT_RWX;
    }
    table[entry_index(gpa, 0)] = rights != 0 ? leaf_entry(hpa, 0, rights) : 0;
    *view = (struct ept){ .root = overlay->tables[EPT_LEVELS - 1], .features = ept->features };
}

uint64_t ept_pointer(const struct ept *ept)
{
    return (uintptr_t)ept->root | EPTP_MEMORY_TYPE_WB | EPTP_WALK_LENGTH_4 |
           (ept->features.accessed_dirty ? EPTP_ACCESSED_DIRTY : 0);
}
