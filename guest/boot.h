/* SPDX-License-Identifier: MIT */
/* What a boot protocol gets to load, and the start state it answers with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/complaint.h"
#include "guest/ram.h"
#include "vmx/vcpu.h"

enum { BOOT_MAX_FILES = 8 };

/* A file in host memory, with its command line. */
struct boot_file {
    const uint8_t *data;
    uint64_t size; /* bytes */
    const char *cmdline;
};

struct boot_request {
    const struct ram *ram;
    const char *name; /* of the VM */
    struct boot_file kernel;
    struct boot_file initrd; /* Linux; size 0: none */
    unsigned module_count;   /* multiboot */
    struct boot_file modules[BOOT_MAX_FILES];
    uint64_t rsdp; /* guest-physical address of the ACPI RSDP */
};

/*
 * Load the kernel and what belongs to it into zeroed guest RAM and say how vCPU 0 starts. The files
 * are not changed, so the same request can be loaded again after a reset. Both protocols return
 * ERR_INVALID with a sentence in complaint when a file is malformed or does not fit. The first MiB
 * of RAM must be one piece. Pure logic.
 */

/* Linux's 64-bit boot protocol: a bzImage of protocol 2.12 or later that has the 64-bit entry. */
int linux_load(const struct boot_request *request, struct vcpu_boot_state *state,
               struct complaint *complaint);

/* Whether the file begins like a bzImage (also a truncated one). */
bool linux_is_image(const struct boot_file *file);

/* Multiboot 0.6.96 ("multiboot 1"): ELF32, ELF64 or a header with load addresses. */
int multiboot_load(const struct boot_request *request, struct vcpu_boot_state *state,
                   struct complaint *complaint);

/* Whether the file has a multiboot header in its first 8 KiB. */
bool multiboot_is_image(const struct boot_file *file);
