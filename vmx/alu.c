/* SPDX-License-Identifier: MIT */
/* Integer operations and their flags (SDM volume 1, "Status Flags"; volume 2, the instruction reference). */

#include "vmx/alu.h"

#include "arch/x86.h"
#include "lib/bits.h"
#include "vmx/decode.h"

static uint64_t mask_of(unsigned size)
{
    return ~0ULL >> (64 - 8 * size);
}

static bool sign_of(uint64_t value, unsigned size)
{
    return value >> (8 * size - 1) & 1;
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* --- Flags --------------------------------------------------------------------------------------- */

static uint64_t flag_if(bool set, uint64_t flag)
{
    return set ? flag : 0;
}

static uint64_t result_flags(uint64_t result, unsigned size)
{
    return flag_if(!__builtin_parity((unsigned)result & 0xFF), RFLAGS_PF) |
           flag_if((result & mask_of(size)) == 0, RFLAGS_ZF) |
           flag_if(sign_of(result, size), RFLAGS_SF);
}

/* a + b + carry; the carry out of every bit follows from operands and result. */
static uint64_t add(uint64_t a, uint64_t b, bool carry, unsigned size, uint64_t *flags)
{
    uint64_t result = (a + b + carry) & mask_of(size);
    uint64_t carries = (a & b) | ((a | b) & ~result);
    *flags = result_flags(result, size) | flag_if(sign_of(carries, size), RFLAGS_CF) |
             flag_if(carries >> 3 & 1, RFLAGS_AF) |
             flag_if(sign_of((a ^ result) & (b ^ result), size), RFLAGS_OF);
    return result;
}

static uint64_t subtract(uint64_t a, uint64_t b, bool borrow, unsigned size, uint64_t *flags)
{
    uint64_t result = (a - b - borrow) & mask_of(size);
    uint64_t borrows = (~a & b) | ((~a | b) & result);
    *flags = result_flags(result, size) | flag_if(sign_of(borrows, size), RFLAGS_CF) |
             flag_if(borrows >> 3 & 1, RFLAGS_AF) |
             flag_if(sign_of((a ^ b) & (a ^ result), size), RFLAGS_OF);
    return result;
}

/* --- Operations of one result --------------------------------------------------------------------- */

static struct alu_outcome arithmetic(uint8_t operation, uint64_t a, uint64_t b, bool carry,
                                     unsigned size)
{
    struct alu_outcome outcome = { .flags_mask = ALU_STATUS_FLAGS, .write = true };
    switch (operation) {
    case OP_ADD:
    case OP_XADD:
        outcome.result = add(a, b, false, size, &outcome.flags);
        break;
    case OP_ADC:
        outcome.result = add(a, b, carry, size, &outcome.flags);
        break;
    case OP_SBB:
        outcome.result = subtract(a, b, carry, size, &outcome.flags);
        break;
    case OP_NEG:
        outcome.result = subtract(0, a, false, size, &outcome.flags);
        break;
    case OP_INC:
        outcome.result = add(a, 1, false, size, &outcome.flags);
        outcome.flags_mask &= ~RFLAGS_CF;
        break;
    case OP_DEC:
        outcome.result = subtract(a, 1, false, size, &outcome.flags);
        outcome.flags_mask &= ~RFLAGS_CF;
        break;
    default: /* OP_SUB, OP_CMP */
        outcome.result = subtract(a, b, false, size, &outcome.flags);
        outcome.write = operation == OP_SUB;
        break;
    }
    return outcome;
}

static struct alu_outcome logic(uint8_t operation, uint64_t a, uint64_t b, unsigned size)
{
    struct alu_outcome outcome = { .flags_mask = ALU_STATUS_FLAGS, .write = operation != OP_TEST };
    switch (operation) {
    case OP_OR:
        outcome.result = a | b;
        break;
    case OP_XOR:
        outcome.result = a ^ b;
        break;
    default: /* OP_AND, OP_TEST */
        outcome.result = a & b;
        break;
    }
    outcome.flags = result_flags(outcome.result, size);
    return outcome;
}

/* Rotate left by count through width bits of value; for RCL and RCR the carry is one more bit on top. */
static struct alu_outcome rotate(uint8_t operation, uint64_t a, unsigned count, bool carry,
                                 unsigned size)
{
    bool through_carry = operation == OP_RCL || operation == OP_RCR;
    bool right = operation == OP_ROR || operation == OP_RCR;
    unsigned bits = 8 * size + through_carry;
    unsigned left = right ? bits - count % bits : count;
    uint64_t result = a;

    for (unsigned i = left % bits; i != 0; i--) {
        bool top = sign_of(result, size);
        result = (result << 1 | (through_carry ? carry : top)) & mask_of(size);
        carry = top;
    }
    bool top = sign_of(result, size);
    if (operation == OP_ROL) {
        carry = result & 1;
    } else if (operation == OP_ROR) {
        carry = top;
    }
    bool overflow = right ? top != sign_of(result << 1, size) : top != carry;
    return (struct alu_outcome){
        .result = result,
        .flags = flag_if(carry, RFLAGS_CF) | flag_if(overflow, RFLAGS_OF),
        .flags_mask = count ? RFLAGS_CF | RFLAGS_OF : 0,
        .write = true,
    };
}

static struct alu_outcome shift(uint8_t operation, uint64_t a, unsigned count, unsigned size)
{
    struct alu_outcome outcome = { .result = a, .write = true };
    bool carry = false, overflow = false;

    if (count == 0) {
        return outcome;
    }
    if (operation == OP_SHL) {
        carry = count <= 8 * size && (a >> (8 * size - count) & 1);
        outcome.result = a << count & mask_of(size);
        overflow = sign_of(outcome.result, size) != carry;
    } else {
        uint64_t wide = operation == OP_SAR ? sign_extend(a, size) : a;
        carry = (uint64_t)((int64_t)wide >> (count - 1)) & 1;
        if (operation == OP_SHR) {
            carry = wide >> (count - 1) & 1;
            wide >>= count;
            overflow = sign_of(a, size);
        } else {
            wide = (uint64_t)((int64_t)wide >> count);
        }
        outcome.result = wide & mask_of(size);
    }
    outcome.flags = result_flags(outcome.result, size) | flag_if(carry, RFLAGS_CF) |
                    flag_if(overflow, RFLAGS_OF);
    outcome.flags_mask = ALU_STATUS_FLAGS;
    return outcome;
}

static struct alu_outcome bit_operation(uint8_t operation, uint64_t a, unsigned bit)
{
    struct alu_outcome outcome = {
        .flags = flag_if(a >> bit & 1, RFLAGS_CF),
        .flags_mask = RFLAGS_CF,
        .write = operation != OP_BT,
    };
    if (operation == OP_BTS) {
        outcome.result = a | BIT(bit);
    } else if (operation == OP_BTR) {
        outcome.result = a & ~BIT(bit);
    } else {
        outcome.result = a ^ BIT(bit);
    }
    return outcome;
}

bool alu_condition_holds(unsigned condition, uint64_t rflags)
{
    bool less = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF);
    bool holds = false;
    switch (condition >> 1) {
    case 0:
        holds = rflags & RFLAGS_OF;
        break;
    case 1:
        holds = rflags & RFLAGS_CF;
        break;
    case 2:
        holds = rflags & RFLAGS_ZF;
        break;
    case 3:
        holds = rflags & (RFLAGS_CF | RFLAGS_ZF);
        break;
    case 4:
        holds = rflags & RFLAGS_SF;
        break;
    case 5:
        holds = rflags & RFLAGS_PF;
        break;
    case 6:
        holds = less;
        break;
    default:
        holds = less || (rflags & RFLAGS_ZF);
        break;
    }
    return holds != (condition & 1);
}

struct alu_outcome alu_operate(uint8_t operation, uint64_t a, uint64_t b, unsigned size,
                               uint64_t rflags)
{
    bool carry = rflags & RFLAGS_CF;
    unsigned count = b & (size == 8 ? 63 : 31);

    switch (operation) {
    case OP_OR:
    case OP_AND:
    case OP_XOR:
    case OP_TEST:
        return logic(operation, a, b, size);
    case OP_ROL:
    case OP_ROR:
    case OP_RCL:
    case OP_RCR:
        return rotate(operation, a, count, carry, size);
    case OP_SHL:
    case OP_SHR:
    case OP_SAR:
        return shift(operation, a, count, size);
    case OP_BT:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
        return bit_operation(operation, a, b & (8 * size - 1));
    case OP_NOT:
        return (struct alu_outcome){ .result = ~a, .write = true };
    default:
        return arithmetic(operation, a, b, carry, size);
    }
}

uint64_t alu_compare_flags(uint64_t a, uint64_t b, unsigned size)
{
    uint64_t flags;
    (void)subtract(a, b, false, size, &flags);
    return flags;
}
