/* SPDX-License-Identifier: MIT */
/* Physical memory: page allocator over the boot loader's map. Identity mapped: pointer == address. */
#pragma once

#include <stdint.h>

#include "arch/boot_info.h"

/*
 * Take over the machine's RAM: everything of type 1 in info, less the image, the modules and the
 * first MiB. Refuses (fatal) maps whose entries overlap with different types, wrap round, or hold no
 * usable RAM. Boot CPU, once.
 */
void memory_init(const struct boot_info *info);

/*
 * Allocate size bytes (rounded up to pages), aligned to align (a power of two >= 4096), zeroed.
 * Returns NULL when there is no contiguous piece. Any CPU; takes the allocator's lock.
 */
void *memory_alloc(uint64_t size, uint64_t align);

/* One zeroed page; NULL when none is left. */
void *memory_alloc_page(void);

/* Give back what memory_alloc returned, with the same size. */
void memory_free(void *start, uint64_t size);

/* Bytes free now, and the largest piece that memory_alloc could return at 2 MiB alignment. */
uint64_t memory_free_bytes(void);
uint64_t memory_largest_piece(void);

/*
 * Address of a page of RAM below 640 KiB for the start-up code of other CPUs: never handed out by
 * memory_alloc. 0 when the machine has none.
 */
uint64_t memory_low_page(void);
