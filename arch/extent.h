/* SPDX-License-Identifier: MIT */
/* A sorted set of address ranges: the bookkeeping of the physical allocator. Pure logic, no lock. */
#pragma once

#include <stdint.h>

enum { EXTENT_MAX = 1024 };

struct extent {
    uint64_t start;
    uint64_t size;
};

/* Sorted by start; no two touch or overlap. All zero is the empty set. */
struct extent_set {
    unsigned count;
    struct extent list[EXTENT_MAX];
};

/*
 * Add a range, joining it with neighbours. 0, ERR_EXISTS when part of it is in the set already,
 * ERR_INVALID when it is empty or wraps round, ERR_NO_MEMORY when the set has no room for one more
 * piece (the set is then unchanged).
 */
int extent_add(struct extent_set *set, uint64_t start, uint64_t size);

/* Take a range out, whatever part of it is in. 0, or ERR_INVALID and ERR_NO_MEMORY as extent_add. */
int extent_remove(struct extent_set *set, uint64_t start, uint64_t size);

/*
 * Take size bytes aligned to align (a power of two) out of the set, at the lowest address that fits.
 * 0 and *start, ERR_NOT_FOUND when no piece fits, ERR_NO_MEMORY as extent_add.
 */
int extent_take(struct extent_set *set, uint64_t size, uint64_t align, uint64_t *start);

/* Bytes in the set. */
uint64_t extent_total(const struct extent_set *set);

/* The largest size that extent_take could give at that alignment; 0 when there is none. */
uint64_t extent_largest(const struct extent_set *set, uint64_t align);
