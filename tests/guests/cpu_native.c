/* SPDX-License-Identifier: MIT */
/*
 * Instructions on device registers that a hypervisor will hardly carry out itself: products, divisions,
 * bit scans, double shifts, SSE; with a fault, single-step and interrupts around them. The registers
 * are the local APIC's LDR and half of an I/O APIC entry, which both hold bits 31:24.
 */
#include "arch/x86.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum { PIN = 20, VECTOR_TICK = 0x50 };
enum { TICKS = 3000, ROUNDS = 3000 };

static volatile uint32_t *const ldr = (volatile uint32_t *)(0xFEE00000 + APIC_LDR);
static volatile uint32_t *const ioapic = (volatile uint32_t *)0xFEC00000;

static volatile uint32_t *at; /* the register under test */

static uint32_t product(uint32_t factor)
{
    __asm__ volatile("imull (%1), %0" : "+r"(factor) : "r"(at) : "cc");
    return factor;
}

static void test_products(void)
{
    uint32_t low, high;
    *at = 0x03000000;
    report(product(5) == 0x0F000000, "IMUL r32, m32");
    __asm__ volatile("imull $7, (%1), %0" : "=r"(low) : "r"(at) : "cc");
    report(low == 0x15000000, "IMUL r32, m32, imm8");
    __asm__ volatile("imull $0x101, (%1), %0" : "=r"(low) : "r"(at) : "cc");
    report(low == 0x03000000, "IMUL r32, m32, imm32");
    __asm__ volatile("mull (%2)" : "=a"(low), "=d"(high) : "r"(at), "0"(0x10000) : "cc");
    report(low == 0 && high == 0x300, "MUL m32");
    *at = 0xFF000000;
    __asm__ volatile("imull (%2)" : "=a"(low), "=d"(high) : "r"(at), "0"(2) : "cc");
    report(low == 0xFE000000 && high == ~0U, "IMUL m32");
}

static void test_quotients(void)
{
    uint32_t quotient, rest;
    *at = 0x10000000;
    __asm__ volatile("divl (%2)"
                     : "=a"(quotient), "=d"(rest)
                     : "r"(at), "0"(0x34567890), "1"(0)
                     : "cc");
    report(quotient == 3 && rest == 0x04567890, "DIV m32");
    *at = 0;
    report(FAULT_OF("divl (%0)",
                    :
                    : "r"(at), "a"(1), "d"(0)
                    : "cc") == EXCEPTION_DE,
           "DIV m32 by zero");
    report(FAULT_OF("idivl (%0)",
                    :
                    : "r"(at), "a"(1), "d"(0)
                    : "cc") == EXCEPTION_DE,
           "IDIV m32 by zero");
    *at = 0x01000000;
    report(product(9) == 0x09000000, "the next instruction after a fault");
}

static void test_scans(void)
{
    uint32_t value = 0;
    bool zero;
    *at = 0x24000000;
    __asm__ volatile("bsfl (%1), %0" : "=r"(value) : "r"(at) : "cc");
    report(value == 26, "BSF");
    __asm__ volatile("bsrl (%1), %0" : "=r"(value) : "r"(at) : "cc");
    report(value == 29, "BSR");
    *at = 0;
    __asm__ volatile("bsfl (%2), %0" : "+r"(value), "=@ccz"(zero) : "r"(at));
    report(zero, "BSF of zero");
}

static void test_double_shifts(void)
{
    *at = 0x12000000;
    __asm__ volatile("shldl $4, %1, (%0)" : : "r"(at), "r"(0x0F000000) : "cc", "memory");
    report(*at == 0x20000000, "SHLD m32, r32, imm8");
    *at = 0;
    __asm__ volatile("shrdl %%cl, %1, (%0)" : : "r"(at), "r"(0xA5), "c"(8) : "cc", "memory");
    report(*at == 0xA5000000, "SHRD m32, r32, CL");
}

static void test_sse(void)
{
    uint32_t value;
    *at = 0x77000000;
    __asm__ volatile("movd (%1), %%xmm3; movd %%xmm3, %0" : "=r"(value) : "r"(at));
    report(value == 0x77000000, "MOVD xmm, m32");
    __asm__ volatile("movd %1, %%xmm3; movd %%xmm3, (%0)" : : "r"(at), "r"(0x55000000) : "memory");
    report(*at == 0x55000000, "MOVD m32, xmm");
    __asm__ volatile("movss (%1), %%xmm9; movd %%xmm9, %0" : "=r"(value) : "r"(at));
    report(value == 0x55000000, "MOVSS xmm, m32");
    __asm__ volatile("movd %1, %%xmm9; movss %%xmm9, (%0)" : : "r"(at), "r"(0x44000000) : "memory");
    report(*at == 0x44000000, "MOVSS m32, xmm");
}

/* --- Around them --------------------------------------------------------------------------------- */

static volatile unsigned traps, ticks;
static uint64_t trap_rip, trap_dr6;

static void handle_debug(struct interrupt_frame *frame)
{
    traps++;
    trap_rip = frame->rip;
    trap_dr6 = read_dr6();
    write_dr6(DR6_RESET);
    frame->rflags &= ~RFLAGS_TF;
}

static void test_single_step(void)
{
    uint64_t after;
    uint32_t value = 3;
    traps = 0;
    *at = 0x05000000;
    write_dr6(DR6_RESET);
    interrupt_set_handler(EXCEPTION_DB, handle_debug);
    __asm__ volatile("pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "imull (%[at]), %[value]\n"
                     "1: nop\n\t"
                     "movq $1b, %[after]"
                     : [value] "+&r"(value), [after] "=&r"(after)
                     : [at] "r"(at)
                     : "cc");
    interrupt_set_handler(EXCEPTION_DB, NULL);
    report(value == 0x0F000000, "single-step: the instruction is executed");
    report(traps == 1 && trap_rip == after, "single-step: one trap, behind it");
    report((trap_dr6 & 0x600F) == 0x4000, "single-step: DR6.BS");
}

static void handle_tick(struct interrupt_frame *frame)
{
    (void)frame;
    ticks++;
    apic_eoi();
}

/* Interrupts come at any place of the loop, and none before an instruction is lost or done twice. */
static void test_interrupts(void)
{
    uint32_t wrong = 0;
    uint32_t sum = 0;
    ticks = 0;
    interrupt_set_handler(VECTOR_TICK, handle_tick);
    apic_write(APIC_DIVIDE, 0xB);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR_TICK);
    apic_write(APIC_INITIAL_COUNT, TICKS);
    __asm__ volatile("sti");
    for (uint32_t i = 0; i < ROUNDS; i++) {
        *at = (i & 0xFF) << 24;
        wrong += product(1) != (i & 0xFF) << 24;
        __asm__ volatile("shldl $0, %1, (%0)" : : "r"(at), "r"(0) : "cc", "memory");
        sum += *at >> 24;
    }
    __asm__ volatile("cli");
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    report(ticks > 0, "interrupts: they come");
    report(wrong == 0 && sum == 11 * (255 * 128) + 183 * 184 / 2, "interrupts: nothing is lost");
}

static void test_register(void)
{
    test_products();
    test_quotients();
    test_scans();
    test_double_shifts();
    test_sse();
    test_single_step();
    test_interrupts();
}

static void test_local_apic(void)
{
    at = ldr;
    test_register();
}

static void test_ioapic(void)
{
    ioapic_write_entry(PIN, RTE_MASKED | 0x40);
    ioapic[0] = 0x10 + 2 * PIN + 1;
    at = ioapic + 4;
    test_register();
    *at = 0;
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "local-apic", test_local_apic },
        { "ioapic", test_ioapic },
    };
    apic_enable(0xFF);
    write_cr0(read_cr0() & ~(uint64_t)(CR0_EM | CR0_TS));
    write_cr4(read_cr4() | CR4_OSFXSR);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
