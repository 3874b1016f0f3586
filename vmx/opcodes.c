/* SPDX-License-Identifier: MIT */
/* The opcodes that the instruction decoder claims (SDM volume 2, appendix "Opcode Map"). */
#include "vmx/opcodes.h"

#include "vmx/decode.h"

enum {
    GROUP_1 = GROUP_FIRST,
    GROUP_1A,
    GROUP_2,
    GROUP_3,
    GROUP_4,
    GROUP_5,
    GROUP_6,
    GROUP_7,
    GROUP_8,
    GROUP_11,
    GROUP_15,
    GROUP_FROM_SEGMENT, /* MOV to memory from a segment register: six of them */
    GROUP_TO_SEGMENT,   /* from memory: all but CS */
};

/* Opcode groups: ModRM.reg selects. An operand that is NONE here comes from the opcode. */
#define MEMBER(name)        \
    {                       \
        .operation = (name) \
    }

static const struct opcode groups[][8] = {
    [GROUP_1 - GROUP_FIRST] = { MEMBER(OP_ADD), MEMBER(OP_OR), MEMBER(OP_ADC), MEMBER(OP_SBB),
                                MEMBER(OP_AND), MEMBER(OP_SUB), MEMBER(OP_XOR), MEMBER(OP_CMP) },
    [GROUP_1A - GROUP_FIRST] = { { .operation = OP_POP, .conditions = DEFAULT_64 } },
    [GROUP_2 - GROUP_FIRST] = { MEMBER(OP_ROL), MEMBER(OP_ROR), MEMBER(OP_RCL), MEMBER(OP_RCR),
                                MEMBER(OP_SHL), MEMBER(OP_SHR), MEMBER(OP_SHL), MEMBER(OP_SAR) },
    [GROUP_3 - GROUP_FIRST] = { { .operation = OP_TEST, .source = IS },
                                { .operation = OP_TEST, .source = IS },
                                MEMBER(OP_NOT),
                                MEMBER(OP_NEG),
                                MEMBER(OP_NATIVE_READ),
                                MEMBER(OP_NATIVE_READ),
                                MEMBER(OP_NATIVE_READ),
                                MEMBER(OP_NATIVE_READ) }, /* MUL, IMUL, DIV, IDIV */
    [GROUP_4 - GROUP_FIRST] = { MEMBER(OP_INC), MEMBER(OP_DEC) },
    [GROUP_5 - GROUP_FIRST] = { MEMBER(OP_INC),
                                MEMBER(OP_DEC),
                                { .operation = OP_NATIVE_READ,
                                  .conditions = ONLY_64 | DEFAULT_64 | NO_66 },
                                { .operation = OP_NATIVE_READ, .destination = EP },
                                { .operation = OP_NATIVE_READ,
                                  .conditions = ONLY_64 | DEFAULT_64 | NO_66 },
                                { .operation = OP_NATIVE_READ, .destination = EP },
                                { .operation = OP_PUSH, .conditions = DEFAULT_64 } },
    [GROUP_6 - GROUP_FIRST] = { MEMBER(OP_NATIVE_WRITE), MEMBER(OP_NATIVE_WRITE),
                                MEMBER(OP_NATIVE_READ), MEMBER(OP_NATIVE_READ) },
    [GROUP_7 - GROUP_FIRST] = { [4] = MEMBER(OP_NATIVE_WRITE), [6] = MEMBER(OP_NATIVE_READ) },
    [GROUP_8 -
        GROUP_FIRST] = { [4] = MEMBER(OP_BT), MEMBER(OP_BTS), MEMBER(OP_BTR), MEMBER(OP_BTC) },
    [GROUP_11 - GROUP_FIRST] = { MEMBER(OP_MOV) },
    [GROUP_15 - GROUP_FIRST] = { [6] = { .operation = OP_FLUSH, .conditions = NO_REP | ONLY_66 },
                                 [7] = { .operation = OP_FLUSH, .conditions = NO_REP } },
    [GROUP_FROM_SEGMENT - GROUP_FIRST] = { MEMBER(OP_NATIVE_WRITE), MEMBER(OP_NATIVE_WRITE),
                                           MEMBER(OP_NATIVE_WRITE), MEMBER(OP_NATIVE_WRITE),
                                           MEMBER(OP_NATIVE_WRITE), MEMBER(OP_NATIVE_WRITE) },
    [GROUP_TO_SEGMENT - GROUP_FIRST] = { MEMBER(OP_NATIVE_READ), [2] = MEMBER(OP_NATIVE_READ),
                                         MEMBER(OP_NATIVE_READ), MEMBER(OP_NATIVE_READ),
                                         MEMBER(OP_NATIVE_READ) },
};

#define ALU(opcode, operation)                                                      \
    [opcode] = { operation, EB, GB, 0 }, [(opcode) + 1] = { operation, EV, GV, 0 }, \
    [(opcode) + 2] = { operation, GB, EB, 0 }, [(opcode) + 3] = { operation, GV, EV, 0 }

static const struct opcode one_byte[256] = {
    ALU(0x00, OP_ADD),
    ALU(0x08, OP_OR),
    ALU(0x10, OP_ADC),
    ALU(0x18, OP_SBB),
    ALU(0x20, OP_AND),
    ALU(0x28, OP_SUB),
    ALU(0x30, OP_XOR),
    ALU(0x38, OP_CMP),
    [0x50 ... 0x57] = { OP_NATIVE_WRITE, PUSHED, NONE, ONLY_64 | DEFAULT_64 },
    [0x58 ... 0x5F] = { OP_NATIVE_READ, POPPED, NONE, ONLY_64 | DEFAULT_64 },
    [0x63] = { OP_MOVSX, GV, ED, ONLY_64 | NO_66 }, /* with 66H SDM and CPUs differ */
    [0x68] = { OP_NATIVE_WRITE, PUSHED, IS, ONLY_64 | DEFAULT_64 },
    [0x69] = { OP_NATIVE_READ, EV, IS, 0 }, /* IMUL */
    [0x6A] = { OP_NATIVE_WRITE, PUSHED, IB, ONLY_64 | DEFAULT_64 },
    [0x6B] = { OP_NATIVE_READ, EV, IB, 0 }, /* IMUL */
    [0x80] = { GROUP_1, EB, IS, 0 },
    [0x81] = { GROUP_1, EV, IS, 0 },
    [0x82] = { GROUP_1, EB, IS, NOT_64 },
    [0x83] = { GROUP_1, EV, IB, 0 },
    [0x84] = { OP_TEST, EB, GB, 0 },
    [0x85] = { OP_TEST, EV, GV, 0 },
    [0x86] = { OP_XCHG, EB, GB, 0 },
    [0x87] = { OP_XCHG, EV, GV, 0 },
    [0x88] = { OP_MOV, EB, GB, 0 },
    [0x89] = { OP_MOV, EV, GV, 0 },
    [0x8A] = { OP_MOV, GB, EB, 0 },
    [0x8B] = { OP_MOV, GV, EV, 0 },
    [0x8C] = { GROUP_FROM_SEGMENT, EW, NONE, 0 },
    [0x8E] = { GROUP_TO_SEGMENT, EW, NONE, 0 },
    [0x8F] = { GROUP_1A, EV, NONE, 0 },
    [0xA0] = { OP_MOV, AB, OB, 0 },
    [0xA1] = { OP_MOV, AV, OV, 0 },
    [0xA2] = { OP_MOV, OB, AB, 0 },
    [0xA3] = { OP_MOV, OV, AV, 0 },
    [0xA4] = { OP_MOVS, YB, XB, 0 },
    [0xA5] = { OP_MOVS, YV, XV, 0 },
    [0xA6] = { OP_CMPS, XB, YB, 0 },
    [0xA7] = { OP_CMPS, XV, YV, 0 },
    [0xAA] = { OP_STOS, YB, AB, 0 },
    [0xAB] = { OP_STOS, YV, AV, 0 },
    [0xAC] = { OP_LODS, AB, XB, 0 },
    [0xAD] = { OP_LODS, AV, XV, 0 },
    [0xAE] = { OP_SCAS, AB, YB, 0 },
    [0xAF] = { OP_SCAS, AV, YV, 0 },
    [0xC0] = { GROUP_2, EB, I8, 0 },
    [0xC1] = { GROUP_2, EV, I8, 0 },
    [0xC3] = { OP_NATIVE_READ, POPPED, NONE, ONLY_64 | DEFAULT_64 | NO_66 }, /* RET */
    [0xC6] = { GROUP_11, EB, IS, 0 },
    [0xC7] = { GROUP_11, EV, IS, 0 },
    [0xC8] = { OP_NATIVE_WRITE, PUSHED, IE, ONLY_64 | DEFAULT_64 | NO_66 }, /* ENTER */
    [0xC9] = { OP_NATIVE_READ, FRAME, NONE, ONLY_64 | DEFAULT_64 | NO_66 }, /* LEAVE */
    [0xD0] = { GROUP_2, EB, I1, 0 },
    [0xD1] = { GROUP_2, EV, I1, 0 },
    [0xD2] = { GROUP_2, EB, CL, 0 },
    [0xD3] = { GROUP_2, EV, CL, 0 },
    [0xF6] = { GROUP_3, EB, NONE, 0 },
    [0xF7] = { GROUP_3, EV, NONE, 0 },
    [0xFE] = { GROUP_4, EB, NONE, 0 },
    [0xFF] = { GROUP_5, EV, NONE, 0 },
};

/* After 0FH. */
static const struct opcode two_byte[256] = {
    [0x00] = { GROUP_6, EW, NONE, 0 },
    [0x01] = { GROUP_7, EW, NONE, 0 },
    [0x10] = { OP_NATIVE_READ, ES, NONE, 0 },       /* MOVUPS, MOVUPD, MOVSS, MOVSD */
    [0x11] = { OP_NATIVE_WRITE, ES, NONE, 0 },      /* the same */
    [0x28] = { OP_NATIVE_READ, EX, NONE, NO_REP },  /* MOVAPS, MOVAPD */
    [0x29] = { OP_NATIVE_WRITE, EX, NONE, NO_REP }, /* the same */
    [0x2B] = { OP_NATIVE_WRITE, EX, NONE, NO_REP }, /* MOVNTPS, MOVNTPD */
    [0x40 ... 0x4F] = { OP_CMOVCC, GV, EV, 0 },
    [0x6E] = { OP_NATIVE_READ, EY, NONE, NO_REP },  /* MOVD, MOVQ */
    [0x6F] = { OP_NATIVE_READ, EQ, NONE, NO_F2 },   /* MOVQ, MOVDQA, MOVDQU */
    [0x7E] = { OP_NATIVE_WRITE, EY, NONE, NO_REP }, /* MOVD, MOVQ */
    [0x7F] = { OP_NATIVE_WRITE, EQ, NONE, NO_F2 },  /* the same */
    [0x90 ... 0x9F] = { OP_SETCC, EB, NONE, 0 },
    [0xA3] = { OP_BT, EV, GV, 0 },
    [0xA4] = { OP_NATIVE_MODIFY, EV, I8, 0 },   /* SHLD */
    [0xA5] = { OP_NATIVE_MODIFY, EV, NONE, 0 }, /* SHLD by CL */
    [0xAB] = { OP_BTS, EV, GV, 0 },
    [0xAC] = { OP_NATIVE_MODIFY, EV, I8, 0 },   /* SHRD */
    [0xAD] = { OP_NATIVE_MODIFY, EV, NONE, 0 }, /* SHRD by CL */
    [0xAE] = { GROUP_15, EB, NONE, 0 },
    [0xAF] = { OP_NATIVE_READ, EV, NONE, 0 }, /* IMUL */
    [0xB0] = { OP_CMPXCHG, EB, GB, 0 },
    [0xB1] = { OP_CMPXCHG, EV, GV, 0 },
    [0xB3] = { OP_BTR, EV, GV, 0 },
    [0xB6] = { OP_MOVZX, GV, EB, 0 },
    [0xB7] = { OP_MOVZX, GV, EW, 0 },
    [0xBA] = { GROUP_8, EV, I8, 0 },
    [0xBB] = { OP_BTC, EV, GV, 0 },
    [0xBC] = { OP_NATIVE_READ, EV, NONE, NO_REP }, /* BSF */
    [0xBD] = { OP_NATIVE_READ, EV, NONE, NO_REP }, /* BSR */
    [0xBE] = { OP_MOVSX, GV, EB, 0 },
    [0xBF] = { OP_MOVSX, GV, EW, 0 },
    [0xC0] = { OP_XADD, EB, GB, 0 },
    [0xC1] = { OP_XADD, EV, GV, 0 },
    [0xC3] = { OP_MOV, EV, GV, NO_66 | NO_REP | NEVER_16 }, /* MOVNTI */
    [0xE7] = { OP_NATIVE_WRITE, EQ, NONE, NO_REP },         /* MOVNTQ, MOVNTDQ */
};

/* After 0F 38H. */
static const struct opcode three_byte[256] = {
    [0xF0] = { OP_MOVBE, GV, EV, NO_REP },
    [0xF1] = { OP_MOVBE, EV, GV, NO_REP },
};

const struct opcode *opcode_one_byte(uint8_t opcode)
{
    return &one_byte[opcode];
}

const struct opcode *opcode_two_byte(uint8_t opcode)
{
    return &two_byte[opcode];
}

const struct opcode *opcode_three_byte(uint8_t opcode)
{
    return &three_byte[opcode];
}

struct opcode opcode_of_group(struct opcode opcode, uint8_t modrm)
{
    if (opcode.operation < GROUP_FIRST) {
        return opcode;
    }
    const struct opcode *member = &groups[opcode.operation - GROUP_FIRST][(modrm >> 3) & 7];
    return (struct opcode){
        .operation = member->operation,
        .destination = member->destination ? member->destination : opcode.destination,
        .source = member->source ? member->source : opcode.source,
        .conditions = opcode.conditions | member->conditions,
    };
}
