/* SPDX-License-Identifier: MIT */
/*
 * Instruction decoder for accesses to emulated memory: the forms that kernels use on MMIO (SDM volume
 * 2, "Instruction Format" and the opcode maps). It claims only instructions with a memory operand.
 * Pure logic without guest state, tested on the host against Zydis.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/segment.h"

enum { INSTRUCTION_MAX_LENGTH = 15 };

/* Default operand and address size of the code segment, in bytes; DECODE_64 is 64-bit mode. */
enum decode_mode { DECODE_16 = 2, DECODE_32 = 4, DECODE_64 = 8 };

enum operation {
    OP_NONE,
    /* ModRM.reg of the immediate group selects these, in this order. */
    OP_ADD,
    OP_OR,
    OP_ADC,
    OP_SBB,
    OP_AND,
    OP_SUB,
    OP_XOR,
    OP_CMP,
    /* ModRM.reg of the shift group selects these, in this order; /6 is SHL again. */
    OP_ROL,
    OP_ROR,
    OP_RCL,
    OP_RCR,
    OP_SHL,
    OP_SHR,
    OP_SAR,
    OP_BT,
    OP_BTS,
    OP_BTR,
    OP_BTC,
    OP_MOV,
    OP_MOVZX,
    OP_MOVSX,
    OP_MOVBE,
    OP_TEST,
    OP_NOT,
    OP_NEG,
    OP_INC,
    OP_DEC,
    OP_XCHG,
    OP_XADD,
    OP_CMPXCHG,
    OP_SETCC,
    OP_CMOVCC,
    OP_PUSH,
    OP_POP,
    OP_MOVS,
    OP_CMPS,
    OP_STOS,
    OP_LODS,
    OP_SCAS,
    OP_FLUSH, /* CLFLUSH, CLFLUSHOPT, CLWB: touches memory, changes nothing that is emulated */
    /*
     * The CPU itself has to execute these (vmx/step.h): the decoder says only that they read, write or
     * modify memory, the operand destination, and how long they are.
     */
    OP_NATIVE_READ,
    OP_NATIVE_WRITE,
    OP_NATIVE_MODIFY,
};

enum operand_kind {
    OPERAND_NONE,
    OPERAND_GPR,      /* reg: 0 (RAX) to 15 (R15), its low size bytes */
    OPERAND_GPR_HIGH, /* reg: 0 (AH) to 3 (BH) */
    OPERAND_MEMORY,   /* instruction.memory */
    OPERAND_IMMEDIATE /* instruction.immediate */
};

struct operand {
    uint8_t kind; /* enum operand_kind */
    uint8_t size; /* bytes */
    uint8_t reg;
};

enum { NO_REGISTER = -1 };

struct memory_operand {
    uint8_t segment;      /* vmx/segment.h; override applied */
    int8_t base, index;   /* general register or NO_REGISTER */
    uint8_t scale;        /* 1, 2, 4 or 8 */
    bool rip_relative;    /* the base is the RIP of the next instruction */
    int64_t displacement; /* sign extended; the whole address for MOV with an offset (A0-A3) */
};

enum repeat { REPEAT_NONE, REPEAT_EQUAL /* REP, REPE */, REPEAT_NOT_EQUAL };

struct instruction {
    uint8_t length;
    uint8_t operation;    /* enum operation */
    uint8_t condition;    /* SETcc, CMOVcc: low four bits of the opcode */
    uint8_t operand_size; /* bytes: 1, 2, 4, 8 */
    uint8_t address_size; /* bytes: 2, 4, 8 */
    uint8_t repeat;       /* enum repeat; string instructions only */
    bool lock;
    /*
     * String instructions: memory is seg:rSI for MOVS, CMPS and LODS, ES:rDI for STOS and SCAS; the
     * other operand (ES:rDI of MOVS and CMPS) is implied.
     */
    struct operand destination, source;
    struct memory_operand memory;
    uint64_t immediate; /* sign extended to 64 bits */
};

/*
 * Decode the instruction at bytes, of which length are there (at most 15 are looked at). Returns its
 * length and fills *out; ERR_RANGE when the instruction goes on beyond length; ERR_INVALID when it is
 * undefined, longer than 15 bytes, or not one that this decoder claims. Pure; any context.
 */
int decode(const uint8_t *bytes, unsigned length, enum decode_mode mode, struct instruction *out);
