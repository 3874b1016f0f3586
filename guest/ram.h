/* SPDX-License-Identifier: MIT */
/*
 * The RAM of a VM as its loaders see it: where it lies in guest-physical space and on the host.
 *
 *   0 .. 9FBFFH          RAM
 *   9FC00H .. 9FFFFH     reserved (as a PC's extended BIOS data area)
 *   A0000H .. DFFFFH     memory that no map offers: no video, no option ROMs
 *   E0000H .. FFFFFH     reserved: ACPI tables
 *   1 MiB .. low end     RAM; the low end is at most 3 GiB
 *   4 GiB .. high end    the rest
 *
 * Everything up to the low end is backed by host memory without a gap. Pure logic.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { RAM_MAX_PIECES = 64, RAM_MAX_RANGES = 8 };

enum {
    RAM_CONVENTIONAL_END = 0x9FC00,
    RAM_BIOS_START = 0xE0000,
    RAM_HIGH_START = 0x100000,
};

#define RAM_LOW_LIMIT 0xC0000000ULL /* above: devices */
#define RAM_FOUR_GIB  0x100000000ULL

/* Host memory behind a stretch of guest memory. */
struct ram_piece {
    uint64_t gpa, size; /* bytes */
    uint8_t *host;
};

struct ram {
    uint64_t low_end;  /* guest-physical end of RAM below 4 GiB */
    uint64_t high_end; /* end of RAM above 4 GiB; RAM_FOUR_GIB when there is none */
    unsigned piece_count;
    struct ram_piece pieces[RAM_MAX_PIECES]; /* sorted, without overlap */
};

/* An entry of the memory map given to guests (ACPI 6.5, chapter 15). */
enum ram_type { RAM_USABLE = 1, RAM_RESERVED = 2 };

struct ram_range {
    uint64_t start, size;
    enum ram_type type;
};

/* Lay out bytes of RAM (a multiple of 4096): sets low_end and high_end, no pieces yet. */
void ram_plan(struct ram *ram, uint64_t bytes);

/* The memory map; returns the number of ranges written. */
unsigned ram_map(const struct ram *ram, struct ram_range ranges[RAM_MAX_RANGES]);

/* Host pointer to [gpa, gpa+size) when it is RAM and contiguous on the host; else NULL. */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t size);

/* Copy into guest memory, over several pieces if need be. ERR_RANGE when part of it is not RAM. */
int ram_write(const struct ram *ram, uint64_t gpa, const void *from, uint64_t size);

/* Zero everything. */
void ram_clear(const struct ram *ram);
