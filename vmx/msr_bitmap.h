/* SPDX-License-Identifier: MIT */
/* MSR bitmaps (SDM volume 3, "MSR-Bitmap Address"). Pure logic, tested on the host. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { MSR_BITMAP_SIZE = 4096 };

/* Whether the bitmap covers an MSR: 0-1FFFH and C0000000H-C0001FFFH; others always exit. */
bool msr_bitmap_covers(uint32_t msr);

/* Set whether reads, writes of an MSR that the bitmap covers exit. */
void msr_bitmap_set(uint8_t *bitmap, uint32_t msr, bool read_exits, bool write_exits);

/* The same for 64 MSRs from first on, a multiple of 8 and all covered: bit n for MSR first + n. */
void msr_bitmap_set_64(uint8_t *bitmap, uint32_t first, uint64_t read_exits, uint64_t write_exits);

/* Have reads and writes of count MSRs from first on exit; both multiples of 8, all covered. */
void msr_bitmap_intercept(uint8_t *bitmap, uint32_t first, unsigned count);

/* Whether a read or write exits. Any MSR. */
bool msr_bitmap_exits(const uint8_t *bitmap, uint32_t msr, bool write);
