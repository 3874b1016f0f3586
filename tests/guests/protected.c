/* SPDX-License-Identifier: MIT */
/*
 * What is different in a protected VM (docs/guests.md), and that a reset finds nothing of what was
 * before: it restarts itself once. Two CPUs.
 * guest: elsewhere (tests/system/protected.py)
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF };
enum { RESET_CONTROL = 0xCF9, RESET_CPU = 6 };
enum { CMOS_INDEX = 0x70, CMOS_DATA = 0x71, CMOS_FREE_BYTE = 0x50, BEEN_HERE = 0xA5 };
enum { MSR_PV_EOI = 0x4B564D04, CPUID_KVM_FEATURES = 0x40000001, KVM_FEATURE_PV_EOI = 1 << 6 };
enum { LVT_EXTINT = 0x700 };

static void report_base(const char *cpu)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    report((base & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD),
           "%s: born in x2APIC mode", cpu);
    report(guest_try_wrmsr(IA32_APIC_BASE, base), "%s: the same value can be written", cpu);
    bool refused = true;
    for (unsigned bit = 0; bit < 64; bit++) {
        refused = !guest_try_wrmsr(IA32_APIC_BASE, base ^ BIT(bit)) && refused;
    }
    refused = !guest_try_wrmsr(IA32_APIC_BASE, base & ~(APIC_BASE_EN | APIC_BASE_EXTD)) && refused;
    report(refused && rdmsr(IA32_APIC_BASE) == base, "%s: every other one is #GP", cpu);
}

static void report_other_base(void *unused)
{
    (void)unused;
    report_base("another CPU");
}

static void test_pv_eoi(void)
{
    static volatile uint32_t word __attribute__((aligned(4)));
    report((cpuid_read(CPUID_KVM_FEATURES, 0).eax & KVM_FEATURE_PV_EOI) == 0,
           "CPUID does not offer PV EOI");
    report(!guest_try_wrmsr(MSR_PV_EOI, (uintptr_t)&word | 1), "its MSR is #GP");
}

/* Nobody raises ExtINT here: what counts is that the local APIC goes on. */
static void test_extint(void)
{
    arrivals_clear();
    apic_write(APIC_LVT_LINT0, LVT_EXTINT);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR), "with LVT LINT0 in ExtINT mode interrupts arrive");
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
}

static bool vectors_are_empty(void)
{
    uint32_t any = 0;
    for (unsigned reg = APIC_ISR; reg <= APIC_IRR + 0x70; reg += 0x10) {
        any |= apic_read(reg);
    }
    return any == 0;
}

static void leave_traces(void *unused)
{
    (void)unused;
    apic_enable(VECTOR_SPURIOUS);
    apic_self_ipi(VECTOR);
    guest_take_interrupts(); /* no EOI */
    apic_self_ipi(VECTOR);
    apic_write(APIC_TPR, 0x60);
}

static void report_clean(void *unused)
{
    (void)unused;
    report(apic_read(APIC_TPR) == 0 && apic_read(APIC_PPR) == 0 && vectors_are_empty(),
           "after a reset nothing is left of the priorities and vectors");
    arrivals_clear();
    apic_enable(VECTOR_SPURIOUS);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR), "and interrupts arrive");
}

static uint8_t cmos(void)
{
    outb(CMOS_INDEX, CMOS_FREE_BYTE);
    return inb(CMOS_DATA);
}

static void set_cmos(uint8_t value)
{
    outb(CMOS_INDEX, CMOS_FREE_BYTE);
    outb(CMOS_DATA, value);
}

static void first_time(void)
{
    report_base("boot CPU");
    cpu_run(1, report_other_base, NULL);
    apic_enable(VECTOR_SPURIOUS);
    test_pv_eoi();
    test_extint();
    arrivals_record_in_service(VECTOR);
    leave_traces(NULL);
    cpu_run(1, leave_traces, NULL);
    set_cmos(BEEN_HERE);
    guest_print("reset\n");
    outb(RESET_CONTROL, RESET_CPU);
    guest_fail("the reset has not happened");
}

void guest_main(void)
{
    arrivals_record(VECTOR);
    bool again = cmos() == BEEN_HERE;
    if (again) {
        report_clean(NULL);
    } else {
        apic_enable(VECTOR_SPURIOUS);
    }
    if (cpu_start_all() < 2) {
        guest_fail("needs two CPUs");
    }
    if (!again) {
        first_time();
    }
    set_cmos(0);
    cpu_run(1, report_clean, NULL);
}
