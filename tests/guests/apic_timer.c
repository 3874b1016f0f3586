/* SPDX-License-Identifier: MIT */
/*
 * The local APIC timer in its three modes (SDM volume 3, "APIC Timer", "TSC-Deadline Mode"), in xAPIC
 * and in x2APIC mode.
 *
 * guest: protected='test=x2apic'
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_OTHER = 0x61, VECTOR_SPURIOUS = 0xEF };
enum { SHORT = 100000, MEDIUM = 1 << 20, LONG = 0x7FFFFFFF };

static const char *mode;

static void pass_ticks(uint64_t ticks)
{
    const volatile uint64_t never = 0;
    guest_wait(&never, ticks);
}

/* Timer stopped, nothing arrived. */
static void reset_timer(uint32_t lvt)
{
    guest_cli();
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_INITIAL_COUNT, 0);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    guest_take_interrupts();
    apic_write(APIC_LVT_TIMER, lvt);
    arrivals_clear();
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_OTHER);
    guest_sti();
}

static void test_one_shot(void)
{
    reset_timer(VECTOR);
    apic_write(APIC_INITIAL_COUNT, SHORT);
    report(apic_read(APIC_INITIAL_COUNT) == SHORT, "%s, one-shot: the initial count reads back",
           mode);
    report(arrivals_wait(VECTOR, 1), "%s, one-shot: it interrupts", mode);
    pass_ticks(3 * SHORT);
    report(arrivals(VECTOR) == 1, "%s, one-shot: once", mode);
    report(apic_read(APIC_CURRENT_COUNT) == 0, "%s, one-shot: the current count ends at 0", mode);
    report(apic_read(APIC_INITIAL_COUNT) == SHORT, "%s, one-shot: the initial count stays", mode);
}

static void test_count_falls(void)
{
    reset_timer(VECTOR);
    apic_write(APIC_INITIAL_COUNT, LONG);
    uint32_t last = LONG;
    bool falls = true;
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t now = apic_read(APIC_CURRENT_COUNT);
        falls = now <= last && now != 0 && falls;
        last = now;
    }
    report(falls && last < LONG, "%s: the current count falls", mode);
    apic_write(APIC_INITIAL_COUNT, LONG);
    report(apic_read(APIC_CURRENT_COUNT) > last, "%s: writing the initial count starts anew", mode);
    apic_write(APIC_INITIAL_COUNT, 0);
    report(apic_read(APIC_CURRENT_COUNT) == 0, "%s: writing 0 stops the timer", mode);
    report(arrivals_total() == 0, "%s: without an interrupt", mode);
}

static void test_periodic(void)
{
    reset_timer(LVT_TIMER_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL_COUNT, SHORT);
    report(arrivals_wait(VECTOR, 10), "%s, periodic: it interrupts again and again", mode);
    uint32_t count = apic_read(APIC_CURRENT_COUNT);
    report(count != 0 && count <= SHORT, "%s, periodic: the count is reloaded", mode);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR_OTHER);
    report(arrivals_wait(VECTOR_OTHER, 2), "%s, periodic: a new vector takes effect", mode);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | LVT_MASKED | VECTOR);
    arrivals_clear();
    pass_ticks(5 * SHORT);
    report(arrivals_total() == 0, "%s, periodic: masked it does not interrupt", mode);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR);
    report(arrivals_wait(VECTOR, 2), "%s, periodic: unmasked it does", mode);
    apic_write(APIC_INITIAL_COUNT, 0);
    arrivals_clear();
    pass_ticks(5 * SHORT);
    report(arrivals_total() == 0, "%s, periodic: initial count 0 stops it", mode);
}

/* The expiry of a masked timer is no interrupt, neither then nor later. */
static void test_masked(void)
{
    reset_timer(LVT_MASKED | VECTOR);
    apic_write(APIC_INITIAL_COUNT, SHORT);
    pass_ticks(3 * SHORT);
    report(apic_read(APIC_CURRENT_COUNT) == 0, "%s, masked: it counts all the same", mode);
    apic_write(APIC_LVT_TIMER, VECTOR);
    pass_ticks(SHORT);
    report(arrivals_total() == 0, "%s, masked: unmasked after expiry it does not interrupt", mode);
}

static void test_pending_while_off(void)
{
    reset_timer(VECTOR);
    guest_cli();
    apic_write(APIC_INITIAL_COUNT, SHORT);
    report(!apic_vector_bit(APIC_IRR, VECTOR), "%s: IRR is clear before the expiry", mode);
    pass_ticks(3 * SHORT);
    report(apic_vector_bit(APIC_IRR, VECTOR) && arrivals_total() == 0,
           "%s: with interrupts off the vector waits in IRR", mode);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1, "%s: with interrupts on it arrives", mode);
}

static void test_halt(void)
{
    reset_timer(VECTOR);
    guest_cli();
    apic_write(APIC_INITIAL_COUNT, SHORT);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    report(arrivals(VECTOR) == 1, "%s: it ends HLT", mode);
}

/* TSC ticks from start to expiry of count, looking at the current count. */
static uint64_t measure(uint32_t divide, uint32_t count)
{
    reset_timer(LVT_MASKED | VECTOR);
    apic_write(APIC_DIVIDE, divide);
    uint64_t start = rdtsc();
    apic_write(APIC_INITIAL_COUNT, count);
    while (apic_read(APIC_CURRENT_COUNT) != 0) {
        cpu_relax();
    }
    return rdtsc() - start;
}

static void test_divide(void)
{
    static const uint8_t codes[] = { 0xB, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xA };
    /* A shorter count for a larger divisor: all take as long, and far longer than an access does. */
    uint64_t expected = measure(codes[0], MEDIUM);
    for (unsigned i = 1; i < ARRAY_SIZE(codes); i++) {
        uint64_t took = measure(codes[i], MEDIUM >> i);
        report(took > expected - expected / 4 && took < expected + expected / 4,
               "%s: code %x divides by %u", mode, codes[i], 1U << i);
    }
}

/* Whether the count has a value that a running timer cannot have is not for us: only what stays. */
static void test_mode_switch(void)
{
    reset_timer(VECTOR);
    apic_write(APIC_INITIAL_COUNT, LONG);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR);
    report(apic_read(APIC_INITIAL_COUNT) == LONG,
           "%s: the initial count survives one-shot to periodic", mode);
    apic_write(APIC_LVT_TIMER, VECTOR);
    report(apic_read(APIC_INITIAL_COUNT) == LONG,
           "%s: the initial count survives periodic to one-shot", mode);
    apic_write(APIC_INITIAL_COUNT, SHORT);
    report(arrivals_wait(VECTOR, 1), "%s: one-shot works after the switches", mode);
}

static void reset_deadline(void)
{
    reset_timer(LVT_TIMER_TSC_DEADLINE | VECTOR);
}

static void test_deadline(void)
{
    reset_deadline();
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "%s, deadline: the MSR is 0 at first", mode);
    uint64_t deadline = rdtsc() + SHORT;
    wrmsr(IA32_TSC_DEADLINE, deadline);
    report(arrivals_wait(VECTOR, 1) && rdtsc() >= deadline, "%s, deadline: it interrupts", mode);
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "%s, deadline: the MSR is 0 afterwards", mode);
    pass_ticks(3 * SHORT);
    report(arrivals(VECTOR) == 1, "%s, deadline: once", mode);
    wrmsr(IA32_TSC_DEADLINE, 1);
    report(arrivals_wait(VECTOR, 2), "%s, deadline: one in the past interrupts at once", mode);
    deadline = rdtsc() + 1000 * (uint64_t)SHORT;
    wrmsr(IA32_TSC_DEADLINE, deadline);
    report(rdmsr(IA32_TSC_DEADLINE) == deadline, "%s, deadline: an armed one reads back", mode);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + SHORT);
    report(arrivals_wait(VECTOR, 3), "%s, deadline: a new one replaces the old one", mode);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + SHORT);
    wrmsr(IA32_TSC_DEADLINE, 0);
    pass_ticks(3 * SHORT);
    report(arrivals(VECTOR) == 3, "%s, deadline: 0 disarms", mode);
    wrmsr(IA32_TSC_DEADLINE, UINT64_MAX);
    pass_ticks(3 * SHORT);
    report(arrivals(VECTOR) == 3, "%s, deadline: the largest one is far away", mode);
    wrmsr(IA32_TSC_DEADLINE, 0);
}

static void test_deadline_registers(void)
{
    reset_deadline();
    apic_write(APIC_INITIAL_COUNT, SHORT);
    report(apic_read(APIC_CURRENT_COUNT) == 0, "%s, deadline: the current count reads 0", mode);
    pass_ticks(3 * SHORT);
    report(arrivals_total() == 0, "%s, deadline: a write of the initial count is ignored", mode);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + 2 * SHORT);
    apic_write(APIC_LVT_TIMER, VECTOR);
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "%s, one-shot: the deadline MSR reads 0", mode);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + SHORT);
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "%s, one-shot: writes of it are ignored", mode);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    pass_ticks(5 * SHORT);
    report(arrivals_total() == 0, "%s: leaving deadline mode disarms", mode);
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_INITIAL_COUNT, SHORT);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    apic_write(APIC_LVT_TIMER, VECTOR);
    pass_ticks(3 * SHORT);
    report(arrivals_total() == 0, "%s: entering deadline mode disarms", mode);
}

static void test_deadline_masked(void)
{
    reset_deadline();
    apic_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | LVT_MASKED | VECTOR);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + SHORT);
    pass_ticks(3 * SHORT);
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "%s, deadline: a masked one passes", mode);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    pass_ticks(SHORT);
    report(arrivals_total() == 0, "%s, deadline: unmasked afterwards it does not interrupt", mode);
}

static void test_deadline_tsc_moves(void)
{
    const uint64_t jump = 1ULL << 40;
    reset_deadline();
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + jump);
    pass_ticks(SHORT);
    report(arrivals_total() == 0, "%s, deadline: a far one does not interrupt", mode);
    uint64_t adjust = rdmsr(IA32_TSC_ADJUST);
    wrmsr(IA32_TSC_ADJUST, adjust + jump);
    report(arrivals_wait(VECTOR, 1), "%s, deadline: TSC_ADJUST moves the TSC over it", mode);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + jump);
    uint64_t before = rdtsc();
    wrmsr(IA32_TIME_STAMP_COUNTER, before + jump);
    report(arrivals_wait(VECTOR, 2), "%s, deadline: a write of the TSC moves over it", mode);
    report(rdmsr(IA32_TSC_ADJUST) - adjust > jump, "%s: a write of the TSC is in TSC_ADJUST", mode);
    uint64_t deadline = rdtsc() + 2 * SHORT;
    wrmsr(IA32_TSC_DEADLINE, deadline);
    wrmsr(IA32_TSC_ADJUST, adjust);
    pass_ticks(5 * SHORT);
    report(arrivals(VECTOR) == 2, "%s, deadline: moving the TSC back puts it off", mode);
    report(rdmsr(IA32_TSC_DEADLINE) == deadline, "%s, deadline: the MSR is unchanged by that",
           mode);
    wrmsr(IA32_TSC_ADJUST, adjust + 3 * jump);
    report(arrivals_wait(VECTOR, 3), "%s, deadline: and forward again ends it", mode);
    wrmsr(IA32_TSC_ADJUST, adjust);
}

static void run_all(const char *name)
{
    mode = name;
    test_one_shot();
    test_count_falls();
    test_periodic();
    test_masked();
    test_pending_while_off();
    test_halt();
    test_divide();
    test_mode_switch();
    if ((cpuid_read(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) == 0) {
        report_skip("no TSC-deadline timer");
    } else {
        test_deadline();
        test_deadline_registers();
        test_deadline_masked();
        test_deadline_tsc_moves();
    }
    reset_timer(LVT_MASKED);
    guest_cli();
}

void guest_main(void)
{
    apic_run_both_modes(run_all);
}
