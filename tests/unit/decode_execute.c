/* SPDX-License-Identifier: MIT */
/* links: vmx/decode.c vmx/opcodes.c vmx/execute.c vmx/alu.c */
/*
 * Execution of decoded instructions against the CPU itself: the same bytes run natively and through
 * decode and execute on copies of the same registers, flags and memory; all must come out equal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/decode.h"
#include "vmx/execute.h"

#define STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

enum { AX, CX, DX, BX, SP, BP, SI, DI };

enum { MEMORY_SIZE = 1024, CENTRE = MEMORY_SIZE / 2 };

struct registers {
    uint64_t gpr[8]; /* SP unused */
    uint64_t rflags;
};

static uint8_t *code;
static uint8_t memory[MEMORY_SIZE], native_memory[MEMORY_SIZE], emulated_memory[MEMORY_SIZE];

/* Load the registers, call code, store them. */
void run_native(struct registers *registers, const void *start);
__asm__(".text\n"
        "run_native:\n"
        "    pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n"
        "    movq %rdi, %r12\n movq %rsi, %r13\n"
        "    movq 0(%r12), %rax\n movq 8(%r12), %rcx\n movq 16(%r12), %rdx\n"
        "    movq 24(%r12), %rbx\n movq 40(%r12), %rbp\n movq 48(%r12), %rsi\n"
        "    movq 56(%r12), %rdi\n"
        "    pushq 64(%r12)\n popfq\n"
        "    call *%r13\n"
        "    pushfq\n popq 64(%r12)\n cld\n"
        "    movq %rax, 0(%r12)\n movq %rcx, 8(%r12)\n movq %rdx, 16(%r12)\n"
        "    movq %rbx, 24(%r12)\n movq %rbp, 40(%r12)\n movq %rsi, 48(%r12)\n"
        "    movq %rdi, 56(%r12)\n"
        "    popq %r13\n popq %r12\n popq %rbp\n popq %rbx\n"
        "    ret\n");

static int machine_read(void *context, unsigned segment, uint64_t offset, unsigned size,
                        bool for_write, uint64_t *value)
{
    (void)context;
    (void)segment;
    (void)for_write;
    *value = 0;
    memcpy(value, (const void *)offset, size);
    return 0;
}

static int machine_write(void *context, unsigned segment, uint64_t offset, unsigned size,
                         uint64_t value)
{
    (void)context;
    (void)segment;
    memcpy((void *)offset, &value, size);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return code == MAP_FAILED ? -1 : 0;
}

static uint64_t seed = 0x2545F4914F6CDD1DULL;

/* Random, with the values at which carries and signs change coming up often. */
static uint64_t next_random(void)
{
    static const uint64_t edges[] = { 0,          1,          0x7F,       0x80,
                                      0xFF,       0x7FFF,     0x8000,     0xFFFF,
                                      0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, INT64_MAX,
                                      BIT(63),    ~0ULL,      15,         16 };
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed >> 60 < 6 ? edges[seed >> 32 & 15] : seed * 0x9E3779B97F4A7C15ULL;
}

/* Flags that the SDM leaves undefined after the instruction, for a shift by count. */
static uint64_t undefined_flags(const struct instruction *instruction, unsigned count)
{
    unsigned bits = 8 * instruction->operand_size;
    count &= bits == 64 ? 63 : 31;
    switch (instruction->operation) {
    case OP_AND:
    case OP_OR:
    case OP_XOR:
    case OP_TEST:
        return RFLAGS_AF;
    case OP_BT:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
        return RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF;
    case OP_ROL:
    case OP_ROR:
    case OP_RCL:
    case OP_RCR:
        return count == 1 ? 0 : RFLAGS_OF;
    case OP_SHL:
    case OP_SHR:
    case OP_SAR:
        if (count == 0) {
            return 0;
        }
        return RFLAGS_AF | (count == 1 ? 0 : RFLAGS_OF) | (count >= bits ? RFLAGS_CF : 0);
    default:
        return 0;
    }
}

static unsigned shift_count(const struct instruction *instruction, const struct registers *before)
{
    return (unsigned)(instruction->source.kind == OPERAND_IMMEDIATE ? instruction->immediate
                                                                    : before->gpr[CX] & 0xFF);
}

static void emulate(const struct instruction *instruction, struct registers *registers,
                    unsigned length)
{
    uint64_t gpr[16] = { 0 };
    struct machine machine = {
        .gpr = gpr,
        .rflags = registers->rflags,
        .next_rip = (uintptr_t)code + length,
        .stack_size = 8,
        .read = machine_read,
        .write = machine_write,
    };
    memcpy(gpr, registers->gpr, sizeof(registers->gpr));
    while (execute(instruction, &machine) == EXECUTE_REPEAT) {
    }
    memcpy(registers->gpr, gpr, sizeof(registers->gpr));
    registers->rflags = machine.rflags;
}

static void differs(const struct instruction *instruction, const uint8_t *bytes, const char *what,
                    uint64_t native, uint64_t emulated)
{
    print_error("bytes");
    for (unsigned i = 0; i < instruction->length; i++) {
        print_error(" %02x", bytes[i]);
    }
    print_error(": %s: native %llx, emulated %llx\n", what, (unsigned long long)native,
                (unsigned long long)emulated);
    fail();
}

/* Run one instruction both ways from the same state. memory is at the same address both times. */
static void compare(const uint8_t *bytes, unsigned count, const struct registers *before)
{
    struct instruction instruction;
    struct registers native = *before, emulated = *before;
    int length = decode(bytes, count, DECODE_64, &instruction);

    assert_true(length > 0);
    memcpy(code, bytes, (unsigned)length);
    code[length] = 0xC3;
    memcpy(emulated_memory, memory, sizeof(memory));
    run_native(&native, code);
    memcpy(native_memory, memory, sizeof(memory));
    memcpy(memory, emulated_memory, sizeof(memory));
    emulate(&instruction, &emulated, (unsigned)length);
    uint64_t flags = STATUS & ~undefined_flags(&instruction, shift_count(&instruction, before));
    if ((native.rflags ^ emulated.rflags) & flags) {
        differs(&instruction, bytes, "flags", native.rflags & flags, emulated.rflags & flags);
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != SP && native.gpr[i] != emulated.gpr[i]) {
            differs(&instruction, bytes, "register", native.gpr[i], emulated.gpr[i]);
        }
    }
    if (memcmp(memory, native_memory, sizeof(memory)) != 0) {
        differs(&instruction, bytes, "memory", native_memory[CENTRE], memory[CENTRE]);
    }
}

static void randomize(struct registers *registers)
{
    for (unsigned i = 0; i < 8; i++) {
        registers->gpr[i] = next_random();
    }
    for (unsigned i = 0; i < MEMORY_SIZE; i += 8) {
        uint64_t value = next_random();
        memcpy(&memory[i], &value, 8);
    }
    registers->gpr[DI] = (uintptr_t)&memory[CENTRE];
    registers->gpr[SI] = (uintptr_t)&memory[CENTRE + 128];
    registers->rflags = RFLAGS_FIXED | (next_random() & STATUS);
}

/* How the reg field of ModRM is used. */
enum reg_use { REG_GPR, REG_GROUP };

struct form {
    uint8_t map; /* 0, 0x0F or 0x38 */
    uint8_t opcode;
    enum reg_use use;
    uint8_t reg;       /* REG_GROUP: /reg */
    uint8_t immediate; /* bytes; 9: of operand size, 4 at most */
};

enum { IMMEDIATE_OPERAND = 9 };

static unsigned put_form(uint8_t *bytes, const struct form *form, uint8_t prefix, uint8_t reg)
{
    unsigned n = 0;
    unsigned immediate = form->immediate;
    if (prefix) {
        bytes[n++] = prefix;
    }
    if (form->map) {
        bytes[n++] = 0x0F;
    }
    if (form->map == 0x38) {
        bytes[n++] = 0x38;
    }
    bytes[n++] = form->opcode;
    bytes[n++] = (uint8_t)(reg << 3 | 7); /* [RDI] */
    if (immediate == IMMEDIATE_OPERAND) {
        immediate = prefix == 0x66 ? 2 : 4;
    }
    for (unsigned i = 0; i < immediate; i++) {
        bytes[n++] = (uint8_t)next_random();
    }
    return n;
}

static bool is_bit_string(const struct form *form)
{
    return form->map == 0x0F && (form->opcode & 0xE7) == 0xA3;
}

/* BT with a register addresses memory far away: keep the offset within the buffer. */
static void tame_bit_offset(const struct form *form, struct registers *registers)
{
    for (unsigned i = 0; is_bit_string(form) && i < 4; i++) {
        registers->gpr[i] = (uint64_t)((int64_t)(next_random() % 4000) - 2000);
    }
}

/* CMPXCHG must find its comparand equal now and then. */
static void tame_comparand(const struct form *form, struct registers *registers)
{
    if (form->map == 0x0F && (form->opcode & 0xFE) == 0xB0 && (next_random() & 1)) {
        memcpy(&registers->gpr[AX], &memory[CENTRE], 8);
    }
}

static void run_form(const struct form *form, unsigned rounds)
{
    static const uint8_t prefixes[] = { 0, 0x66, 0x48, 0x40 };
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned p = 0; p < ARRAY_SIZE(prefixes); p++) {
            uint8_t bytes[15];
            struct registers registers;
            uint8_t reg = form->use == REG_GROUP ? form->reg : (uint8_t)(next_random() >> 9 & 7);
            struct instruction instruction;

            bool rex = (prefixes[p] & 0xF0) == 0x40;
            if (form->use == REG_GPR && (reg == SP || rex || is_bit_string(form))) {
                reg &= 3; /* not RSP nor SPL; one with a small bit offset */
            }
            unsigned count = put_form(bytes, form, prefixes[p], reg);
            if (decode(bytes, count, DECODE_64, &instruction) < 0) {
                assert_int_equal(prefixes[p], 0x66); /* MOVSXD, MOVNTI */
                continue;
            }
            randomize(&registers);
            tame_bit_offset(form, &registers);
            tame_comparand(form, &registers);
            compare(bytes, count, &registers);
        }
    }
}

static void alu_forms(void **state)
{
    (void)state;
    for (uint8_t base = 0; base < 0x40; base += 8) {
        for (uint8_t i = 0; i < 4; i++) {
            run_form(&(struct form){ 0, base + i, REG_GPR, 0, 0 }, 3000);
        }
    }
    for (uint8_t reg = 0; reg < 8; reg++) {
        run_form(&(struct form){ 0, 0x80, REG_GROUP, reg, 1 }, 2000);
        run_form(&(struct form){ 0, 0x81, REG_GROUP, reg, IMMEDIATE_OPERAND }, 2000);
        run_form(&(struct form){ 0, 0x83, REG_GROUP, reg, 1 }, 2000);
    }
}

static void shift_forms(void **state)
{
    (void)state;
    for (uint8_t reg = 0; reg < 8; reg++) {
        for (uint8_t i = 0; i < 2; i++) {
            run_form(&(struct form){ 0, 0xC0 + i, REG_GROUP, reg, 1 }, 5000);
            run_form(&(struct form){ 0, 0xD0 + i, REG_GROUP, reg, 0 }, 2000);
            run_form(&(struct form){ 0, 0xD2 + i, REG_GROUP, reg, 0 }, 5000);
        }
    }
}

static void bit_forms(void **state)
{
    (void)state;
    for (uint8_t opcode = 0xA3; opcode <= 0xBB; opcode += 8) {
        run_form(&(struct form){ 0x0F, opcode, REG_GPR, 0, 0 }, 4000);
    }
    for (uint8_t reg = 4; reg < 8; reg++) {
        run_form(&(struct form){ 0x0F, 0xBA, REG_GROUP, reg, 1 }, 4000);
    }
}

static void move_forms(void **state)
{
    static const struct form forms[] = {
        { 0, 0x63, REG_GPR, 0, 0 },    { 0, 0x88, REG_GPR, 0, 0 },    { 0, 0x89, REG_GPR, 0, 0 },
        { 0, 0x8A, REG_GPR, 0, 0 },    { 0, 0x8B, REG_GPR, 0, 0 },    { 0, 0xC6, REG_GROUP, 0, 1 },
        { 0, 0xC7, REG_GROUP, 0, 9 },  { 0x0F, 0xB6, REG_GPR, 0, 0 }, { 0x0F, 0xB7, REG_GPR, 0, 0 },
        { 0x0F, 0xBE, REG_GPR, 0, 0 }, { 0x0F, 0xBF, REG_GPR, 0, 0 }, { 0x0F, 0xC3, REG_GPR, 0, 0 },
        { 0x38, 0xF0, REG_GPR, 0, 0 }, { 0x38, 0xF1, REG_GPR, 0, 0 },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        run_form(&forms[i], 2000);
    }
    for (uint8_t condition = 0; condition < 16; condition++) {
        run_form(&(struct form){ 0x0F, 0x40 + condition, REG_GPR, 0, 0 }, 2000);
        run_form(&(struct form){ 0x0F, 0x90 + condition, REG_GROUP, 0, 0 }, 2000);
    }
}

static void other_forms(void **state)
{
    static const struct form forms[] = {
        { 0, 0x84, REG_GPR, 0, 0 },    { 0, 0x85, REG_GPR, 0, 0 },    { 0, 0x86, REG_GPR, 0, 0 },
        { 0, 0x87, REG_GPR, 0, 0 },    { 0, 0xF6, REG_GROUP, 0, 1 },  { 0, 0xF7, REG_GROUP, 0, 9 },
        { 0, 0xF6, REG_GROUP, 2, 0 },  { 0, 0xF7, REG_GROUP, 2, 0 },  { 0, 0xF6, REG_GROUP, 3, 0 },
        { 0, 0xF7, REG_GROUP, 3, 0 },  { 0, 0xFE, REG_GROUP, 0, 0 },  { 0, 0xFE, REG_GROUP, 1, 0 },
        { 0, 0xFF, REG_GROUP, 0, 0 },  { 0, 0xFF, REG_GROUP, 1, 0 },  { 0x0F, 0xB0, REG_GPR, 0, 0 },
        { 0x0F, 0xB1, REG_GPR, 0, 0 }, { 0x0F, 0xC0, REG_GPR, 0, 0 }, { 0x0F, 0xC1, REG_GPR, 0, 0 },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        run_form(&forms[i], 5000);
    }
}

/* String instructions with and without repeat, in both directions, on data that is often equal. */
static void string_forms(void **state)
{
    static const uint8_t opcodes[] = { 0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF };
    static const uint8_t repeats[] = { 0, 0xF2, 0xF3 };
    static const uint8_t sizes[] = { 0, 0x66, 0x48 };
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[4];
        unsigned n = 0;
        struct registers registers;

        randomize(&registers);
        memset(memory, 0, next_random() % 2 ? sizeof(memory) : CENTRE + 8);
        registers.gpr[CX] = next_random() % 12;
        registers.gpr[AX] = next_random() % 2 ? 0 : registers.gpr[AX];
        registers.rflags |= next_random() & RFLAGS_DF;
        if (repeats[i % 3]) {
            bytes[n++] = repeats[i % 3];
        }
        if (sizes[i / 3 % 3]) {
            bytes[n++] = sizes[i / 3 % 3];
        }
        bytes[n++] = opcodes[i / 9 % ARRAY_SIZE(opcodes)];
        compare(bytes, n, &registers);
    }
}

/* --- What cannot run natively here ---------------------------------------------------------------- */

/* One access that the machine saw. */
struct access {
    unsigned segment;
    uint64_t offset;
    unsigned size;
    bool write;
    uint64_t value;
};

struct recorder {
    struct access accesses[8];
    unsigned count;
    unsigned fail_at; /* the n-th access fails, counted from 1 */
    uint64_t answer;
};

static int record(struct recorder *recorder, struct access access)
{
    recorder->accesses[recorder->count++] = access;
    return recorder->count == recorder->fail_at ? ERR_GP : 0;
}

static int recorder_read(void *context, unsigned segment, uint64_t offset, unsigned size,
                         bool for_write, uint64_t *value)
{
    struct recorder *recorder = context;
    (void)for_write;
    *value = recorder->answer;
    return record(recorder, (struct access){ segment, offset, size, false, recorder->answer });
}

static int recorder_write(void *context, unsigned segment, uint64_t offset, unsigned size,
                          uint64_t value)
{
    return record(context, (struct access){ segment, offset, size, true, value });
}

static int run_recorded(const uint8_t *bytes, unsigned count, enum decode_mode mode, uint64_t *gpr,
                        struct recorder *recorder)
{
    struct instruction instruction;
    int length = decode(bytes, count, mode, &instruction);
    struct machine machine = {
        .gpr = gpr,
        .rflags = RFLAGS_FIXED,
        .next_rip = 0x1000 + (uint64_t)length,
        .stack_size = (unsigned)mode,
        .read = recorder_read,
        .write = recorder_write,
        .context = recorder,
    };
    assert_int_equal(length, count);
    return execute(&instruction, &machine);
}

static void expect(const struct recorder *recorder, unsigned i, unsigned segment, uint64_t offset,
                   unsigned size, bool write)
{
    assert_true(i < recorder->count);
    assert_int_equal(recorder->accesses[i].segment, segment);
    assert_int_equal(recorder->accesses[i].offset, offset);
    assert_int_equal(recorder->accesses[i].size, size);
    assert_int_equal(recorder->accesses[i].write, write);
}

static void addresses(void **state)
{
    uint64_t gpr[16] = { [BX] = 0xFFFFFFFF0000FFF0, [SI] = 0x20, [BP] = 0x100, [AX] = 7 };
    struct recorder recorder = { .count = 0 };
    (void)state;

    /* mov [bx+si+1], ax in 16-bit code: the sum wraps at 64 KiB */
    assert_int_equal(run_recorded((uint8_t[]){ 0x89, 0x40, 0x01 }, 3, DECODE_16, gpr, &recorder),
                     0);
    expect(&recorder, 0, SEGMENT_DS, 0x11, 2, true);
    /* mov [bp-2], eax in 32-bit code with 67H: stack segment */
    assert_int_equal(
        run_recorded((uint8_t[]){ 0x67, 0x89, 0x46, 0xFE }, 4, DECODE_32, gpr, &recorder), 0);
    expect(&recorder, 1, SEGMENT_SS, 0xFE, 4, true);
    /* mov [rip+0x10], eax */
    assert_int_equal(
        run_recorded((uint8_t[]){ 0x89, 0x05, 0x10, 0, 0, 0 }, 6, DECODE_64, gpr, &recorder), 0);
    expect(&recorder, 2, SEGMENT_DS, 0x1016, 4, true);
    /* mov gs:[ebx+esi*2-1], al in 64-bit code with 67H: 32-bit sum */
    assert_int_equal(run_recorded((uint8_t[]){ 0x65, 0x67, 0x88, 0x44, 0x73, 0xFF }, 6, DECODE_64,
                                  gpr, &recorder),
                     0);
    expect(&recorder, 3, SEGMENT_GS, 0x1002F, 1, true);
    /* mov eax, [moffs64] */
    assert_int_equal(run_recorded((uint8_t[]){ 0xA1, 0x30, 0, 0xE0, 0xFE, 0, 0, 0, 0x80 }, 9,
                                  DECODE_64, gpr, &recorder),
                     0);
    expect(&recorder, 4, SEGMENT_DS, 0x80000000FEE00030, 4, false);
}

static void stack(void **state)
{
    uint64_t gpr[16] = { [SP] = 0x1000, [AX] = 0x2000 };
    struct recorder recorder = { .answer = 0x1122334455667788 };
    (void)state;

    /* push qword [rsp]: the address uses the old pointer */
    assert_int_equal(run_recorded((uint8_t[]){ 0xFF, 0x34, 0x24 }, 3, DECODE_64, gpr, &recorder),
                     0);
    expect(&recorder, 0, SEGMENT_SS, 0x1000, 8, false);
    expect(&recorder, 1, SEGMENT_SS, 0xFF8, 8, true);
    assert_int_equal(gpr[SP], 0xFF8);
    /* pop qword [rsp+8]: the address uses the new pointer */
    assert_int_equal(
        run_recorded((uint8_t[]){ 0x8F, 0x44, 0x24, 0x08 }, 4, DECODE_64, gpr, &recorder), 0);
    expect(&recorder, 2, SEGMENT_SS, 0xFF8, 8, false);
    expect(&recorder, 3, SEGMENT_SS, 0x1008, 8, true);
    assert_int_equal(gpr[SP], 0x1000);
    /* push word [bx+si] in 16-bit code: SP wraps, the upper half stays */
    gpr[SP] = 0xAAAA0000;
    assert_int_equal(run_recorded((uint8_t[]){ 0xFF, 0x30 }, 2, DECODE_16, gpr, &recorder), 0);
    expect(&recorder, 5, SEGMENT_SS, 0xFFFE, 2, true);
    assert_int_equal(gpr[SP], 0xAAAAFFFE);
}

/* A failing access leaves registers and flags alone. */
static void faults_change_nothing(void **state)
{
    static const struct {
        uint8_t bytes[4];
        unsigned count, accesses;
    } cases[] = {
        { { 0x87, 0x07 }, 2, 2 },       /* xchg [rdi], eax */
        { { 0x0F, 0xC1, 0x07 }, 3, 2 }, /* xadd [rdi], eax */
        { { 0x0F, 0xB1, 0x0F }, 3, 2 }, /* cmpxchg [rdi], ecx */
        { { 0x01, 0x07 }, 2, 2 },       /* add [rdi], eax */
        { { 0x03, 0x07 }, 2, 1 },       /* add eax, [rdi] */
        { { 0xF3, 0xA5 }, 2, 2 },       /* rep movsd */
        { { 0xF3, 0xA7 }, 2, 2 },       /* repe cmpsd */
        { { 0xFF, 0x37 }, 2, 2 },       /* push qword [rdi] */
        { { 0x8F, 0x04, 0x24 }, 3, 2 }, /* pop qword [rsp] */
        { { 0x0F, 0xAB, 0x07 }, 3, 2 }, /* bts [rdi], eax */
        { { 0xC1, 0x27, 0x03 }, 3, 2 }, /* shl dword [rdi], 3 */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned fail_at = 1; fail_at <= cases[i].accesses; fail_at++) {
            uint64_t gpr[16] = { 5, 3, 9, 11, 0x1000, 13, 0x2000, 0x3000 }, before[16];
            struct recorder recorder = { .fail_at = fail_at, .answer = 0x77 };
            memcpy(before, gpr, sizeof(gpr));
            assert_int_equal(
                run_recorded(cases[i].bytes, cases[i].count, DECODE_64, gpr, &recorder), ERR_GP);
            assert_memory_equal(gpr, before, sizeof(gpr));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alu_forms),
        cmocka_unit_test(shift_forms),
        cmocka_unit_test(bit_forms),
        cmocka_unit_test(move_forms),
        cmocka_unit_test(other_forms),
        cmocka_unit_test(string_forms),
        cmocka_unit_test(addresses),
        cmocka_unit_test(stack),
        cmocka_unit_test(faults_change_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
