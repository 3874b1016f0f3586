/* SPDX-License-Identifier: MIT */
/* The opcodes that the instruction decoder claims (SDM volume 2, appendix "Opcode Map"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* How an opcode names an operand, in the letters of the SDM's opcode maps. */
enum spec {
    NONE,
    EB,
    EW,
    ED,
    EV, /* memory by ModRM: byte, word, doubleword, operand size */
    EY, /* ... 8 bytes with REX.W, else 4 */
    EP, /* ... a far pointer */
    EQ, /* ... 8 bytes without 66H and F3H, else 16 */
    EX, /* ... 16 bytes */
    ES, /* ... 4 bytes with F3H, 8 with F2H, else 16 */
    GB,
    GV, /* register by ModRM.reg: byte, operand size */
    AB,
    AV, /* AL; rAX */
    OB,
    OV, /* memory by an offset in the instruction */
    XB,
    XV,
    YB,
    YV, /* memory at seg:rSI; at ES:rDI */
    IS, /* immediate of the destination's size, 4 bytes at most */
    IB, /* immediate byte, sign extended */
    I8, /* immediate byte that stays one: a count, a bit offset */
    I1, /* the number 1 */
    CL,
    PUSHED, /* memory below the stack pointer */
    POPPED, /* memory at the stack pointer */
    FRAME,  /* memory at rBP */
    IE,     /* the three bytes of ENTER */
};

/* Conditions on mode and prefixes; the opcode is something else, or undefined, without them. */
enum opcode_condition {
    ONLY_64 = 1,    /* in 64-bit mode only */
    NOT_64 = 2,     /* not in 64-bit mode */
    DEFAULT_64 = 4, /* 64-bit mode: operand size is 8, or 2 with 66H */
    NO_66 = 8,      /* not with 66H */
    NO_REP = 16,    /* not with F2H or F3H */
    ONLY_66 = 32,   /* with 66H, which does not select the operand size */
    NEVER_16 = 64,  /* operand size is 4 or 8 */
    NO_F2 = 128,
};

struct opcode {
    uint8_t operation; /* enum operation; OP_NONE: not claimed; or a group, from GROUP_FIRST on */
    uint8_t destination, source;
    uint8_t conditions;
};

enum { GROUP_FIRST = 0x80 };

/* The rows of opcode byte opcode: alone, after 0FH, after 0F 38H. Pure; any context. */
const struct opcode *opcode_one_byte(uint8_t opcode);
const struct opcode *opcode_two_byte(uint8_t opcode);
const struct opcode *opcode_three_byte(uint8_t opcode);

/* A group: replaced by its member that ModRM.reg names; other rows as they are. Pure; any context. */
struct opcode opcode_of_group(struct opcode opcode, uint8_t modrm);
