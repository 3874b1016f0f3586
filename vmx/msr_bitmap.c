/* SPDX-License-Identifier: MIT */
/* MSR bitmaps: four of 1024 bytes, reads of low and high MSRs, then writes of low and high MSRs. */

#include "vmx/msr_bitmap.h"

#include "lib/bits.h"
#include "lib/string.h"

#define HIGH_MSRS 0xC0000000U

enum { MSRS_PER_BITMAP = 0x2000, HIGH_OFFSET = 1024, WRITE_OFFSET = 2048 };

bool msr_bitmap_covers(uint32_t msr)
{
    return msr < MSRS_PER_BITMAP || msr - HIGH_MSRS < MSRS_PER_BITMAP;
}

static unsigned byte_of(uint32_t msr)
{
    unsigned offset = msr >= HIGH_MSRS ? HIGH_OFFSET : 0;
    return offset + (msr & (MSRS_PER_BITMAP - 1)) / 8;
}

static void set_bit(uint8_t *byte, uint8_t bit, bool set)
{
    *byte = set ? *byte | bit : *byte & (uint8_t)~bit;
}

void msr_bitmap_set(uint8_t *bitmap, uint32_t msr, bool read_exits, bool write_exits)
{
    uint8_t bit = (uint8_t)(1U << (msr & 7));
    set_bit(&bitmap[byte_of(msr)], bit, read_exits);
    set_bit(&bitmap[WRITE_OFFSET + byte_of(msr)], bit, write_exits);
}

void msr_bitmap_set_64(uint8_t *bitmap, uint32_t first, uint64_t read_exits, uint64_t write_exits)
{
    memcpy(&bitmap[byte_of(first)], &read_exits, sizeof(read_exits));
    memcpy(&bitmap[WRITE_OFFSET + byte_of(first)], &write_exits, sizeof(write_exits));
}

void msr_bitmap_intercept(uint8_t *bitmap, uint32_t first, unsigned count)
{
    memset(&bitmap[byte_of(first)], 0xFF, count / 8);
    memset(&bitmap[WRITE_OFFSET + byte_of(first)], 0xFF, count / 8);
}

bool msr_bitmap_exits(const uint8_t *bitmap, uint32_t msr, bool write)
{
    if (!msr_bitmap_covers(msr)) {
        return true;
    }
    return bitmap[(write ? WRITE_OFFSET : 0) + byte_of(msr)] >> (msr & 7) & 1;
}
