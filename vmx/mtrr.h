/* SPDX-License-Identifier: MIT */
/*
 * A guest's MTRRs (SDM volume 3, "Memory Type Range Registers"): stored and checked, without effect,
 * because EPT gives the memory types. Pure logic, tested on the host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { MTRR_VARIABLE = 8, MTRR_FIXED = 11 };

struct mtrr {
    uint64_t base[MTRR_VARIABLE], mask[MTRR_VARIABLE];
    uint64_t fixed[MTRR_FIXED]; /* in the order of their MSR numbers */
    uint64_t default_type;
};

/*
 * As firmware leaves them: everything write-back, but the VGA window and everything from 3 GiB to 4 GiB
 * uncacheable.
 */
void mtrr_reset(struct mtrr *mtrr, unsigned physical_bits);

/* RDMSR, WRMSR of the MTRRs; 0 or ERR_GP. msr is one that mtrr_owns. */
bool mtrr_owns(uint32_t msr);
int mtrr_read(const struct mtrr *mtrr, uint32_t msr, uint64_t *value);
int mtrr_write(struct mtrr *mtrr, uint32_t msr, uint64_t value, unsigned physical_bits);

/* Whether each byte of an IA32_PAT value is a memory type. */
bool pat_valid(uint64_t value);
