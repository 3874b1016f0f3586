/* SPDX-License-Identifier: MIT */
/*
 * What belongs to one CPU stays with it: floating point and vector registers, debug registers, MSRs,
 * CR2, TPR, timer. Several CPUs hold different values and look after them while all of them wait for
 * interrupts; on a machine with fewer CPUs than the guest has, they take turns.
 *
 * guest: cpus=4
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, ROUNDS = 200, TICK = 50000 };

static volatile bool vectors_kept[GUEST_MAX_CPUS], msrs_kept[GUEST_MAX_CPUS];
static volatile bool others_kept[GUEST_MAX_CPUS];
static bool avx;

static const uint32_t msrs[] = {
    IA32_STAR,    IA32_LSTAR,        IA32_CSTAR,        IA32_KERNEL_GS_BASE, IA32_FS_BASE,
    IA32_GS_BASE, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, IA32_SYSENTER_CS,
};

/* Different for each CPU and index, canonical, and fits the SYSENTER_CS register. */
static uint64_t value_of(unsigned cpu, unsigned index)
{
    return 0x1000 + cpu * 0x100 + index;
}

static void enable_vectors(void)
{
    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP);
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    if (avx) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        xsetbv(0, XCR0_X87 | XCR0_SSE | XCR0_AVX);
    }
}

/* XMM0 and XMM15, the upper halves of their YMM, MXCSR, the top of the x87 stack. */
static void load_vectors(unsigned cpu)
{
    static const uint32_t rounding[4] = { 0x1F80, 0x3F80, 0x5F80, 0x7F80 };
    uint64_t pattern[4];
    uint64_t integer = cpu + 100;
    for (unsigned i = 0; i < 4; i++) {
        pattern[i] = value_of(cpu, i) << 32 | (cpu + i);
    }
    __asm__ volatile("ldmxcsr %0" : : "m"(rounding[cpu % 4]));
    __asm__ volatile("fninit; fildll %0" : : "m"(integer));
    if (avx) {
        __asm__ volatile("vmovdqu %0, %%ymm0; vmovdqu %0, %%ymm15" : : "m"(pattern));
    } else {
        __asm__ volatile("movdqu %0, %%xmm0; movdqu %0, %%xmm15" : : "m"(pattern));
    }
}

static bool vectors_are(unsigned cpu)
{
    uint64_t first[4] = { 0 }, last[4] = { 0 };
    uint32_t mxcsr;
    uint64_t integer = 0;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("fld %%st(0); fistpll %0" : "=m"(integer));
    if (avx) {
        __asm__ volatile("vmovdqu %%ymm0, %0; vmovdqu %%ymm15, %1" : "=m"(first), "=m"(last));
    } else {
        __asm__ volatile("movdqu %%xmm0, %0; movdqu %%xmm15, %1" : "=m"(first), "=m"(last));
    }
    bool same = mxcsr == 0x1F80 + (cpu % 4) * 0x2000 && integer == cpu + 100;
    for (unsigned i = 0; i < (avx ? 4 : 2); i++) {
        uint64_t expected = value_of(cpu, i) << 32 | (cpu + i);
        same = first[i] == expected && last[i] == expected && same;
    }
    return same;
}

static void load_msrs(unsigned cpu)
{
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        wrmsr(msrs[i], value_of(cpu, i));
    }
    wrmsr(IA32_PAT, cpu % 2 == 0 ? PAT_RESET : 0x0007010600070106);
    wrmsr(IA32_TSC_AUX, cpu + 7);
}

static bool msrs_are(unsigned cpu)
{
    bool same = rdmsr(IA32_TSC_AUX) == cpu + 7 &&
                rdmsr(IA32_PAT) == (cpu % 2 == 0 ? PAT_RESET : 0x0007010600070106);
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        same = rdmsr(msrs[i]) == value_of(cpu, i) && same;
    }
    return same;
}

static void load_others(unsigned cpu)
{
    write_cr2(value_of(cpu, 20));
    write_dr0(value_of(cpu, 21));
    write_dr3(value_of(cpu, 22));
    write_dr6(DR6_RESET | BIT(cpu % 4));
    write_dr7(DR7_RESET | BIT(16 + cpu % 2));
    apic_write(APIC_TPR, cpu);
    apic_write(APIC_LVT_LINT1, LVT_MASKED | (0x60 + cpu));
}

static bool others_are(unsigned cpu)
{
    return read_cr2() == value_of(cpu, 20) && read_dr0() == value_of(cpu, 21) &&
           read_dr3() == value_of(cpu, 22) && read_dr6() == (DR6_RESET | BIT(cpu % 4)) &&
           read_dr7() == (DR7_RESET | BIT(16 + cpu % 2)) && apic_read(APIC_TPR) == cpu &&
           apic_read(APIC_LVT_LINT1) == LVT_MASKED + 0x60 + cpu && apic_id() == cpu_apic_id(cpu);
}

/* Every CPU. */
static void hold(void *unused)
{
    (void)unused;
    unsigned cpu = cpu_number();
    apic_enable(VECTOR_SPURIOUS);
    enable_vectors();
    load_vectors(cpu);
    load_msrs(cpu);
    load_others(cpu);
    vectors_kept[cpu] = msrs_kept[cpu] = others_kept[cpu] = true;
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL_COUNT, TICK + cpu * 1000);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        while (arrivals_on(cpu, VECTOR) < round) {
            if (round % 2 == 0) {
                __asm__ volatile("sti; hlt; cli" : : : "memory");
            } else {
                guest_take_interrupts();
            }
        }
        vectors_kept[cpu] = vectors_are(cpu) && vectors_kept[cpu];
        msrs_kept[cpu] = msrs_are(cpu) && msrs_kept[cpu];
        others_kept[cpu] = others_are(cpu) && others_kept[cpu];
    }
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_INITIAL_COUNT, 0);
    write_dr7(DR7_RESET);
}

void guest_main(void)
{
    avx = (cpuid_read(1, 0).ecx & CPUID_1_ECX_AVX) != 0;
    apic_enable(VECTOR_SPURIOUS);
    unsigned cpus = cpu_start_all();
    arrivals_record(VECTOR);
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        cpu_run_async(cpu, hold, NULL);
    }
    hold(NULL);
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        cpu_wait(cpu);
    }
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        report(vectors_kept[cpu], "CPU %u keeps its floating point and vector registers", cpu);
        report(msrs_kept[cpu], "CPU %u keeps its MSRs", cpu);
        report(others_kept[cpu], "CPU %u keeps CR2, debug registers and its local APIC", cpu);
        report(arrivals_on(cpu, VECTOR) >= ROUNDS, "CPU %u gets its timer ticks", cpu);
    }
}
