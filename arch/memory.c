/* SPDX-License-Identifier: MIT */
/* Physical memory: page allocator over the boot loader's map. */
#include "arch/memory.h"

#include <stdbool.h>
#include <stddef.h>

#include "arch/extent.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"

enum { REGION_RAM = 1 };

extern uint8_t image_start[], image_end[]; /* linker.ld */

/* free_set is protected by lock. */
static struct spinlock lock;
static struct extent_set free_set;
static uint64_t low_page;

static bool is_sane(const struct boot_region *region)
{
    return region->size == 0 || region->start + (region->size - 1) >= region->start;
}

static bool overlap(const struct boot_region *a, const struct boot_region *b)
{
    return a->size != 0 && b->size != 0 && a->start <= b->start + (b->size - 1) &&
           b->start <= a->start + (a->size - 1);
}

static void refuse_overlaps(const struct boot_info *info, const struct boot_region *a)
{
    for (const struct boot_region *b = info->regions; b < a; b++) {
        if (a->type != b->type && overlap(a, b)) {
            fatal("memory map: 0x%lx+0x%lx type %u overlaps 0x%lx"
                  "+0x%lx type %u; firmware update needed",
                  b->start, b->size, b->type, a->start, a->size, a->type);
        }
    }
}

static void check_map(const struct boot_info *info)
{
    for (unsigned i = 0; i < info->region_count; i++) {
        const struct boot_region *region = &info->regions[i];
        if (!is_sane(region)) {
            fatal("memory map: entry %u, 0x%lx+0x%lx"
                  ", goes beyond the end of the address space; firmware update needed",
                  i, region->start, region->size);
        }
        refuse_overlaps(info, region);
    }
}

/* Whole pages of RAM. Regions of the same type may overlap: the union counts. */
static void add_ram(const struct boot_region *region)
{
    uint64_t start = align_up(region->start, PAGE_SIZE);
    uint64_t end = align_down(region->start + region->size, PAGE_SIZE);
    if (start < region->start || end <= start) {
        return;
    }
    ASSERT(extent_remove(&free_set, start, end - start) == RIVET_OK);
    ASSERT(extent_add(&free_set, start, end - start) == RIVET_OK);
}

/* Take every page that the range touches out. */
static void reserve(uint64_t start, uint64_t end)
{
    if (end > start) {
        start = align_down(start, PAGE_SIZE);
        ASSERT(extent_remove(&free_set, start, align_up(end, PAGE_SIZE) - start) == RIVET_OK);
    }
}

/* The highest page below 640 KiB: away from what firmware keeps at the bottom. */
static uint64_t find_low_page(void)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < free_set.count && free_set.list[i].start < KIB(640); i++) {
        uint64_t end = free_set.list[i].start + free_set.list[i].size;
        end = end < KIB(640) ? end : KIB(640);
        if (end - PAGE_SIZE >= free_set.list[i].start && end > PAGE_SIZE) {
            found = end - PAGE_SIZE;
        }
    }
    return found;
}

void memory_init(const struct boot_info *info)
{
    check_map(info);
    for (unsigned i = 0; i < info->region_count; i++) {
        if (info->regions[i].type == REGION_RAM) {
            add_ram(&info->regions[i]);
        }
    }
    for (unsigned i = 0; i < info->module_count; i++) {
        reserve(info->modules[i].start, info->modules[i].start + info->modules[i].size);
    }
    reserve((uintptr_t)image_start, (uintptr_t)image_end);
    low_page = find_low_page();
    reserve(0, MIB(1));
    if (free_set.count == 0) {
        fatal("memory map: no usable RAM above 1 MiB in %u entries", info->region_count);
    }
    log_info("memory: %lu MiB free, largest piece %lu MiB", memory_free_bytes() >> 20,
             memory_largest_piece() >> 20);
}

void *memory_alloc(uint64_t size, uint64_t align)
{
    uint64_t start;
    ASSERT(align >= PAGE_SIZE && (align & (align - 1)) == 0);
    if (size > UINT64_MAX - PAGE_SIZE) {
        return NULL;
    }
    size = align_up(size, PAGE_SIZE);
    spin_lock(&lock);
    int error = extent_take(&free_set, size, align, &start);
    spin_unlock(&lock);
    if (error != RIVET_OK) {
        return NULL;
    }
    return memset((void *)(uintptr_t)start, 0, size);
}

void *memory_alloc_page(void)
{
    return memory_alloc(PAGE_SIZE, PAGE_SIZE);
}

void memory_free(void *start, uint64_t size)
{
    spin_lock(&lock);
    int error = extent_add(&free_set, (uintptr_t)start, align_up(size, PAGE_SIZE));
    spin_unlock(&lock);
    if (error == ERR_NO_MEMORY) {
        log_warn("memory: %lu bytes at %p lost, free memory is in too many pieces", size, start);
    } else {
        ASSERT(error == RIVET_OK);
    }
}

uint64_t memory_free_bytes(void)
{
    spin_lock(&lock);
    uint64_t total = extent_total(&free_set);
    spin_unlock(&lock);
    return total;
}

uint64_t memory_largest_piece(void)
{
    spin_lock(&lock);
    uint64_t largest = extent_largest(&free_set, MIB(2));
    spin_unlock(&lock);
    return largest;
}

uint64_t memory_low_page(void)
{
    return low_page;
}
