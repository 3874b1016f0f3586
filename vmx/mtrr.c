/* SPDX-License-Identifier: MIT */
/* A guest's MTRRs and the check of IA32_PAT (SDM volume 3, chapter "Memory Cache Control"). */

#include "vmx/mtrr.h"

#include "arch/msr.h"
#include "lib/bits.h"
#include "lib/error.h"

#define MTRR_PHYSBASE_RESERVED 0xF00ULL
#define MTRR_PHYSMASK_RESERVED 0x7FFULL
#define MTRR_PHYSMASK_V        BIT(11)

#define ALL_WB 0x0606060606060606ULL

static const uint32_t fixed_msrs[MTRR_FIXED] = {
    IA32_MTRR_FIX64K_00000,    IA32_MTRR_FIX16K_80000,    IA32_MTRR_FIX16K_A0000,
    IA32_MTRR_FIX4K_C0000,     IA32_MTRR_FIX4K_C0000 + 1, IA32_MTRR_FIX4K_C0000 + 2,
    IA32_MTRR_FIX4K_C0000 + 3, IA32_MTRR_FIX4K_C0000 + 4, IA32_MTRR_FIX4K_C0000 + 5,
    IA32_MTRR_FIX4K_C0000 + 6, IA32_MTRR_FIX4K_F8000,
};

static int fixed_index(uint32_t msr)
{
    for (unsigned i = 0; i < MTRR_FIXED; i++) {
        if (fixed_msrs[i] == msr) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_variable(uint32_t msr)
{
    return msr >= IA32_MTRR_PHYSBASE0 && msr < IA32_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE;
}

static bool type_valid(uint64_t type)
{
    return type == MEMORY_TYPE_UC || type == MEMORY_TYPE_WC || type == MEMORY_TYPE_WT ||
           type == MEMORY_TYPE_WP || type == MEMORY_TYPE_WB;
}

static bool fixed_valid(uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        if (!type_valid(value >> (8 * i) & 0xFF)) {
            return false;
        }
    }
    return true;
}

bool pat_valid(uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t type = value >> (8 * i) & 0xFF;
        if (!type_valid(type) && type != MEMORY_TYPE_UC_MINUS) {
            return false;
        }
    }
    return true;
}

void mtrr_reset(struct mtrr *mtrr, unsigned physical_bits)
{
    *mtrr = (struct mtrr){ .default_type = MTRR_DEF_TYPE_E | MTRR_DEF_TYPE_FE | MEMORY_TYPE_WB };
    for (unsigned i = 0; i < MTRR_FIXED; i++) {
        mtrr->fixed[i] = fixed_msrs[i] == IA32_MTRR_FIX16K_A0000 ? MEMORY_TYPE_UC : ALL_WB;
    }
    mtrr->base[0] = GIB(3) | MEMORY_TYPE_UC;
    mtrr->mask[0] = ((BIT(physical_bits) - 1) & ~(GIB(1) - 1)) | MTRR_PHYSMASK_V;
}

bool mtrr_owns(uint32_t msr)
{
    return msr == IA32_MTRRCAP || msr == IA32_MTRR_DEF_TYPE || is_variable(msr) ||
           fixed_index(msr) >= 0;
}

int mtrr_read(const struct mtrr *mtrr, uint32_t msr, uint64_t *value)
{
    if (msr == IA32_MTRRCAP) {
        *value = MTRR_VARIABLE | MTRRCAP_FIX | MTRRCAP_WC;
    } else if (msr == IA32_MTRR_DEF_TYPE) {
        *value = mtrr->default_type;
    } else if (is_variable(msr)) {
        unsigned i = (msr - IA32_MTRR_PHYSBASE0) / 2;
        *value = msr & 1 ? mtrr->mask[i] : mtrr->base[i];
    } else {
        *value = mtrr->fixed[fixed_index(msr)];
    }
    return RIVET_OK;
}

static int write_variable(struct mtrr *mtrr, uint32_t msr, uint64_t value, unsigned physical_bits)
{
    unsigned i = (msr - IA32_MTRR_PHYSBASE0) / 2;
    uint64_t beyond = ~0ULL << physical_bits;

    if (msr & 1) {
        if (value & (beyond | MTRR_PHYSMASK_RESERVED)) {
            return ERR_GP;
        }
        mtrr->mask[i] = value;
        return RIVET_OK;
    }
    if ((value & (beyond | MTRR_PHYSBASE_RESERVED)) || !type_valid(value & 0xFF)) {
        return ERR_GP;
    }
    mtrr->base[i] = value;
    return RIVET_OK;
}

int mtrr_write(struct mtrr *mtrr, uint32_t msr, uint64_t value, unsigned physical_bits)
{
    if (msr == IA32_MTRRCAP) {
        return ERR_GP;
    }
    if (is_variable(msr)) {
        return write_variable(mtrr, msr, value, physical_bits);
    }
    if (msr == IA32_MTRR_DEF_TYPE) {
        uint64_t defined = MTRR_DEF_TYPE_E | MTRR_DEF_TYPE_FE | MTRR_DEF_TYPE_TYPE;
        if ((value & ~defined) || !type_valid(value & MTRR_DEF_TYPE_TYPE)) {
            return ERR_GP;
        }
        mtrr->default_type = value;
        return RIVET_OK;
    }
    if (!fixed_valid(value)) {
        return ERR_GP;
    }
    mtrr->fixed[fixed_index(msr)] = value;
    return RIVET_OK;
}
