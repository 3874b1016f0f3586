/* SPDX-License-Identifier: MIT */
/* A sorted set of address ranges: pure logic, compiled for the host too. */
#include "arch/extent.h"

#include <stdbool.h>

#include "lib/bits.h"
#include "lib/error.h"

static uint64_t end_of(const struct extent *extent)
{
    return extent->start + extent->size;
}

static bool is_range(uint64_t start, uint64_t size)
{
    return size != 0 && start + size > start;
}

/* Index of the first extent that ends after address. */
static unsigned first_after(const struct extent_set *set, uint64_t address)
{
    unsigned i = 0;
    while (i < set->count && end_of(&set->list[i]) <= address) {
        i++;
    }
    return i;
}

static int insert(struct extent_set *set, unsigned index, uint64_t start, uint64_t size)
{
    if (set->count == EXTENT_MAX) {
        return ERR_NO_MEMORY;
    }
    for (unsigned i = set->count; i > index; i--) {
        set->list[i] = set->list[i - 1];
    }
    set->list[index] = (struct extent){ .start = start, .size = size };
    set->count++;
    return RIVET_OK;
}

static void delete_at(struct extent_set *set, unsigned index)
{
    set->count--;
    for (unsigned i = index; i < set->count; i++) {
        set->list[i] = set->list[i + 1];
    }
}

int extent_add(struct extent_set *set, uint64_t start, uint64_t size)
{
    if (!is_range(start, size)) {
        return ERR_INVALID;
    }
    unsigned i = first_after(set, start);
    if (i < set->count && set->list[i].start < start + size) {
        return ERR_EXISTS;
    }
    bool joins_before = i > 0 && end_of(&set->list[i - 1]) == start;
    bool joins_after = i < set->count && set->list[i].start == start + size;
    if (joins_before && joins_after) {
        set->list[i - 1].size += size + set->list[i].size;
        delete_at(set, i);
    } else if (joins_before) {
        set->list[i - 1].size += size;
    } else if (joins_after) {
        set->list[i].start = start;
        set->list[i].size += size;
    } else {
        return insert(set, i, start, size);
    }
    return RIVET_OK;
}

int extent_remove(struct extent_set *set, uint64_t start, uint64_t size)
{
    if (!is_range(start, size)) {
        return ERR_INVALID;
    }
    uint64_t end = start + size;
    unsigned i = first_after(set, start);
    while (i < set->count && set->list[i].start < end) {
        struct extent *extent = &set->list[i];
        uint64_t extent_end = end_of(extent);
        bool keeps_head = extent->start < start;
        bool keeps_tail = extent_end > end;
        if (keeps_head && keeps_tail) {
            int error = insert(set, i + 1, end, extent_end - end);
            if (error != RIVET_OK) {
                return error;
            }
        }
        if (keeps_head) {
            extent->size = start - extent->start;
            i++;
        } else if (keeps_tail) {
            extent->start = end;
            extent->size = extent_end - end;
            i++;
        } else {
            delete_at(set, i);
        }
    }
    return RIVET_OK;
}

/* Bytes of the extent from its first aligned address on. */
static uint64_t aligned_room(const struct extent *extent, uint64_t align)
{
    uint64_t lost = align_up(extent->start, align) - extent->start;
    return lost < extent->size ? extent->size - lost : 0;
}

int extent_take(struct extent_set *set, uint64_t size, uint64_t align, uint64_t *start)
{
    if (size == 0) {
        return ERR_NOT_FOUND;
    }
    for (unsigned i = 0; i < set->count; i++) {
        if (aligned_room(&set->list[i], align) >= size) {
            uint64_t found = align_up(set->list[i].start, align);
            int error = extent_remove(set, found, size);
            if (error == RIVET_OK) {
                *start = found;
            }
            return error;
        }
    }
    return ERR_NOT_FOUND;
}

uint64_t extent_total(const struct extent_set *set)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < set->count; i++) {
        total += set->list[i].size;
    }
    return total;
}

uint64_t extent_largest(const struct extent_set *set, uint64_t align)
{
    uint64_t largest = 0;
    for (unsigned i = 0; i < set->count; i++) {
        uint64_t room = aligned_room(&set->list[i], align);
        largest = room > largest ? room : largest;
    }
    return largest;
}
