/* SPDX-License-Identifier: MIT */
/*
 * Integer operations and their flags, exact to the SDM, for the instruction executor. Pure logic, tested
 * on the host against the CPU itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/x86.h"

#define ALU_STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/*
 * What an operation does. flags replaces the bits of flags_mask; a flag that the SDM leaves undefined
 * is either kept or set as the CPUs do.
 */
struct alu_outcome {
    uint64_t result;
    uint64_t flags, flags_mask;
    bool write; /* the destination gets the result */
};

/*
 * An operation of vmx/decode.h that reads its destination: a is the destination's value, b the source's,
 * both zero extended from size bytes (b of shifts: the count, of BT*: the bit offset).
 */
struct alu_outcome alu_operate(uint8_t operation, uint64_t a, uint64_t b, unsigned size,
                               uint64_t rflags);

/* Status flags of comparing a with b (CMP a, b). */
uint64_t alu_compare_flags(uint64_t a, uint64_t b, unsigned size);

/* Whether a condition, the low four bits of a SETcc or CMOVcc opcode, holds (volume 1, "Condition Codes"). */
bool alu_condition_holds(unsigned condition, uint64_t rflags);
