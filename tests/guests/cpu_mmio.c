/* SPDX-License-Identifier: MIT */
/*
 * Instruction forms that reach a device's registers in memory: the local APIC's (LDR, which holds its
 * bits 31:24, and the version) and the I/O APIC's. All are 32 bits wide, as the SDM (volume 3, "The
 * Local APIC Block Diagram") wants it.
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/guest.h"

enum { CF = 1, ZF = 0x40, SF = 0x80 };
#define ARITHMETIC_FLAGS 0x8D5ULL

static volatile uint32_t *const ldr = (volatile uint32_t *)(0xFEE00000 + APIC_LDR);
static volatile uint32_t *const version = (volatile uint32_t *)(0xFEE00000 + APIC_VERSION);

static bool ldr_is(uint32_t value)
{
    return *ldr == value;
}

static void test_mov(void)
{
    uint64_t value = 0xAAAAAAAAAAAAAAAA;
    *ldr = 0x12000000;
    __asm__ volatile("movl (%1), %k0" : "+r"(value) : "r"(ldr));
    report(value == 0x12000000, "MOV r32, m32 clears the upper half");
    __asm__ volatile("movl $0x34000000, (%0)" : : "r"(ldr) : "memory");
    report(ldr_is(0x34000000), "MOV m32, imm32");
    __asm__ volatile("movabsl 0xFEE000D0, %%eax" : "=a"(value));
    report((uint32_t)value == 0x34000000, "MOV EAX, moffs32");
    __asm__ volatile("movabsl %%eax, 0xFEE000D0" : : "a"(0x56000000) : "memory");
    report(ldr_is(0x56000000), "MOV moffs32, EAX");
    *ldr = 0x80000000;
    __asm__ volatile("movslq (%1), %0" : "=r"(value) : "r"(ldr));
    report(value == 0xFFFFFFFF80000000, "MOVSXD r64, m32");
}

static void test_registers(void)
{
    uint64_t value;
    bool loads = true;
    bool stores = true;
#define EACH_REGISTER(name, number)                                 \
    do {                                                            \
        __asm__ volatile("movl %[in], %%" name "d\n\t"              \
                         "movl %%" name "d, (%[ldr])\n\t"           \
                         "movl $0, %%" name "d\n\t"                 \
                         "movl (%[ldr]), %%" name "d\n\t"           \
                         "movq %%" name ", %[out]"                  \
                         : [out] "=a"(value)                        \
                         : [in] "i"((number) << 24), [ldr] "c"(ldr) \
                         : name, "memory");                         \
        loads = value == (number) << 24 && loads;                   \
        stores = ldr_is((number) << 24) && stores;                  \
    } while (0)
    EACH_REGISTER("r8", 0x48);
    EACH_REGISTER("r9", 0x49);
    EACH_REGISTER("r10", 0x4A);
    EACH_REGISTER("r11", 0x4B);
    EACH_REGISTER("r12", 0x4C);
    EACH_REGISTER("r13", 0x4D);
    EACH_REGISTER("r14", 0x4E);
    EACH_REGISTER("r15", 0x4F);
    report(loads && stores, "MOV with R8D to R15D");
    __asm__ volatile("movl $0x11000000, %%ebx; movl %%ebx, (%1)\n\t"
                     "movl $0, %%esi; movl (%1), %%esi\n\t"
                     "movl %%esi, %%edi; movl %%edi, (%1)\n\t"
                     "movl (%1), %%edx; movl %%edx, %%eax"
                     : "=a"(value)
                     : "c"(ldr)
                     : "rbx", "rsi", "rdi", "rdx", "memory");
    report(value == 0x11000000, "MOV with EBX, ESI, EDI and EDX");
}

static void test_addresses(void)
{
    uint64_t value;
    uint64_t index = APIC_LDR / 8;
    *ldr = 0x21000000;
    __asm__ volatile("movl 0xD0(%1), %k0" : "=r"(value) : "r"(0xFEE00000UL));
    report(value == 0x21000000, "base and displacement");
    __asm__ volatile("movl (%1,%2,8), %k0" : "=r"(value) : "r"(0xFEE00000UL), "r"(index));
    report(value == 0x21000000, "base, index and scale");
    __asm__ volatile("movl -0x70(%1,%2,8), %k0" : "=r"(value) : "r"(0xFEE00070UL), "r"(index));
    report(value == 0x21000000, "base, index, scale and negative displacement");
    __asm__ volatile("movq %1, %%r12; movl (%%r12), %k0" : "=r"(value) : "r"(ldr) : "r12");
    report(value == 0x21000000, "R12 as base");
    __asm__ volatile("movq %1, %%r13; movl (%%r13), %k0" : "=r"(value) : "r"(ldr) : "r13");
    report(value == 0x21000000, "R13 as base");
    __asm__ volatile("movl (%k1), %k0" : "=r"(value) : "r"(ldr));
    report(value == 0x21000000, "32-bit address size");
    uint64_t old = rdmsr(IA32_FS_BASE);
    wrmsr(IA32_FS_BASE, 0xFEE00000);
    __asm__ volatile("movl %%fs:0xD0, %k0" : "=r"(value));
    wrmsr(IA32_FS_BASE, old);
    report(value == 0x21000000, "FS with a base");
    __asm__ volatile("pushq %%rbp\n\t"
                     "movq %1, %%rbp\n\t"
                     "movl 0xD0(%%rbp), %k0\n\t"
                     "popq %%rbp"
                     : "=a"(value)
                     : "c"(0xFEE00000UL));
    report(value == 0x21000000, "RBP as base");
}

/* What an instruction that reads and writes leaves in LDR and in the flags. */
#define MODIFY(start, instruction, ...)                  \
    ({                                                   \
        uint64_t flags_;                                 \
        *ldr = (start);                                  \
        __asm__ volatile("clc\n\t" instruction "\n\t"    \
                         "pushfq\n\t"                    \
                         "popq %[flags]"                 \
                         : [flags] "=r"(flags_)          \
                         : [ldr] "r"(ldr), ##__VA_ARGS__ \
                         : "cc", "memory");              \
        flags_ &ARITHMETIC_FLAGS;                        \
    })

static void test_modify(void)
{
    uint64_t flags = MODIFY(0xF0000000, "orl $0x0F000000, (%[ldr])");
    report(ldr_is(0xFF000000) && (flags & SF) != 0, "OR m32, imm32");
    flags = MODIFY(0xF0000000, "andl %[v], (%[ldr])", [v] "r"(0x0FFFFFFF));
    report(ldr_is(0) && (flags & ZF) != 0, "AND m32, r32");
    MODIFY(0xF0000000, "xorl %[v], (%[ldr])", [v] "r"(0xFF000000));
    report(ldr_is(0x0F000000), "XOR m32, r32");
    flags = MODIFY(0xF0000000, "addl %[v], (%[ldr])", [v] "r"(0x20000000));
    report(ldr_is(0x10000000) && (flags & CF) != 0, "ADD m32, r32");
    flags = MODIFY(0x10000000, "subl %[v], (%[ldr])", [v] "r"(0x20000000));
    report(ldr_is(0xF0000000) && (flags & (CF | SF)) == (CF | SF), "SUB m32, r32");
    MODIFY(0x10000000, "adcl $0x01000000, (%[ldr])");
    report(ldr_is(0x11000000), "ADC m32, imm32");
    MODIFY(0x11000000, "notl (%[ldr])");
    report(ldr_is(0xEE000000), "NOT m32");
    MODIFY(0x01000000, "negl (%[ldr])");
    report(ldr_is(0xFF000000), "NEG m32");
    flags = MODIFY(0x01000000, "btsl $25, (%[ldr])");
    report(ldr_is(0x03000000) && (flags & CF) == 0, "BTS m32, imm8");
    flags = MODIFY(0x03000000, "lock btrl $24, (%[ldr])");
    report(ldr_is(0x02000000) && (flags & CF) != 0, "LOCK BTR m32, imm8");
    MODIFY(0x03000000, "btcl %[v], (%[ldr])", [v] "r"(31));
    report(ldr_is(0x83000000), "BTC m32, r32");
    flags = MODIFY(0x20000000, "incl (%[ldr])");
    report(ldr_is(0x20000000) && (flags & ZF) == 0, "INC m32, of bits that are not there");
}

static void test_look(void)
{
    uint64_t flags = MODIFY(0x80000000, "testl $0x80000000, (%[ldr])");
    report((flags & SF) != 0, "TEST m32, imm32");
    flags = MODIFY(0x80000000, "cmpl %[v], (%[ldr])", [v] "r"(0x80000000));
    report((flags & ZF) != 0, "CMP m32, r32");
    flags = MODIFY(0x10000000, "cmpl (%[ldr]), %[v]", [v] "r"(0x08000000));
    report((flags & CF) != 0, "CMP r32, m32");
    flags = MODIFY(0x10000000, "cmpl $0x7F, (%[ldr])");
    report((flags & (CF | ZF)) == 0, "CMP m32, imm8");
    flags = MODIFY(0x10000000, "btl $28, (%[ldr])");
    report((flags & CF) != 0, "BT m32, imm8");
    uint32_t value = 0x0F000000;
    *ldr = 0x10000000;
    __asm__ volatile("addl (%1), %0" : "+r"(value) : "r"(ldr) : "cc");
    report(value == 0x1F000000, "ADD r32, m32");
    __asm__ volatile("andl (%1), %0" : "+r"(value) : "r"(ldr) : "cc");
    report(value == 0x10000000, "AND r32, m32");
}

static void test_exchange(void)
{
    uint32_t value = 0x55000000;
    *ldr = 0x10000000;
    __asm__ volatile("xchgl %0, (%1)" : "+r"(value) : "r"(ldr) : "memory");
    report(value == 0x10000000 && ldr_is(0x55000000), "XCHG");
    uint32_t expected = 0x55000000;
    bool equal;
    __asm__ volatile("lock cmpxchgl %[new], (%[ldr])"
                     : "+a"(expected), "=@ccz"(equal)
                     : [new] "r"(0x66000000), [ldr] "r"(ldr)
                     : "memory");
    report(equal && ldr_is(0x66000000), "CMPXCHG that is equal");
    __asm__ volatile("lock cmpxchgl %[new], (%[ldr])"
                     : "+a"(expected), "=@ccz"(equal)
                     : [new] "r"(0x77000000), [ldr] "r"(ldr)
                     : "memory");
    report(!equal && expected == 0x66000000 && ldr_is(0x66000000), "CMPXCHG that is not");
    value = 0x11000000;
    __asm__ volatile("lock xaddl %0, (%1)" : "+r"(value) : "r"(ldr) : "memory", "cc");
    report(value == 0x66000000 && ldr_is(0x77000000), "XADD");
}

static void test_string(void)
{
    static uint32_t memory[4];
    const volatile void *from = ldr;
    volatile void *to = memory;
    *ldr = 0x31000000;
    __asm__ volatile("movsl" : "+S"(from), "+D"(to) : : "memory");
    report(memory[0] == 0x31000000 && from == ldr + 1 && to == memory + 1, "MOVS from the device");
    memory[1] = 0x32000000;
    from = memory + 1;
    to = ldr;
    __asm__ volatile("std; movsl; cld" : "+S"(from), "+D"(to) : : "memory");
    report(ldr_is(0x32000000) && from == memory && to == ldr - 1, "MOVS to it, downwards");
    to = ldr;
    __asm__ volatile("stosl" : "+D"(to) : "a"(0x33000000) : "memory");
    report(ldr_is(0x33000000) && to == ldr + 1, "STOS");
    uint32_t value;
    from = ldr;
    __asm__ volatile("lodsl" : "=a"(value), "+S"(from));
    report(value == 0x33000000 && from == ldr + 1, "LODS");
}

static void test_read_only(void)
{
    uint32_t before = *version;
    *version = ~before;
    report(*version == before, "a write of a read-only register");
    bool same = true;
    for (unsigned i = 0; i < 100; i++) {
        same = *version == before && same;
    }
    report(same, "a hundred reads");
}

static void test_ioapic(void)
{
    static volatile uint32_t *const ioapic = (volatile uint32_t *)0xFEC00000;
    uint32_t value;
    __asm__ volatile("movl $1, (%1)\n\t"
                     "movl 0x10(%1), %0"
                     : "=r"(value)
                     : "r"(ioapic)
                     : "memory");
    report((value & 0xFF) >= 0x11, "I/O APIC: select and window");
    ioapic_write_entry(20, RTE_MASKED | 0x40);
    ioapic[0] = 0x10 + 2 * 20;
    __asm__ volatile("orl $3, (%0)" : : "r"(ioapic + 4) : "memory", "cc");
    report(ioapic_read_entry(20) == (RTE_MASKED | 0x43), "I/O APIC: OR to the window");
    ioapic_write_entry(20, RTE_MASKED);
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "mov", test_mov },       { "registers", test_registers }, { "addresses", test_addresses },
        { "modify", test_modify }, { "look", test_look },           { "exchange", test_exchange },
        { "string", test_string }, { "read-only", test_read_only }, { "ioapic", test_ioapic },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
