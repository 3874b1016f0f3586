/* SPDX-License-Identifier: MIT */
/*
 * Statements of the SDM about the local APIC, and of the 82093AA datasheet about the I/O APIC, that an
 * unpatched Bochs 3.0 breaks: one per patch in tools/bochs/patches. `test=NAME` runs one of them.
 *
 * guest: bare-only
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum { VECTOR_LOW = 0x41, VECTOR = 0x51, VECTOR_SAME_CLASS = 0x5E, VECTOR_SPURIOUS = 0xFF };

static volatile uint64_t arrived; /* interrupts at VECTOR */
static volatile uint64_t others;  /* at the other vectors */
static volatile uint64_t spurious;

static void count_and_eoi(struct interrupt_frame *frame)
{
    if (frame->vector == VECTOR) {
        arrived++;
    } else {
        others++;
    }
    apic_eoi();
}

static void count_spurious(struct interrupt_frame *frame)
{
    (void)frame;
    spurious++;
}

static void reset_counts(void)
{
    arrived = 0;
    others = 0;
    spurious = 0;
    interrupt_set_handler(VECTOR, count_and_eoi);
    interrupt_set_handler(VECTOR_LOW, count_and_eoi);
    interrupt_set_handler(VECTOR_SAME_CLASS, count_and_eoi);
    interrupt_set_handler(VECTOR_SPURIOUS, count_spurious);
    apic_enable(VECTOR_SPURIOUS);
}

/* "When IA32_APIC_BASE[11] is set to 0, ... CPUID feature flag for the APIC is set to 0." */
static bool cpuid_apic(void)
{
    return (cpuid_read(1, 0).edx & CPUID_1_EDX_APIC) != 0;
}

static void test_apic_reenable(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    apic_write(APIC_TPR, 0x20);
    wrmsr(IA32_APIC_BASE, base & ~(APIC_BASE_EN | APIC_BASE_EXTD));
    report(!cpuid_apic(), "a disabled local APIC is not in CPUID");
    report(!guest_try_wrmsr(IA32_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_EXTD),
           "from disabled to x2APIC mode is #GP");
    wrmsr(IA32_APIC_BASE, (base | APIC_BASE_EN) & ~APIC_BASE_EXTD);
    report(cpuid_apic(), "a disabled local APIC can be enabled again");
    if (!cpuid_apic()) {
        guest_fail("nothing to go on with");
    }
    report(apic_read(APIC_TPR) == 0, "it comes back with TPR 0");
    report(apic_read(APIC_SVR) == SVR_RESET, "it comes back with SVR 0xff");
    apic_enter_x2apic();
    report(!guest_try_wrmsr(IA32_APIC_BASE, base | APIC_BASE_EN),
           "from x2APIC to xAPIC mode is #GP");
    wrmsr(IA32_APIC_BASE, base & ~(APIC_BASE_EN | APIC_BASE_EXTD));
    wrmsr(IA32_APIC_BASE, (base | APIC_BASE_EN) & ~APIC_BASE_EXTD);
    report((rdmsr(IA32_APIC_BASE) & APIC_BASE_EXTD) == 0 && cpuid_apic(),
           "from x2APIC mode by disabled to xAPIC mode");
}

static void test_priority_class_in_service(void)
{
    reset_counts();
    interrupt_set_handler(VECTOR, count_spurious); /* without EOI */
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(spurious == 1, "the first vector is in service");
    spurious = 0;
    apic_self_ipi(VECTOR_SAME_CLASS);
    guest_take_interrupts();
    report(others == 0, "a higher vector of the class in service is not delivered");
    report(spurious == 0, "nor is the spurious vector in its place");
    apic_eoi();
    guest_take_interrupts();
    report(others == 1, "it is delivered after EOI");
}

static void test_priority_class_tpr(void)
{
    reset_counts();
    apic_self_ipi(VECTOR); /* interrupts are off: pending */
    apic_write(APIC_TPR, 0x60);
    guest_take_interrupts();
    report(arrived == 0, "TPR raised over a pending vector holds it back");
    report(spurious == 0, "without a spurious interrupt");
    apic_write(APIC_TPR, 0);
    guest_take_interrupts();
    report(arrived == 1, "TPR lowered lets it in");
}

static void test_lapic_priority_class(void)
{
    test_priority_class_in_service();
    test_priority_class_tpr();
}

static void test_spurious_vector_eoi(void)
{
    reset_counts();
    apic_write(APIC_SVR, SVR_ENABLED | VECTOR);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(arrived == 1, "a real interrupt at the spurious vector is delivered");
    report(!apic_vector_bit(APIC_ISR, VECTOR), "EOI takes it out of service");
    apic_self_ipi(VECTOR_LOW);
    guest_take_interrupts();
    report(others == 1, "a lower vector is delivered after it");
}

enum { COM1 = 0x3F8, UART_IER = 1, UART_IIR = 2, UART_MCR = 4, UART_LSR = 5, LSR_TEMT = 0x40 };
enum { IER_THRI = 2, MCR_OUT2 = 8, COM1_PIN = 4 };

static volatile uint64_t entry_in_service;
static uint64_t line_entry;

/* Leaves the line asserted the first time, so that it interrupts again. */
static void count_level(struct interrupt_frame *frame)
{
    (void)frame;
    arrived++;
    if (arrived == 1) {
        entry_in_service = ioapic_read_entry(COM1_PIN);
    } else {
        outb(COM1 + UART_IER, 0);
        (void)inb(COM1 + UART_IIR);
    }
    apic_eoi();
}

/* The console is silent in between: writing to it takes the interrupt request away. */
static void console_drain(void)
{
    while ((inb(COM1 + UART_LSR) & LSR_TEMT) == 0) {
        cpu_relax();
    }
}

static void test_level_in_service(void)
{
    console_drain();
    ioapic_write_entry(COM1_PIN, line_entry);
    outb(COM1 + UART_IER, IER_THRI);
    guest_take_interrupts();
    outb(COM1 + UART_IER, 0);
    uint64_t entry_after = ioapic_read_entry(COM1_PIN);
    report(arrived == 2, "a level that is still asserted at EOI interrupts again");
    report((entry_in_service & RTE_REMOTE_IRR) != 0, "remote IRR is set while it is in service");
    report((entry_after & RTE_REMOTE_IRR) == 0, "and clear after EOI");
}

static void test_level_unmask(void)
{
    console_drain();
    arrived = 1; /* the next one is handled to the end */
    ioapic_write_entry(COM1_PIN, line_entry | RTE_MASKED);
    outb(COM1 + UART_IER, IER_THRI);
    guest_take_interrupts();
    uint64_t while_masked = arrived;
    ioapic_write_entry(COM1_PIN, line_entry);
    guest_take_interrupts();
    report(while_masked == 1, "a masked level does not interrupt");
    report(arrived == 2, "unmasked while asserted it does");
}

static void test_ioapic_remote_irr(void)
{
    reset_counts();
    interrupt_set_handler(VECTOR, count_level);
    line_entry = (uint64_t)apic_id() << 56 | RTE_LEVEL | VECTOR;
    uint8_t mcr = inb(COM1 + UART_MCR);
    outb(COM1 + UART_MCR, mcr | MCR_OUT2);
    test_level_in_service();
    test_level_unmask();
    ioapic_write_entry(COM1_PIN, RTE_MASKED);
    outb(COM1 + UART_MCR, mcr);
}

enum { IOAPIC_ID = 0, IOAPIC_ARBITRATION = 2 };

static void test_ioapic_id(void)
{
    uint32_t before = ioapic_read(IOAPIC_ID);
    ioapic_write(IOAPIC_ID, 0xFFFFFFFF);
    report(ioapic_read(IOAPIC_ID) == 0x0F000000, "only bits 27:24 of the ID can be written");
    report(ioapic_read(IOAPIC_ARBITRATION) == 0x0F000000, "the arbitration ID follows the ID");
    ioapic_write(IOAPIC_ARBITRATION, 0);
    report(ioapic_read(IOAPIC_ARBITRATION) == 0x0F000000, "it is read-only");
    ioapic_write(IOAPIC_ID, before);
}

enum { SOON = 100000, LATE = 10000000 };

static void arm_deadline(uint64_t deadline)
{
    reset_counts();
    apic_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    wrmsr(IA32_TSC_DEADLINE, deadline);
}

static void test_tsc_deadline_adjust(void)
{
    uint64_t jump = 1ULL << 40;
    if ((cpuid_read(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) == 0) {
        report_skip("no TSC-deadline timer");
        return;
    }
    guest_sti();
    wrmsr(IA32_TSC_ADJUST, jump);
    uint64_t deadline = rdtsc() + SOON;
    arm_deadline(deadline);
    guest_wait(&arrived, LATE);
    report(arrived == 1 && rdtsc() >= deadline, "the deadline is compared with the adjusted TSC");
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "the MSR is 0 after the interrupt");
    arm_deadline(rdtsc() + jump);
    report(guest_wait(&arrived, SOON) == 0, "a far deadline does not interrupt");
    wrmsr(IA32_TSC_ADJUST, 2 * jump);
    report(guest_wait(&arrived, LATE) == 1, "it does when the TSC is moved over it");
    arm_deadline(rdtsc() + LATE);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    report(rdmsr(IA32_TSC_DEADLINE) == 0, "leaving TSC-deadline mode disarms");
    guest_cli();
    wrmsr(IA32_TSC_ADJUST, 0);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
}

static bool x2apic_icr_refuses(unsigned bit)
{
    return !guest_try_wrmsr(IA32_X2APIC_ICR, ICR_SELF | VECTOR | BIT(bit));
}

/* Stays in x2APIC mode: the last test. */
static void test_x2apic_icr(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    apic_enter_x2apic();
    reset_counts();
    uint64_t command = (uint64_t)apic_id() << 32 | ICR_ASSERT | VECTOR;
    wrmsr(IA32_X2APIC_ICR, command);
    report(rdmsr(IA32_X2APIC_ICR) == command, "ICR reads back as written");
    guest_take_interrupts();
    report(arrived == 1, "and its interrupt was sent");
    report(x2apic_icr_refuses(13), "ICR bit 13 is reserved");
    report(x2apic_icr_refuses(16) && x2apic_icr_refuses(17), "ICR bits 17:16 are reserved");
    bool refused = true;
    for (unsigned bit = 20; bit < 32; bit++) {
        refused = refused && x2apic_icr_refuses(bit);
    }
    report(refused, "ICR bits 31:20 are reserved");
    report(!guest_try_wrmsr(IA32_X2APIC_SELF_IPI, 0x100 | VECTOR),
           "SELF_IPI bits 31:8 are reserved");
    guest_take_interrupts();
    report(arrived == 1, "refused commands send nothing");
}

/* Stays in x2APIC mode. */
static void test_lapic_no_cmci(void)
{
    enum { MCG_CAP_CMCI = 1 << 10, ESR_ILLEGAL_ADDRESS = 0x80 };
    uint64_t capabilities = 0;
    uint64_t value;
    (void)guest_try_rdmsr(IA32_MCG_CAP, &capabilities);
    bool has_cmci = (capabilities & MCG_CAP_CMCI) != 0;
    bool seven_entries = (apic_read(APIC_VERSION) >> 16 & 0xFF) >= 6;
    report(has_cmci == seven_entries, "the version register counts CMCI if MCG_CAP has it");
    apic_enter_x2apic();
    report(guest_try_rdmsr(IA32_X2APIC_LVT_CMCI, &value) == has_cmci &&
               guest_try_wrmsr(IA32_X2APIC_LVT_CMCI, LVT_MASKED) == has_cmci,
           "MSR 82FH is there if CMCI is, else #GP");
}

void guest_main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "apic-reenable", test_apic_reenable },
        { "lapic-priority-class", test_lapic_priority_class },
        { "spurious-vector-eoi", test_spurious_vector_eoi },
        { "ioapic-remote-irr", test_ioapic_remote_irr },
        { "tsc-deadline-adjust", test_tsc_deadline_adjust },
        { "ioapic-id", test_ioapic_id },
        { "x2apic-icr", test_x2apic_icr },
        { "lapic-no-cmci", test_lapic_no_cmci },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
        if (guest_wants(tests[i].name)) {
            guest_print("%s\n", tests[i].name);
            tests[i].run();
        }
    }
}
