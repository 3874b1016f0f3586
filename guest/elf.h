/* SPDX-License-Identifier: MIT */
/* ELF executables for x86, 32 and 64 bit, as a boot loader reads them. Pure logic. */
#pragma once

#include <stdint.h>

#include "guest/boot.h"

enum { ELF_MAX_SEGMENTS = 16 };

/* Bytes of the file, and zeros behind them, at a physical address. */
struct elf_segment {
    uint64_t address;
    uint64_t memory_size;
    const uint8_t *data;
    uint64_t file_size; /* at most memory_size */
};

struct elf_image {
    uint64_t entry; /* physical */
    unsigned segment_count;
    struct elf_segment segments[ELF_MAX_SEGMENTS];
};

/* The loadable segments and the entry, all checked against the file's size; else ERR_INVALID. */
int elf_read(const struct boot_file *file, struct elf_image *image, struct complaint *complaint);
