/* SPDX-License-Identifier: MIT */
/* Bit, field and alignment helpers; usable in host-compiled code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BIT(n)   (1ULL << (n))
#define BIT32(n) (1U << (n))

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((uintptr_t)(ptr)-offsetof(type, member)))

#define KIB(n)    ((uint64_t)(n) << 10)
#define MIB(n)    ((uint64_t)(n) << 20)
#define GIB(n)    ((uint64_t)(n) << 30)
#define PAGE_SIZE 4096ULL

/* align must be a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t align)
{
    return value & ~(align - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t align)
{
    return (value & (align - 1)) == 0;
}

/* Value of the field that mask selects, shifted down; mask must not be 0. */
static inline uint64_t field_get(uint64_t mask, uint64_t word)
{
    return (word & mask) >> __builtin_ctzll(mask);
}

/* word with the field that mask selects replaced by value. */
static inline uint64_t field_set(uint64_t mask, uint64_t word, uint64_t value)
{
    return (word & ~mask) | ((value << __builtin_ctzll(mask)) & mask);
}
