/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC (Intel 82093AA datasheet; ICH manuals for the EOI register), with the transmitter
 * interrupt of COM1 on pin 4 as the source: asserted while IER bit 1 is set, the transmitter is empty
 * and IIR was not read. Nothing is printed while it is in use.
 *
 * guest: protected='test=registers,edge,edge-masked,level,level-falls,level-again,level-to-edge,route-changes'
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_OTHER = 0x61, VECTOR_SPURIOUS = 0xEF, VECTOR_NMI = 2 };
enum { COM1 = 0x3F8, UART_IER = 1, UART_IIR = 2, UART_MCR = 4, UART_LSR = 5 };
enum { IER_THRI = 2, MCR_OUT2 = 8, LSR_TEMT = 0x40, COM1_PIN = 4 };
enum {
    IOAPIC_ID = 0,
    IOAPIC_VERSION = 1,
    IOAPIC_REDIRECTION = 0x10,
    FREE_PIN = 23,
    VERSION_WITH_EOI = 0x20
};
enum { RTE_LOWEST_PRIORITY = 0x100, RTE_NMI = 0x400 };

static volatile uint32_t *const select = (volatile uint32_t *)0xFEC00000;
static volatile uint32_t *const window = (volatile uint32_t *)0xFEC00010;
static volatile uint32_t *const eoi_register = (volatile uint32_t *)0xFEC00040;

static uint32_t read_register(unsigned index)
{
    *select = index;
    return *window;
}

static uint64_t to_me(uint64_t entry)
{
    return (uint64_t)apic_id() << 56 | entry;
}

static void line_up(void)
{
    outb(COM1 + UART_IER, IER_THRI);
}

static void line_down(void)
{
    outb(COM1 + UART_IER, 0);
    (void)inb(COM1 + UART_IIR);
}

static uint8_t saved_mcr;

/* The console is empty, the line low, the pin as given, nothing arrived. */
static void begin(uint64_t entry)
{
    while ((inb(COM1 + UART_LSR) & LSR_TEMT) == 0) {
        cpu_relax();
    }
    saved_mcr = inb(COM1 + UART_MCR);
    outb(COM1 + UART_MCR, saved_mcr | MCR_OUT2);
    line_down();
    ioapic_write_entry(COM1_PIN, entry);
    arrivals_clear();
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_OTHER);
    arrivals_record(VECTOR_NMI);
}

/* For the console again. */
static void end(void)
{
    line_down();
    guest_take_interrupts();
    ioapic_write_entry(COM1_PIN, RTE_MASKED);
    outb(COM1 + UART_MCR, saved_mcr);
}

static unsigned pulse(void)
{
    unsigned before = arrivals_total();
    line_up();
    guest_take_interrupts();
    line_down();
    return arrivals_total() - before;
}

static void test_registers(void)
{
    uint32_t version = read_register(IOAPIC_VERSION);
    report((version >> 16 & 0xFF) == 23, "the I/O APIC has 24 pins");
    report((version & 0xFF) >= 0x11, "its version is that of an 82093AA or later");
    report((read_register(IOAPIC_ID) & 0xF0FFFFFF) == 0, "reserved bits of its id are 0");
    *select = IOAPIC_VERSION;
    *window = ~version;
    report(read_register(IOAPIC_VERSION) == version, "the version cannot be written");
    report((*select & 0xFF) == IOAPIC_VERSION, "the register select reads back");
    uint64_t all = 0xFF0000000001AFFF; /* but status and remote IRR */
    ioapic_write_entry(FREE_PIN, all);
    report(ioapic_read_entry(FREE_PIN) == all, "an entry holds ones");
    ioapic_write_entry(FREE_PIN, RTE_MASKED);
    report(ioapic_read_entry(FREE_PIN) == RTE_MASKED, "and zeros");
    ioapic_write_entry(FREE_PIN, RTE_MASKED | RTE_PENDING | RTE_REMOTE_IRR);
    report(ioapic_read_entry(FREE_PIN) == RTE_MASKED,
           "delivery status and remote IRR cannot be written");
}

static void test_edge(void)
{
    begin(to_me(VECTOR));
    unsigned first = pulse();
    unsigned second = pulse();
    line_up();
    guest_take_interrupts();
    unsigned third = arrivals(VECTOR);
    guest_take_interrupts();
    unsigned later = arrivals(VECTOR);
    uint64_t entry = ioapic_read_entry(COM1_PIN);
    end();
    report(first == 1 && second == 1, "edge: each rise interrupts");
    report(third == 3 && later == 3, "edge: a line that stays high interrupts once");
    report((entry & RTE_REMOTE_IRR) == 0, "edge: no remote IRR");
}

static void test_edge_masked(void)
{
    begin(to_me(VECTOR | RTE_MASKED));
    unsigned masked = pulse();
    line_up();
    ioapic_write_entry(COM1_PIN, to_me(VECTOR));
    guest_take_interrupts();
    unsigned unmasked = arrivals_total();
    line_down();
    unsigned next = pulse();
    end();
    report(masked == 0, "edge: a masked pin does not interrupt");
    report(unmasked == 0, "edge: what rose while it was masked is lost");
    report(next == 1, "edge: the next rise interrupts");
}

static volatile uint64_t entry_in_service;
static volatile bool tmr_in_service;

/* Looks, and takes the line away: what a driver does. */
static void handle_level(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    entry_in_service = ioapic_read_entry(COM1_PIN);
    tmr_in_service = apic_vector_bit(APIC_TMR, (uint8_t)frame->vector);
    line_down();
    apic_eoi();
}

static void test_level(void)
{
    begin(to_me(VECTOR | RTE_LEVEL));
    interrupt_set_handler(VECTOR, handle_level);
    line_up();
    guest_take_interrupts();
    guest_take_interrupts();
    unsigned once = arrivals(VECTOR);
    uint64_t in_service = entry_in_service;
    bool level = tmr_in_service;
    uint64_t after = ioapic_read_entry(COM1_PIN);
    ioapic_write_entry(COM1_PIN, to_me(VECTOR));
    interrupt_set_handler(VECTOR, handle_level);
    line_up();
    guest_take_interrupts();
    bool edge = !tmr_in_service;
    end();
    report(once == 1, "level: it interrupts once when the handler lowers the line");
    report((in_service & RTE_REMOTE_IRR) != 0, "level: remote IRR is set in the handler");
    report((after & RTE_REMOTE_IRR) == 0, "level: and clear after EOI");
    report(level, "level: TMR has the vector");
    report(edge, "edge: TMR does not have the vector");
}

/* A level that fell again before the CPU took it: the interrupt was accepted and is delivered. */
static void test_level_falls(void)
{
    begin(to_me(VECTOR | RTE_LEVEL));
    line_up();
    line_down();
    guest_take_interrupts();
    unsigned accepted = arrivals(VECTOR);
    uint64_t after = ioapic_read_entry(COM1_PIN);
    ioapic_write_entry(COM1_PIN, to_me(VECTOR | RTE_LEVEL | RTE_MASKED));
    line_up();
    line_down();
    ioapic_write_entry(COM1_PIN, to_me(VECTOR | RTE_LEVEL));
    guest_take_interrupts();
    unsigned masked = arrivals(VECTOR) - accepted;
    end();
    report(accepted == 1, "level: once accepted it is delivered though the line fell");
    report((after & RTE_REMOTE_IRR) == 0, "level: its EOI clears remote IRR");
    report(masked == 0, "level: one that came and went while masked is none");
}

/* A driver that sees to the device only at the second interrupt. */
static void handle_second_level(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    if (arrivals(VECTOR) == 2) {
        line_down();
    }
    apic_eoi();
}

/* In one write: ioapic_write_entry passes through an edge-triggered entry. */
static void write_low_half(uint32_t low)
{
    ioapic_write(IOAPIC_REDIRECTION + 2 * COM1_PIN, low);
}

/* A driver that masks the pin and sees to the device later. */
static void mask_level(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    write_low_half(VECTOR | RTE_LEVEL | RTE_MASKED);
    entry_in_service = ioapic_read_entry(COM1_PIN);
    apic_eoi();
}

static void test_level_again(void)
{
    begin(to_me(VECTOR | RTE_LEVEL));
    interrupt_set_handler(VECTOR, handle_second_level);
    line_up();
    guest_take_interrupts();
    guest_take_interrupts();
    guest_take_interrupts();
    unsigned again = arrivals(VECTOR);
    arrivals_clear();
    interrupt_set_handler(VECTOR, mask_level);
    line_up();
    guest_take_interrupts();
    guest_take_interrupts();
    unsigned masked = arrivals(VECTOR);
    uint64_t in_service = entry_in_service;
    uint64_t after = ioapic_read_entry(COM1_PIN);
    interrupt_set_handler(VECTOR, handle_level);
    write_low_half(VECTOR | RTE_LEVEL);
    guest_take_interrupts();
    guest_take_interrupts();
    unsigned unmasked = arrivals(VECTOR) - masked;
    end();
    report(again == 2, "level: still up at EOI it interrupts again");
    report(masked == 1, "level: masked in the handler it does not");
    report((in_service & RTE_REMOTE_IRR) != 0, "level: masking keeps remote IRR");
    report((after & RTE_REMOTE_IRR) == 0, "level: EOI clears it though the pin is masked");
    report(unmasked == 1, "level: unmasked while it is up it interrupts");
}

/* In service as a level the entry becomes an edge's: how software without an EOI register frees a pin. */
static void to_edge_and_back(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    line_down();
    ioapic_write_entry(COM1_PIN, to_me(VECTOR | RTE_MASKED));
    entry_in_service = ioapic_read_entry(COM1_PIN);
    ioapic_write_entry(COM1_PIN, to_me(VECTOR | RTE_LEVEL));
    apic_eoi();
}

static void test_level_to_edge(void)
{
    begin(to_me(VECTOR | RTE_LEVEL));
    interrupt_set_handler(VECTOR, to_edge_and_back);
    line_up();
    guest_take_interrupts();
    guest_take_interrupts();
    unsigned first = arrivals(VECTOR);
    uint64_t in_service = entry_in_service;
    interrupt_set_handler(VECTOR, handle_level);
    line_up();
    guest_take_interrupts();
    guest_take_interrupts();
    unsigned second = arrivals(VECTOR) - first;
    end();
    report(first == 1 && (in_service & RTE_REMOTE_IRR) == 0, "level to edge clears remote IRR");
    report(second == 1, "back to level the next one interrupts once");
}

/* Lets go of an interrupt that may be waiting in the I/O APIC as nobody took it. */
static void flush(void)
{
    ioapic_write_entry(COM1_PIN, to_me(VECTOR_OTHER));
    guest_take_interrupts();
}

static void test_route_changes(void)
{
    begin(to_me(VECTOR));
    unsigned old = pulse();
    ioapic_write_entry(COM1_PIN, to_me(VECTOR_OTHER));
    unsigned new = pulse();
    bool vectors = arrivals(VECTOR) == 1 && arrivals(VECTOR_OTHER) == 1;
    ioapic_write_entry(COM1_PIN, (uint64_t)(apic_id() + 8) << 56 | VECTOR);
    unsigned elsewhere = pulse();
    flush();
    end();
    report(old == 1 && new == 1 && vectors, "a new vector is used for the next interrupt");
    report(elsewhere == 0, "a destination that nobody has: nothing arrives");
}

static void test_delivery_modes(void)
{
    apic_write(APIC_DFR, 0xFFFFFFFF);
    apic_write(APIC_LDR, 0x01000000);
    begin(1ULL << 56 | RTE_LOGICAL | VECTOR);
    unsigned logical = pulse();
    ioapic_write_entry(COM1_PIN, 2ULL << 56 | RTE_LOGICAL | VECTOR);
    unsigned unmatched = pulse();
    flush();
    ioapic_write_entry(COM1_PIN, 1ULL << 56 | RTE_LOGICAL | RTE_LOWEST_PRIORITY | VECTOR);
    unsigned lowest = pulse();
    ioapic_write_entry(COM1_PIN, 0xFFULL << 56 | VECTOR);
    unsigned broadcast = pulse();
    ioapic_write_entry(COM1_PIN, to_me(RTE_NMI));
    line_up(); /* interrupts are off */
    line_down();
    unsigned nmi = arrivals(VECTOR_NMI);
    end();
    report(logical == 1, "logical destination");
    report(unmatched == 0, "logical destination of nobody");
    report(lowest == 1, "lowest priority");
    report(broadcast == 1, "physical broadcast");
    report(nmi == 1, "NMI, with interrupts off");
}

static void in_service_only(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
}

/*
 * Directed EOI: SVR bit 12 keeps EOI from the I/O APIC, its own EOI register does it. Not every
 * machine has it, so this is silent unless it is wrong.
 */
static void test_directed_eoi(void)
{
    bool suppression = (apic_read(APIC_VERSION) & BIT32(24)) != 0;
    if ((read_register(IOAPIC_VERSION) & 0xFF) < VERSION_WITH_EOI || !suppression) {
        return;
    }
    begin(to_me(VECTOR | RTE_LEVEL));
    interrupt_set_handler(VECTOR, in_service_only);
    apic_write(APIC_SVR, SVR_ENABLED | 0x1000 | VECTOR_SPURIOUS);
    line_up();
    guest_take_interrupts();
    apic_eoi();
    guest_take_interrupts();
    unsigned suppressed = arrivals(VECTOR);
    bool waits = (ioapic_read_entry(COM1_PIN) & RTE_REMOTE_IRR) != 0;
    line_down();
    *eoi_register = VECTOR;
    bool ended = (ioapic_read_entry(COM1_PIN) & RTE_REMOTE_IRR) == 0;
    apic_write(APIC_SVR, SVR_ENABLED | VECTOR_SPURIOUS);
    end();
    if (suppressed != 1 || !waits || !ended) {
        report(false, "directed EOI: EOI %s suppressed, the EOI register %s",
               suppressed == 1 && waits ? "is" : "is not", ended ? "works" : "does not work");
    }
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "registers", test_registers },           { "edge", test_edge },
        { "edge-masked", test_edge_masked },       { "level", test_level },
        { "level-falls", test_level_falls },       { "level-again", test_level_again },
        { "level-to-edge", test_level_to_edge },   { "route-changes", test_route_changes },
        { "delivery-modes", test_delivery_modes }, { "directed-eoi", test_directed_eoi },
    };
    apic_enable(VECTOR_SPURIOUS);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
