/* SPDX-License-Identifier: MIT */
/* What the boot loader told us (multiboot2), copied out of its memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { BOOT_MAX_MODULES = 32, BOOT_MAX_REGIONS = 128, BOOT_CMDLINE_SIZE = 1024 };

struct boot_module {
    uint64_t start;                  /* physical address of the first byte */
    uint64_t size;                   /* bytes */
    char cmdline[BOOT_CMDLINE_SIZE]; /* words after the file name in "module2 FILE WORDS..." */
};

struct boot_region {
    uint64_t start; /* physical */
    uint64_t size;  /* bytes */
    uint32_t type;  /* 1: available RAM (multiboot2 / ACPI numbering) */
};

struct boot_info {
    char cmdline[BOOT_CMDLINE_SIZE]; /* Rivet's options */
    unsigned module_count;
    struct boot_module modules[BOOT_MAX_MODULES];
    unsigned region_count;
    struct boot_region regions[BOOT_MAX_REGIONS];
    uint8_t rsdp[36]; /* copy of the ACPI RSDP; rsdp_size 0 when the loader gave none */
    unsigned rsdp_size;
};
