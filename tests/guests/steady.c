/* SPDX-License-Identifier: MIT */
/*
 * What a guest does all day: interrupts with EOI, writes of TPR, timer ticks in HLT, N times each. For
 * the exit figures: `phase=NAME` runs one of them, `phase=none` nothing; under Rivet the difference
 * between their exit statistics is what the phase costs. `mode=xapic` stays in xAPIC mode.
 *
 * guest: protected
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_HELD = 0x41, VECTOR_SPURIOUS = 0xEF };
enum { TICK = 200000 };

static volatile uint64_t handled;
static unsigned repeat;
static bool x2apic;

/*
 * The registers without a look at IA32_APIC_BASE, which the library takes each time: its RDMSR is an
 * exit that does not belong to the phase.
 */
static void local_write(unsigned reg, uint32_t value)
{
    if (x2apic) {
        wrmsr(0x800 + reg / 16, value);
    } else {
        *(volatile uint32_t *)(uintptr_t)(0xFEE00000 + reg) = value;
    }
}

static uint32_t local_read(unsigned reg)
{
    if (x2apic) {
        return (uint32_t)rdmsr(0x800 + reg / 16);
    }
    return *(volatile uint32_t *)(uintptr_t)(0xFEE00000 + reg);
}

static void send_self(uint8_t vector)
{
    if (x2apic) {
        wrmsr(IA32_X2APIC_SELF_IPI, vector);
    } else {
        local_write(APIC_ICR, ICR_SELF | ICR_ASSERT | vector);
    }
}

static void handle(struct interrupt_frame *frame)
{
    (void)frame;
    handled++;
    local_write(APIC_EOI, 0);
}

static void run_self_ipi(void)
{
    guest_sti();
    for (unsigned i = 0; i < repeat; i++) {
        send_self(VECTOR);
        while (handled != i + 1) {
            cpu_relax();
        }
    }
    guest_cli();
    report(handled == repeat, "%u self-IPIs", repeat);
}

static void run_tpr(void)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < repeat; i++) {
        local_write(APIC_TPR, i & 0xF0);
        sum += local_read(APIC_TPR) == (i & 0xF0);
    }
    local_write(APIC_TPR, 0);
    report(sum == repeat, "%u writes and reads of TPR", repeat);
}

static void run_cr8(void)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < repeat; i++) {
        write_cr8(i & 0xF);
        sum += read_cr8() == (i & 0xF);
    }
    write_cr8(0);
    report(sum == repeat, "%u writes and reads of CR8", repeat);
}

/* Lowering TPR lets a held interrupt in. */
static void run_tpr_lowered(void)
{
    guest_sti();
    for (unsigned i = 0; i < repeat; i++) {
        local_write(APIC_TPR, VECTOR_HELD);
        send_self(VECTOR_HELD);
        local_write(APIC_TPR, 0);
        while (handled != i + 1) {
            cpu_relax();
        }
    }
    guest_cli();
    report(handled == repeat, "%u interrupts held back by TPR", repeat);
}

static void run_timer(void)
{
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL_COUNT, TICK);
    while (handled < repeat) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
    apic_write(APIC_INITIAL_COUNT, 0);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    report(handled >= repeat, "%u timer ticks", repeat);
}

static void run_nothing(void)
{
    report(handled == 0, "nothing");
}

void guest_main(void)
{
    static const struct guest_test phases[] = {
        { "none", run_nothing }, { "self-ipi", run_self_ipi }, { "tpr", run_tpr },
        { "cr8", run_cr8 },      { "held", run_tpr_lowered },  { "timer", run_timer },
    };
    const char *wanted = guest_option("phase");
    const char *mode = guest_option("mode");
    repeat = (unsigned)guest_option_number("repeat", 1000);
    if ((mode == NULL || strcmp(mode, "xapic") != 0) && apic_has_x2apic()) {
        apic_enter_x2apic();
    }
    x2apic = apic_is_x2apic();
    interrupt_set_handler(VECTOR, handle);
    interrupt_set_handler(VECTOR_HELD, handle);
    apic_enable(VECTOR_SPURIOUS);
    for (unsigned i = 0; i < ARRAY_SIZE(phases); i++) {
        if (wanted == NULL || strcmp(wanted, phases[i].name) == 0) {
            guest_print("phase %s\n", phases[i].name);
            handled = 0;
            phases[i].run();
        }
    }
}
