/* SPDX-License-Identifier: MIT */
/*
 * LINT0 in other modes than ExtINT (SDM volume 3, "Local Vector Table"). A PC wires it to INT of the 8259
 * pair, and without an acknowledge that is up as long as an unmasked line asks: here line 0, which the timer
 * raises. Bochs has INT at the boot CPU's INTR whatever LVT0 says.
 *
 * guest: rivet-only
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_NMI = 2, VECTOR_SPURIOUS = 0xEF };
enum { PIC = 0x20, PIC_MASK = 0x21, ICW1 = 0x11, ICW2 = 0x40, ICW3 = 4, ICW4 = 1, READ_IRR = 0x0A };
enum { LINE_0 = 1 << 0, ALL_MASKED = 0xFF };
enum { PIT = 0x40, PIT_CONTROL = 0x43, PIT_MODE_0 = 0x30, SOON = 40, LATER = 20000 };
enum { LVT_NMI = 0x400, LVT_REMOTE_IRR = 0x4000, LVT_LEVEL = 0x8000 };

static void lint0_up(void)
{
    outb(PIC_MASK, ALL_MASKED & ~LINE_0);
}

static void lint0_down(void)
{
    outb(PIC_MASK, ALL_MASKED);
}

static void start_timer(unsigned ticks)
{
    outb(PIT_CONTROL, PIT_MODE_0);
    outb(PIT, ticks & 0xFF);
    outb(PIT, (uint8_t)(ticks >> 8));
}

static void init_pic(void)
{
    outb(PIC, ICW1);
    outb(PIC_MASK, ICW2);
    outb(PIC_MASK, ICW3);
    outb(PIC_MASK, ICW4);
    outb(PIC_MASK, ALL_MASKED);
}

/* Line 0 asks, but its mask holds it back. */
static void begin(uint32_t lvt0)
{
    init_pic();
    start_timer(SOON);
    do {
        outb(PIC, READ_IRR);
    } while ((inb(PIC) & LINE_0) == 0);
    arrivals_clear();
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_NMI);
    apic_write(APIC_LVT_LINT0, lvt0);
}

static void end(void)
{
    lint0_down();
    guest_take_interrupts();
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
}

static unsigned taken(void)
{
    guest_take_interrupts();
    guest_take_interrupts();
    return arrivals_total();
}

static void test_edge(void)
{
    begin(VECTOR);
    lint0_up();
    report(taken() == 1, "edge: a rise interrupts");
    report(taken() == 1, "edge: once");
    lint0_down();
    lint0_up();
    report(taken() == 2, "edge: so does the next one");
    lint0_down();
    apic_write(APIC_LVT_LINT0, LVT_MASKED | VECTOR);
    lint0_up();
    report(taken() == 2, "edge: masked it does not");
    apic_write(APIC_LVT_LINT0, VECTOR);
    report(taken() == 2, "edge: what rose while it was masked is lost");
    end();
}

static volatile uint32_t lvt_in_service;

static void handle_level(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    lvt_in_service = apic_read(APIC_LVT_LINT0);
    if (arrivals(VECTOR) % 2 == 0) {
        lint0_down();
    }
    apic_eoi();
}

static void test_level(void)
{
    begin(LVT_LEVEL | VECTOR);
    interrupt_set_handler(VECTOR, handle_level);
    lint0_up();
    report(taken() == 2, "level: still up at EOI it interrupts again");
    report((lvt_in_service & LVT_REMOTE_IRR) != 0, "level: remote IRR is set in the handler");
    report((apic_read(APIC_LVT_LINT0) & LVT_REMOTE_IRR) == 0, "level: and clear after EOI");
    apic_write(APIC_LVT_LINT0, LVT_MASKED | LVT_LEVEL | VECTOR);
    lint0_up();
    report(taken() == 2, "level: masked it does not interrupt");
    apic_write(APIC_LVT_LINT0, LVT_LEVEL | VECTOR);
    report(taken() == 4, "level: unmasked while it is up it does");
    end();
}

static void test_nmi(void)
{
    begin(LVT_NMI | LVT_LEVEL);
    lint0_up();
    report(arrivals(VECTOR_NMI) == 1, "NMI: with interrupts off");
    report(taken() == 1, "NMI: once, whatever the trigger mode says");
    end();
}

/* Would hang: nothing else ends this HLT. */
static void test_nmi_ends_halt(void)
{
    begin(LVT_NMI);
    init_pic();
    lint0_up();
    start_timer(LATER);
    __asm__ volatile("cli; hlt" : : : "memory");
    report(arrivals(VECTOR_NMI) == 1, "NMI: it ends HLT with interrupts off");
    end();
}

static void run_all(const char *mode)
{
    (void)mode;
    apic_enable(VECTOR_SPURIOUS);
    test_edge();
    test_level();
    test_nmi();
    test_nmi_ends_halt();
}

void guest_main(void)
{
    apic_run_both_modes(run_all);
}
