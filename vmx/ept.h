/* SPDX-License-Identifier: MIT */
/* Extended page tables (SDM volume 3, "The Extended Page Table Mechanism"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { EPT_READ = 1, EPT_WRITE = 2, EPT_EXEC = 4, EPT_RWX = 7 };

struct ept {
    uint64_t *root; /* PML4 */
};

/* Allocate the root. ERR_NO_MEMORY. */
int ept_init(struct ept *ept);

/*
 * Map [gpa, gpa+size) to hpa, write-back, with the largest pages that alignment and CPU allow (1G, 2M,
 * 4K). All 4 KiB aligned. ERR_EXISTS when part of it is mapped, ERR_NO_MEMORY for a table. The caller
 * holds whatever keeps others from changing this EPT; INVEPT by the caller if entries were present.
 */
int ept_map(struct ept *ept, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights);

/* Unmap, splitting larger pages. ERR_NO_MEMORY for a table to split into. */
int ept_unmap(struct ept *ept, uint64_t gpa, uint64_t size);

/* Host address and rights of gpa, and bytes to the end of its mapping; ERR_NOT_FOUND. Pure read. */
int ept_lookup(const struct ept *ept, uint64_t gpa, uint64_t *hpa, unsigned *rights,
               uint64_t *left);

/* EPT pointer value for the VMCS: write-back, 4 levels, accessed/dirty flags as the CPU offers. */
uint64_t ept_pointer(const struct ept *ept);
