/* SPDX-License-Identifier: MIT */
/* links: vmx/decode.c vmx/opcodes.c */
/* libs: -lZydis */
/*
 * The instruction decoder against Zydis: whatever it claims, Zydis must see in the same way, and
 * whatever Zydis knows by a mnemonic that the decoder handles, with a memory operand, must be claimed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/decode.h"

struct mode {
    enum decode_mode mode;
    ZydisDecoder zydis;
};

static struct mode modes[3];

/* Bytes of a case and what both decoders said, for the message when they differ. */
struct comparison {
    const uint8_t *bytes;
    unsigned length;
    const struct mode *mode;
    struct instruction ours;
    ZydisDecodedInstruction theirs;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static int set_up(void **state)
{
    (void)state;
    static const struct {
        enum decode_mode mode;
        ZydisMachineMode machine;
        ZydisStackWidth stack;
    } init[] = {
        { DECODE_16, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16 },
        { DECODE_32, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32 },
        { DECODE_64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
    };
    for (unsigned i = 0; i < 3; i++) {
        modes[i].mode = init[i].mode;
        assert_true(
            ZYAN_SUCCESS(ZydisDecoderInit(&modes[i].zydis, init[i].machine, init[i].stack)));
    }
    return 0;
}

static void differs(const struct comparison *c, const char *what, uint64_t ours, uint64_t theirs)
{
    print_error("mode %d, bytes", 8 * (int)c->mode->mode);
    for (unsigned i = 0; i < c->length && i < 15; i++) {
        print_error(" %02x", c->bytes[i]);
    }
    print_error(" (%s): %s: %llx, Zydis %llx\n", ZydisMnemonicGetString(c->theirs.mnemonic), what,
                (unsigned long long)ours, (unsigned long long)theirs);
    fail();
}

static void same(const struct comparison *c, const char *what, uint64_t ours, uint64_t theirs)
{
    if (ours != theirs) {
        differs(c, what, ours, theirs);
    }
}

static const ZydisMnemonic condition_set[16] = {
    ZYDIS_MNEMONIC_SETO, ZYDIS_MNEMONIC_SETNO, ZYDIS_MNEMONIC_SETB,  ZYDIS_MNEMONIC_SETNB,
    ZYDIS_MNEMONIC_SETZ, ZYDIS_MNEMONIC_SETNZ, ZYDIS_MNEMONIC_SETBE, ZYDIS_MNEMONIC_SETNBE,
    ZYDIS_MNEMONIC_SETS, ZYDIS_MNEMONIC_SETNS, ZYDIS_MNEMONIC_SETP,  ZYDIS_MNEMONIC_SETNP,
    ZYDIS_MNEMONIC_SETL, ZYDIS_MNEMONIC_SETNL, ZYDIS_MNEMONIC_SETLE, ZYDIS_MNEMONIC_SETNLE,
};

static const ZydisMnemonic condition_move[16] = {
    ZYDIS_MNEMONIC_CMOVO, ZYDIS_MNEMONIC_CMOVNO, ZYDIS_MNEMONIC_CMOVB,  ZYDIS_MNEMONIC_CMOVNB,
    ZYDIS_MNEMONIC_CMOVZ, ZYDIS_MNEMONIC_CMOVNZ, ZYDIS_MNEMONIC_CMOVBE, ZYDIS_MNEMONIC_CMOVNBE,
    ZYDIS_MNEMONIC_CMOVS, ZYDIS_MNEMONIC_CMOVNS, ZYDIS_MNEMONIC_CMOVP,  ZYDIS_MNEMONIC_CMOVNP,
    ZYDIS_MNEMONIC_CMOVL, ZYDIS_MNEMONIC_CMOVNL, ZYDIS_MNEMONIC_CMOVLE, ZYDIS_MNEMONIC_CMOVNLE,
};

/* Mnemonics of an operation, by operand size 1, 2, 4, 8 where they differ. */
static const struct {
    uint8_t operation;
    ZydisMnemonic mnemonics[4];
} names[] = {
    { OP_ADD, { ZYDIS_MNEMONIC_ADD } },
    { OP_OR, { ZYDIS_MNEMONIC_OR } },
    { OP_ADC, { ZYDIS_MNEMONIC_ADC } },
    { OP_SBB, { ZYDIS_MNEMONIC_SBB } },
    { OP_AND, { ZYDIS_MNEMONIC_AND } },
    { OP_SUB, { ZYDIS_MNEMONIC_SUB } },
    { OP_XOR, { ZYDIS_MNEMONIC_XOR } },
    { OP_CMP, { ZYDIS_MNEMONIC_CMP } },
    { OP_ROL, { ZYDIS_MNEMONIC_ROL } },
    { OP_ROR, { ZYDIS_MNEMONIC_ROR } },
    { OP_RCL, { ZYDIS_MNEMONIC_RCL } },
    { OP_RCR, { ZYDIS_MNEMONIC_RCR } },
    { OP_SHL, { ZYDIS_MNEMONIC_SHL } },
    { OP_SHR, { ZYDIS_MNEMONIC_SHR } },
    { OP_SAR, { ZYDIS_MNEMONIC_SAR } },
    { OP_BT, { ZYDIS_MNEMONIC_BT } },
    { OP_BTS, { ZYDIS_MNEMONIC_BTS } },
    { OP_BTR, { ZYDIS_MNEMONIC_BTR } },
    { OP_BTC, { ZYDIS_MNEMONIC_BTC } },
    { OP_MOV, { ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_MOVNTI } },
    { OP_MOVZX, { ZYDIS_MNEMONIC_MOVZX } },
    { OP_MOVSX, { ZYDIS_MNEMONIC_MOVSX, ZYDIS_MNEMONIC_MOVSXD } },
    { OP_MOVBE, { ZYDIS_MNEMONIC_MOVBE } },
    { OP_TEST, { ZYDIS_MNEMONIC_TEST } },
    { OP_NOT, { ZYDIS_MNEMONIC_NOT } },
    { OP_NEG, { ZYDIS_MNEMONIC_NEG } },
    { OP_INC, { ZYDIS_MNEMONIC_INC } },
    { OP_DEC, { ZYDIS_MNEMONIC_DEC } },
    { OP_XCHG, { ZYDIS_MNEMONIC_XCHG } },
    { OP_XADD, { ZYDIS_MNEMONIC_XADD } },
    { OP_CMPXCHG, { ZYDIS_MNEMONIC_CMPXCHG } },
    { OP_PUSH, { ZYDIS_MNEMONIC_PUSH } },
    { OP_POP, { ZYDIS_MNEMONIC_POP } },
    { OP_MOVS,
      { ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW, ZYDIS_MNEMONIC_MOVSD, ZYDIS_MNEMONIC_MOVSQ } },
    { OP_CMPS,
      { ZYDIS_MNEMONIC_CMPSB, ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSD, ZYDIS_MNEMONIC_CMPSQ } },
    { OP_STOS,
      { ZYDIS_MNEMONIC_STOSB, ZYDIS_MNEMONIC_STOSW, ZYDIS_MNEMONIC_STOSD, ZYDIS_MNEMONIC_STOSQ } },
    { OP_LODS,
      { ZYDIS_MNEMONIC_LODSB, ZYDIS_MNEMONIC_LODSW, ZYDIS_MNEMONIC_LODSD, ZYDIS_MNEMONIC_LODSQ } },
    { OP_SCAS,
      { ZYDIS_MNEMONIC_SCASB, ZYDIS_MNEMONIC_SCASW, ZYDIS_MNEMONIC_SCASD, ZYDIS_MNEMONIC_SCASQ } },
    { OP_FLUSH, { ZYDIS_MNEMONIC_CLFLUSH, ZYDIS_MNEMONIC_CLFLUSHOPT, ZYDIS_MNEMONIC_CLWB } },
};

static bool is_string(uint8_t operation)
{
    return operation >= OP_MOVS && operation <= OP_SCAS;
}

static bool mnemonic_fits(const struct instruction *ours, ZydisMnemonic theirs)
{
    if (ours->operation == OP_SETCC) {
        return theirs == condition_set[ours->condition];
    }
    if (ours->operation == OP_CMOVCC) {
        return theirs == condition_move[ours->condition];
    }
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].operation != ours->operation) {
            continue;
        }
        if (is_string(ours->operation)) {
            return theirs == names[i].mnemonics[__builtin_ctz(ours->operand_size)];
        }
        for (unsigned n = 0; n < 4; n++) {
            if (theirs == names[i].mnemonics[n] && theirs != ZYDIS_MNEMONIC_INVALID) {
                return true;
            }
        }
    }
    return false;
}

static uint64_t mask_of(unsigned size)
{
    return ~0ULL >> (64 - 8 * size);
}

static ZydisRegister general(unsigned reg, unsigned size)
{
    static const ZydisRegister bytes[16] = {
        ZYDIS_REGISTER_AL,   ZYDIS_REGISTER_CL,   ZYDIS_REGISTER_DL,   ZYDIS_REGISTER_BL,
        ZYDIS_REGISTER_SPL,  ZYDIS_REGISTER_BPL,  ZYDIS_REGISTER_SIL,  ZYDIS_REGISTER_DIL,
        ZYDIS_REGISTER_R8B,  ZYDIS_REGISTER_R9B,  ZYDIS_REGISTER_R10B, ZYDIS_REGISTER_R11B,
        ZYDIS_REGISTER_R12B, ZYDIS_REGISTER_R13B, ZYDIS_REGISTER_R14B, ZYDIS_REGISTER_R15B,
    };
    switch (size) {
    case 1:
        return bytes[reg];
    case 2:
        return (ZydisRegister)(ZYDIS_REGISTER_AX + reg);
    case 4:
        return (ZydisRegister)(ZYDIS_REGISTER_EAX + reg);
    default:
        return (ZydisRegister)(ZYDIS_REGISTER_RAX + reg);
    }
}

static ZydisRegister optional_general(int reg, unsigned size)
{
    return reg == NO_REGISTER ? ZYDIS_REGISTER_NONE : general((unsigned)reg, size);
}

static void compare_memory(const struct comparison *c, const ZydisDecodedOperandMem *theirs)
{
    const struct memory_operand *ours = &c->ours.memory;
    unsigned size = c->ours.address_size;
    ZydisRegister base = optional_general(ours->base, size);

    if (ours->rip_relative) {
        base = size == 8 ? ZYDIS_REGISTER_RIP : ZYDIS_REGISTER_EIP;
    }
    same(c, "segment", ours->segment, (uint64_t)(theirs->segment - ZYDIS_REGISTER_ES));
    same(c, "base", base, theirs->base);
    same(c, "index", optional_general(ours->index, size), theirs->index);
    if (theirs->index != ZYDIS_REGISTER_NONE) {
        same(c, "scale", ours->scale, theirs->scale);
    }
    same(c, "displacement", (uint64_t)ours->displacement & mask_of(size),
         (uint64_t)theirs->disp.value & mask_of(size));
}

static void compare_operand(const struct comparison *c, const struct operand *ours,
                            const ZydisDecodedOperand *theirs)
{
    switch (ours->kind) {
    case OPERAND_MEMORY:
        same(c, "operand type", ZYDIS_OPERAND_TYPE_MEMORY, theirs->type);
        same(c, "memory size", 8U * ours->size, theirs->size);
        compare_memory(c, &theirs->mem);
        break;
    case OPERAND_GPR:
        same(c, "operand type", ZYDIS_OPERAND_TYPE_REGISTER, theirs->type);
        same(c, "register", general(ours->reg, ours->size), theirs->reg.value);
        break;
    case OPERAND_GPR_HIGH:
        same(c, "operand type", ZYDIS_OPERAND_TYPE_REGISTER, theirs->type);
        same(c, "register", (uint64_t)(ZYDIS_REGISTER_AH + ours->reg), theirs->reg.value);
        break;
    default:
        same(c, "operand type", ZYDIS_OPERAND_TYPE_IMMEDIATE, theirs->type);
        same(c, "immediate", c->ours.immediate & mask_of(ours->size),
             theirs->imm.value.u & mask_of(ours->size));
        break;
    }
}

/* The memory operand of a string instruction that has the base register we named. */
static void compare_string(const struct comparison *c)
{
    ZydisRegister base = general((unsigned)c->ours.memory.base, c->ours.address_size);
    for (unsigned i = 0; i < c->theirs.operand_count; i++) {
        const ZydisDecodedOperand *operand = &c->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == base) {
            same(c, "memory size", 8U * c->ours.operand_size, operand->size);
            compare_memory(c, &operand->mem);
            return;
        }
    }
    differs(c, "string operand", base, 0);
}

static unsigned rep_of(const ZydisDecodedInstruction *theirs)
{
    if (theirs->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) {
        return REPEAT_EQUAL;
    }
    return theirs->attributes & ZYDIS_ATTRIB_HAS_REPNE ? REPEAT_NOT_EQUAL : REPEAT_NONE;
}

static void compare_string_prefix(const struct comparison *c)
{
    bool compares = c->ours.operation == OP_CMPS || c->ours.operation == OP_SCAS;
    /* For MOVS, STOS and LODS hardware takes F2 as REP too; Zydis reports no attribute then. */
    if (compares || c->ours.repeat != REPEAT_NOT_EQUAL) {
        same(c, "repeat", c->ours.repeat, rep_of(&c->theirs));
    }
}

static bool is_native(uint8_t operation)
{
    return operation >= OP_NATIVE_READ && operation <= OP_NATIVE_MODIFY;
}

/* Of an instruction that the CPU has to execute we say its memory operand and how that is used. */
static void compare_native(const struct comparison *c)
{
    static const unsigned actions[] = { ZYDIS_OPERAND_ACTION_READ, ZYDIS_OPERAND_ACTION_WRITE,
                                        ZYDIS_OPERAND_ACTION_READWRITE };
    unsigned action = actions[c->ours.operation - OP_NATIVE_READ];
    bool has_modrm = (c->theirs.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    for (unsigned i = 0; i < c->theirs.operand_count; i++) {
        const ZydisDecodedOperand *theirs = &c->operands[i];
        bool visible = theirs->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN;
        if (theirs->type == ZYDIS_OPERAND_TYPE_MEMORY && visible == has_modrm) {
            same(c, "memory size", 8U * c->ours.destination.size, theirs->size);
            /* Conditional ones count. */
            unsigned done = theirs->actions | theirs->actions >> 2;
            same(c, "action", action, done & ZYDIS_OPERAND_ACTION_READWRITE);
            if (has_modrm) {
                compare_memory(c, &theirs->mem);
            }
            return;
        }
    }
    differs(c, "memory operand", 1, 0);
}

static void compare(struct comparison *c)
{
    same(c, "length", c->ours.length, c->theirs.length);
    if (is_native(c->ours.operation)) {
        compare_native(c);
        return;
    }
    if (!mnemonic_fits(&c->ours, c->theirs.mnemonic)) {
        differs(c, "operation", c->ours.operation, c->theirs.mnemonic);
    }
    same(c, "address size", 8U * c->ours.address_size, c->theirs.address_width);
    same(c, "lock", c->ours.lock, !!(c->theirs.attributes & ZYDIS_ATTRIB_HAS_LOCK));
    if (is_string(c->ours.operation)) {
        compare_string(c);
        compare_string_prefix(c);
        return;
    }
    if (c->ours.operation == OP_FLUSH) {
        compare_memory(c, &c->operands[0].mem);
        return;
    }
    compare_operand(c, &c->ours.destination, &c->operands[0]);
    if (c->ours.source.kind != OPERAND_NONE) {
        compare_operand(c, &c->ours.source, &c->operands[1]);
    }
}

/* Returns whether our decoder claims the bytes; when it does, Zydis must agree. */
static bool check(const struct mode *mode, const uint8_t *bytes, unsigned length)
{
    struct comparison c = { .bytes = bytes, .length = length, .mode = mode };
    struct instruction truncated;
    int result = decode(bytes, length, mode->mode, &c.ours);

    if (result < 0) {
        return false;
    }
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&mode->zydis, bytes, length, &c.theirs, c.operands))) {
        differs(&c, "claimed, but invalid", c.ours.operation, 0);
    }
    assert_int_equal(result, c.ours.length);
    compare(&c);
    same(&c, "truncated", (uint64_t)decode(bytes, (unsigned)result - 1, mode->mode, &truncated),
         (uint64_t)(int64_t)ERR_RANGE);
    return true;
}

static bool handled_mnemonic(ZydisMnemonic mnemonic)
{
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        for (unsigned n = 0; n < 4; n++) {
            if (mnemonic != ZYDIS_MNEMONIC_INVALID && names[i].mnemonics[n] == mnemonic) {
                return true;
            }
        }
    }
    for (unsigned i = 0; i < 16; i++) {
        if (condition_set[i] == mnemonic || condition_move[i] == mnemonic) {
            return true;
        }
    }
    return false;
}

/* Whether Zydis sees an instruction that the decoder must claim. */
static bool must_claim(const struct mode *mode, const uint8_t *bytes, unsigned length)
{
    ZydisDecodedInstruction theirs;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&mode->zydis, bytes, length, &theirs, operands)) ||
        !handled_mnemonic(theirs.mnemonic)) {
        return false;
    }
    for (unsigned i = 0; i < theirs.raw.prefix_count; i++) {
        if (theirs.mnemonic == ZYDIS_MNEMONIC_MOVSXD && theirs.raw.prefixes[i].value == 0x66) {
            return false; /* without REX.W the SDM has it read 2 bytes, Zydis 4 */
        }
    }
    for (unsigned i = 0; i < theirs.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(operand->reg.value) > ZYDIS_REGCLASS_GPR64) {
            return false; /* MOV to segment registers, MOVSD of SSE2, PUSH FS */
        }
    }
    for (unsigned i = 0; i < theirs.operand_count_visible; i++) {
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            return true;
        }
    }
    return false;
}

struct space {
    uint8_t bytes[20];
    unsigned prefix_length;
    unsigned sib; /* running, so that all SIB bytes come up */
    uint64_t claimed;
};

/* Opcode bytes have been placed; run through ModRM, and SIB bytes as many as asked for. */
static void sweep_modrm(const struct mode *mode, struct space *space, unsigned at, unsigned sibs,
                        bool complete)
{
    for (unsigned modrm = 0; modrm < 256; modrm++) {
        bool has_sib = (modrm & 7) == 4 && modrm < 0xC0;
        for (unsigned i = 0; i < (has_sib ? sibs : 1); i++) {
            space->bytes[at] = (uint8_t)modrm;
            space->bytes[at + 1] = (uint8_t)space->sib++;
            bool claimed = check(mode, space->bytes, 15);
            space->claimed += claimed;
            if (complete && !claimed && must_claim(mode, space->bytes, 15)) {
                struct comparison c = { space->bytes, 15, mode, .ours = { 0 } };
                ZydisDecoderDecodeFull(&mode->zydis, space->bytes, 15, &c.theirs, c.operands);
                differs(&c, "not claimed", 0, c.theirs.mnemonic);
            }
        }
    }
}

static void sweep_opcodes(const struct mode *mode, struct space *space, unsigned sibs,
                          bool complete)
{
    unsigned at = space->prefix_length;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        space->bytes[at] = (uint8_t)opcode;
        if (opcode != 0x0F) {
            sweep_modrm(mode, space, at + 1, sibs, complete);
        }
        space->bytes[at] = 0x0F;
        space->bytes[at + 1] = (uint8_t)opcode;
        if (opcode != 0x38) {
            sweep_modrm(mode, space, at + 2, sibs, complete);
        }
        space->bytes[at + 1] = 0x38;
        space->bytes[at + 2] = (uint8_t)opcode;
        sweep_modrm(mode, space, at + 3, sibs, complete);
    }
}

static void fill(struct space *space)
{
    for (unsigned i = 0; i < sizeof(space->bytes); i++) {
        space->bytes[i] = (uint8_t)(0x81 + 0x1D * i);
    }
}

/* Every opcode, ModRM and SIB byte, with no prefix, 66H and every REX. */
static void all_forms(void **state)
{
    (void)state;
    for (unsigned m = 0; m < 3; m++) {
        struct space space = { .claimed = 0 };
        fill(&space);
        sweep_opcodes(&modes[m], &space, 256, true);
        space.bytes[0] = 0x66;
        space.prefix_length = 1;
        sweep_opcodes(&modes[m], &space, 16, true);
        for (unsigned rex = 0x40; modes[m].mode == DECODE_64 && rex < 0x50; rex++) {
            space.bytes[0] = (uint8_t)rex;
            sweep_opcodes(&modes[m], &space, 16, true);
        }
        assert_true(space.claimed > 100000);
    }
}

/* Every pair of prefixes, REX among them in either place, before every opcode and ModRM. */
static void all_prefix_pairs(void **state)
{
    static const uint8_t prefixes[] = { 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66,
                                        0x67, 0xF0, 0xF2, 0xF3, 0x41, 0x48, 0x4F };
    (void)state;
    for (unsigned m = 0; m < 3; m++) {
        unsigned count = modes[m].mode == DECODE_64 ? ARRAY_SIZE(prefixes) : 11;
        struct space space = { .prefix_length = 2 };
        fill(&space);
        for (unsigned i = 0; i < count * count; i++) {
            space.bytes[0] = prefixes[i / count];
            space.bytes[1] = prefixes[i % count];
            sweep_opcodes(&modes[m], &space, 1, false);
        }
        assert_true(space.claimed > 100000);
    }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Random bytes in a buffer of exactly their size: the sanitizer sees a read beyond it. */
static void random_bytes(void **state)
{
    uint64_t seed = 0x9E3779B97F4A7C15ULL;
    (void)state;
    for (unsigned i = 0; i < 3000000; i++) {
        unsigned length = 1 + (unsigned)(next_random(&seed) % 15);
        uint8_t *bytes = malloc(length);
        assert_non_null(bytes);
        for (unsigned n = 0; n < length; n++) {
            bytes[n] = (uint8_t)(next_random(&seed) >> 24);
        }
        check(&modes[i % 3], bytes, length);
        free(bytes);
    }
}

/* An instruction of more than 15 bytes is undefined, however many there are. */
static void too_long(void **state)
{
    uint8_t bytes[32];
    struct instruction instruction;
    (void)state;
    memset(bytes, 0x66, sizeof(bytes));
    bytes[14] = 0x89;
    bytes[15] = 0x00;
    assert_int_equal(decode(bytes, sizeof(bytes), DECODE_64, &instruction), ERR_INVALID);
    bytes[13] = 0x89;
    bytes[14] = 0x00;
    assert_int_equal(decode(bytes, sizeof(bytes), DECODE_64, &instruction), 15);
    assert_int_equal(decode(bytes, 14, DECODE_64, &instruction), ERR_RANGE);
    assert_int_equal(decode(bytes, 0, DECODE_64, &instruction), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_forms),
        cmocka_unit_test(all_prefix_pairs),
        cmocka_unit_test(random_bytes),
        cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
