/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of the 8259 pair through the local APIC's LINT0 in ExtINT mode (SDM volume 3, "Local
 * Vector Table"; Intel 8259A and 8254 data sheets). Sources are COM1's transmitter (line 4: up while IER
 * bit 1 is set) and channel 0 of the timer (line 0: up at the end of its count in mode 0). Nothing is
 * printed while COM1 is in use.
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { FIRST = 0x20, SECOND = 0xA0, MASK = 1 };
enum { BASE = 0x40, BASE_2 = 0x48, TIMER = BASE, SERIAL = BASE + 4, SPURIOUS = BASE + 7 };
enum { VECTOR_APIC = 0x91, VECTOR_APIC_SPURIOUS = 0xEF };
enum { EOI = 0x20, EOI_ROTATE = 0xA0, EOI_4 = 0x64, LOWEST_0 = 0xC0, LOWEST_7 = 0xC7 };
enum { READ_IRR = 0x0A, READ_ISR = 0x0B, POLL = 0x0C };
enum { SPECIAL_MASK = 0x68, NO_SPECIAL_MASK = 0x48 };
enum { LINE_0 = 1 << 0, LINE_4 = 1 << 4, ALL_MASKED = 0xFF, ICW4_AUTO_EOI = 3, ICW4 = 1 };
enum { COM1 = 0x3F8, UART_IER = 1, UART_IIR = 2, UART_MCR = 4, UART_LSR = 5 };
enum { IER_THRI = 2, MCR_OUT2 = 8, LSR_TEMT = 0x40 };
enum { PIT = 0x40, PIT_CONTROL = 0x43, PIT_MODE_0 = 0x30, PIT_TICKS = 40 };
enum { LVT_EXTINT = 0x700 };

static void init_chip(uint16_t port, uint8_t vector, uint8_t icw3, uint8_t icw4)
{
    outb(port, 0x11);
    outb(port + MASK, vector);
    outb(port + MASK, icw3);
    outb(port + MASK, icw4);
    outb(port + MASK, ALL_MASKED);
}

static uint8_t status(uint8_t which)
{
    outb(FIRST, which);
    return inb(FIRST);
}

static void serial_up(void)
{
    outb(COM1 + UART_IER, IER_THRI);
}

static void serial_down(void)
{
    outb(COM1 + UART_IER, 0);
    (void)inb(COM1 + UART_IIR);
}

/* A rise of line 0, seen in IRR. */
static void timer_rise(void)
{
    outb(PIT_CONTROL, PIT_MODE_0);
    outb(PIT, PIT_TICKS);
    outb(PIT, 0);
    while ((status(READ_IRR) & LINE_0) == 0) {
        cpu_relax();
    }
}

/* Line 0 is low and stays so. */
static void timer_quiet(void)
{
    outb(PIT_CONTROL, PIT_MODE_0);
}

static uint8_t saved_mcr;

/* Both chips as after initialization with these inputs of the first one unmasked; nothing asks. */
static void begin(uint8_t icw4, uint8_t lines)
{
    while ((inb(COM1 + UART_LSR) & LSR_TEMT) == 0) {
        cpu_relax();
    }
    saved_mcr = inb(COM1 + UART_MCR);
    outb(COM1 + UART_MCR, saved_mcr | MCR_OUT2);
    serial_down();
    timer_quiet();
    init_chip(FIRST, BASE, 4, icw4);
    init_chip(SECOND, BASE_2, 2, icw4);
    arrivals_clear();
    outb(FIRST + MASK, (uint8_t)~lines);
}

static void end(void)
{
    serial_down();
    timer_quiet();
    outb(FIRST + MASK, ALL_MASKED);
    outb(COM1 + UART_MCR, saved_mcr);
}

static void test_edge(void)
{
    begin(ICW4, LINE_4);
    serial_up();
    uint8_t asked = status(READ_IRR);
    guest_take_interrupts();
    unsigned first = arrivals(SERIAL);
    uint8_t irr = status(READ_IRR), isr = status(READ_ISR);
    bool in_apic = apic_vector_bit(APIC_ISR, SERIAL) || apic_vector_bit(APIC_IRR, SERIAL);
    serial_down();
    serial_up();
    guest_take_interrupts();
    unsigned in_service = arrivals(SERIAL);
    outb(FIRST, EOI);
    guest_take_interrupts();
    unsigned second = arrivals(SERIAL);
    outb(FIRST, EOI);
    guest_take_interrupts();
    unsigned later = arrivals(SERIAL);
    end();
    report(asked == LINE_4, "a rise sets its bit of IRR");
    report(first == 1, "it interrupts");
    report(irr == 0 && isr == LINE_4, "and moves from IRR to ISR");
    report(!in_apic, "the local APIC's IRR and ISR have no part in it");
    report(in_service == 1, "while in service it does not interrupt again");
    report(second == 2, "it does after EOI");
    report(later == 2, "once for each rise");
}

static void test_masked(void)
{
    begin(ICW4, 0);
    serial_up();
    guest_take_interrupts();
    unsigned masked = arrivals_total();
    uint8_t irr = status(READ_IRR);
    outb(FIRST + MASK, (uint8_t)~LINE_4);
    guest_take_interrupts();
    unsigned unmasked = arrivals(SERIAL);
    outb(FIRST, EOI);
    end();
    report(masked == 0 && irr == LINE_4, "a masked request waits in IRR");
    report(unmasked == 1, "and interrupts when it is unmasked");
}

static void test_no_priority(void)
{
    begin(ICW4, LINE_4);
    apic_write(APIC_TPR, 0xFF);
    serial_up();
    guest_take_interrupts();
    unsigned count = arrivals(SERIAL);
    bool ppr = apic_read(APIC_PPR) == 0xFF;
    apic_write(APIC_TPR, 0);
    outb(FIRST, EOI);
    end();
    report(count == 1, "TPR does not hold it back");
    report(ppr, "PPR stays");
}

static volatile unsigned inside;

static void take_extint(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    serial_up();
    guest_take_interrupts();
    inside = arrivals(SERIAL);
    apic_eoi();
}

static void test_during_service(void)
{
    begin(ICW4, 0);
    interrupt_set_handler(VECTOR_APIC, take_extint);
    apic_self_ipi(VECTOR_APIC);
    guest_take_interrupts();
    unsigned masked = inside;
    serial_down();
    outb(FIRST + MASK, (uint8_t)~LINE_4);
    apic_self_ipi(VECTOR_APIC);
    guest_take_interrupts();
    unsigned unmasked = inside;
    bool order = ARRIVALS_WERE(VECTOR_APIC, VECTOR_APIC, SERIAL);
    outb(FIRST, EOI);
    arrivals_record(VECTOR_APIC);
    apic_self_ipi(VECTOR_APIC);
    guest_take_interrupts();
    unsigned after = arrivals(VECTOR_APIC);
    end();
    report(masked == 0, "a local interrupt in service, the 8259 masked: nothing");
    report(unmasked == 1 && order, "unmasked: it interrupts the local interrupt's handler");
    report(after == 3, "the local APIC goes on");
}

static void test_waits_for_if(void)
{
    begin(ICW4, LINE_4);
    serial_up();
    for (unsigned i = 0; i < 1000; i++) {
        cpu_relax();
    }
    unsigned off = arrivals_total();
    /* STI holds interrupts back for one instruction, so HLT is executed and ended. */
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    unsigned on = arrivals(SERIAL);
    outb(FIRST, EOI);
    end();
    report(off == 0, "it waits for IF");
    report(on == 1, "STI; HLT: it ends HLT");
}

static void test_ends_halt(void)
{
    begin(ICW4, LINE_0);
    outb(PIT_CONTROL, PIT_MODE_0);
    outb(PIT, 0xFF);
    outb(PIT, 0x0F);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    unsigned count = arrivals(TIMER);
    outb(FIRST, EOI);
    end();
    report(count == 1, "one that comes during HLT ends it");
}

static void test_priorities(void)
{
    begin(ICW4, LINE_0 | LINE_4);
    timer_rise();
    serial_up();
    guest_take_interrupts();
    bool held = ARRIVALS_WERE(TIMER);
    uint8_t isr = status(READ_ISR);
    outb(FIRST, EOI);
    guest_take_interrupts();
    bool both = ARRIVALS_WERE(TIMER, SERIAL);
    timer_rise();
    guest_take_interrupts();
    uint8_t nested = status(READ_ISR);
    outb(FIRST, EOI);
    uint8_t left = status(READ_ISR);
    outb(FIRST, EOI);
    end();
    report(held && isr == LINE_0, "0 in service holds 4 back");
    report(both, "until its EOI");
    report(nested == (LINE_0 | LINE_4), "0 interrupts 4");
    report(left == LINE_4, "EOI ends the highest in service");
}

static void test_rotation(void)
{
    begin(ICW4, LINE_0 | LINE_4);
    outb(FIRST, LOWEST_0);
    serial_up();
    guest_take_interrupts();
    timer_rise();
    guest_take_interrupts();
    bool held = ARRIVALS_WERE(SERIAL);
    outb(FIRST, EOI_ROTATE); /* 4 becomes the lowest, so 0 is above it */
    guest_take_interrupts();
    bool both = ARRIVALS_WERE(SERIAL, TIMER);
    serial_down();
    serial_up();
    guest_take_interrupts();
    bool low = ARRIVALS_WERE(SERIAL, TIMER);
    outb(FIRST, EOI);
    guest_take_interrupts();
    bool last = ARRIVALS_WERE(SERIAL, TIMER, SERIAL);
    outb(FIRST, EOI_4);
    bool ended = status(READ_ISR) == 0;
    outb(FIRST, LOWEST_7);
    end();
    report(held && both, "with 0 the lowest, 4 in service holds it back");
    report(low && last, "rotation by EOI puts 4 below 0");
    report(ended, "specific EOI");
}

static void test_automatic_eoi(void)
{
    begin(ICW4_AUTO_EOI, LINE_4);
    serial_up();
    guest_take_interrupts();
    bool free = status(READ_ISR) == 0;
    serial_down();
    serial_up();
    guest_take_interrupts();
    unsigned count = arrivals(SERIAL);
    end();
    report(free && count == 2, "automatic EOI: nothing stays in service");
}

static void test_special_mask(void)
{
    begin(ICW4, LINE_0 | LINE_4);
    timer_rise();
    guest_take_interrupts();
    serial_up();
    outb(FIRST + MASK, (uint8_t)~LINE_4);
    guest_take_interrupts();
    bool held = ARRIVALS_WERE(TIMER);
    outb(FIRST, SPECIAL_MASK);
    guest_take_interrupts();
    bool through = ARRIVALS_WERE(TIMER, SERIAL);
    outb(FIRST, NO_SPECIAL_MASK);
    outb(FIRST, EOI);
    outb(FIRST, EOI);
    end();
    report(held, "0 in service and masked holds 4 back");
    report(through, "not in special mask mode");
}

static void test_poll(void)
{
    begin(ICW4, LINE_4);
    serial_up();
    uint8_t polled = status(POLL);
    uint8_t isr = status(READ_ISR);
    guest_take_interrupts();
    unsigned count = arrivals_total();
    outb(FIRST, EOI);
    end();
    report(polled == (0x80 | 4) && isr == LINE_4, "a poll acknowledges");
    report(count == 0, "so it does not interrupt");
}

static void test_spurious(void)
{
    begin(ICW4, LINE_4);
    serial_up();
    serial_down();
    guest_take_interrupts();
    bool arrived = ARRIVALS_WERE(SPURIOUS);
    bool free = status(READ_ISR) == 0;
    end();
    report(arrived && free, "a request that has gone is vector 7 with nothing in service");
}

/* "Local APIC State After It Has Been Disabled": LINT0 is the processor's INTR then. */
static void test_apic_disabled(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    arrivals_record(VECTOR_APIC);

    begin(ICW4, LINE_4);
    wrmsr(IA32_APIC_BASE, base & ~APIC_BASE_EN);
    serial_up();
    guest_take_interrupts();
    unsigned count = arrivals(SERIAL);
    outb(FIRST, EOI);
    serial_down();
    serial_up();
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    unsigned halted = arrivals(SERIAL);
    outb(FIRST, EOI);
    outb(FIRST + MASK, ALL_MASKED);
    wrmsr(IA32_APIC_BASE, base);
    apic_enable(VECTOR_APIC_SPURIOUS);
    apic_self_ipi(VECTOR_APIC);
    guest_take_interrupts();
    unsigned local = arrivals(VECTOR_APIC);
    end();
    report(count == 1, "the local APIC disabled: it interrupts all the same");
    report(halted == 2, "and ends HLT");
    report(local == 1, "the local APIC enabled again works");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "edge", test_edge },
        { "masked", test_masked },
        { "no-priority", test_no_priority },
        { "during-service", test_during_service },
        { "waits-for-if", test_waits_for_if },
        { "ends-halt", test_ends_halt },
        { "priorities", test_priorities },
        { "rotation", test_rotation },
        { "automatic-eoi", test_automatic_eoi },
        { "special-mask", test_special_mask },
        { "poll", test_poll },
        { "spurious", test_spurious },
        { "apic-disabled", test_apic_disabled },
    };
    apic_enable(VECTOR_APIC_SPURIOUS);
    apic_write(APIC_LVT_LINT0, LVT_EXTINT);
    arrivals_record_in_service(TIMER);
    arrivals_record_in_service(SERIAL);
    arrivals_record_in_service(SPURIOUS);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
