/* SPDX-License-Identifier: MIT */
/* Extended page tables (SDM volume 3, "The Extended Page Table Mechanism"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { EPT_READ = 1, EPT_WRITE = 2, EPT_EXEC = 4, EPT_RWX = 7 };

/* What ept_init needs to know of the CPU. */
struct ept_features {
    bool page_2m, page_1g;
    bool accessed_dirty;
};

struct ept {
    uint64_t *root; /* PML4 */
    struct ept_features features;
};

/* Allocate the root. ERR_NO_MEMORY. */
int ept_init(struct ept *ept, const struct ept_features *features);

/*
 * Map [gpa, gpa+size) to hpa, write-back, with the largest pages that alignment and CPU allow (1G, 2M,
 * 4K). ERR_INVALID unless all are 4 KiB aligned and gpa + size is at most 2^48; ERR_EXISTS when part of it is mapped (nothing is
 * changed then), ERR_NO_MEMORY for a table (part may be mapped then). The caller holds whatever keeps
 * others from changing this EPT; entries that were not present need no INVEPT.
 */
int ept_map(struct ept *ept, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights);

/* Unmap, splitting larger pages. ERR_NO_MEMORY for a table to split into. INVEPT by the caller. */
int ept_unmap(struct ept *ept, uint64_t gpa, uint64_t size);

/* Host address and rights of gpa, and bytes to the end of its mapping; ERR_NOT_FOUND. Pure read. */
int ept_lookup(const struct ept *ept, uint64_t gpa, uint64_t *hpa, unsigned *rights,
               uint64_t *left);

/*
 * Make copy a second view of ept that maps the 4 KiB page at gpa to hpa and is the same elsewhere. They
 * share every table but the four on the way to gpa, so later changes within those tables' own entries
 * are not seen by the other: only for maps that are complete. ERR_NO_MEMORY, ERR_EXISTS.
 */
int ept_view_with_page(struct ept *copy, const struct ept *ept, uint64_t gpa, uint64_t hpa,
                       unsigned rights);

/* Tables of its own for a view that is built again for each use; EPT levels from the page table up. */
struct ept_overlay {
    uint64_t *tables[4];
};

/* Allocate the tables. ERR_NO_MEMORY. */
int ept_overlay_init(struct ept_overlay *overlay);

/*
 * Make *view the same as ept, but with the 4 KiB page at gpa mapped to hpa with rights, whatever is there;
 * no rights: nothing is there. What overlay was before is gone: INVEPT by the caller. Allocates nothing.
 */
void ept_overlay_build(struct ept_overlay *overlay, const struct ept *ept, uint64_t gpa,
                       uint64_t hpa, unsigned rights, struct ept *view);

/* EPT pointer value for the VMCS: write-back, 4 levels, accessed/dirty flags as the CPU offers. */
uint64_t ept_pointer(const struct ept *ept);
