/* SPDX-License-Identifier: MIT */
/*
 * The UART of COM1 (National Semiconductor PC16550D datasheet): registers, loopback, FIFOs, the order of
 * its interrupts, and its line to pin 4 of the I/O APIC. It is the console as well: a test looks first,
 * gives the UART back, and reports then.
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { COM1 = 0x3F8, RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2, LCR = 3 };
enum { MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
enum { IER_RDA = 1, IER_THRE = 2, IER_RLS = 4, IER_MSR = 8 };
enum { IIR_MSR = 0, IIR_NONE = 1, IIR_THRE = 2, IIR_RDA = 4, IIR_RLS = 6, IIR_TIMEOUT = 0xC };
enum { FCR_ENABLE = 1, FCR_CLEAR = 6, FCR_TRIGGER_8 = 0x80, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, COM1_PIN = 4, FIFO_SIZE = 16 };

static uint8_t get(unsigned reg)
{
    return inb((uint16_t)(COM1 + reg));
}

static void put(unsigned reg, unsigned value)
{
    outb((uint16_t)(COM1 + reg), (uint8_t)value);
}

static unsigned cause(void)
{
    return get(IIR) & 0xF;
}

static void drain(void)
{
    while ((get(LSR) & LSR_TEMT) == 0) {
        cpu_relax();
    }
}

static uint8_t saved_lcr;
static uint8_t saved_mcr;

/* FIFOs on and empty, nothing enabled, nothing pending; loopback as asked. */
static void begin(unsigned mcr)
{
    drain();
    saved_lcr = get(LCR);
    saved_mcr = get(MCR);
    put(IER, 0);
    put(MCR, mcr);
    put(FCR, FCR_ENABLE | FCR_CLEAR);
    (void)get(LSR);
    (void)get(MSR);
    (void)get(IIR);
}

static void end(void)
{
    drain();
    put(IER, 0);
    put(FCR, FCR_ENABLE | FCR_CLEAR);
    put(LCR, saved_lcr);
    put(MCR, saved_mcr);
    (void)get(LSR);
    (void)get(MSR);
    (void)get(RBR);
}

static void send(unsigned byte)
{
    put(THR, byte);
    drain();
}

/* A byte more than fits; LSR is not looked at. */
static void send_too_many(void)
{
    const volatile uint64_t never = 0;
    for (unsigned i = 0; i < FIFO_SIZE; i++) {
        send(0x40 + i);
    }
    put(THR, 0x7F);
    guest_wait(&never, 100000);
}

static void test_registers(void)
{
    begin(0);
    bool scratch = true;
    for (unsigned value = 0; value < 256; value++) {
        put(SCR, value);
        scratch = get(SCR) == value && scratch;
    }
    put(IER, 0xF0);
    unsigned ier_high = get(IER);
    put(IER, IER_RDA | IER_RLS | IER_MSR);
    unsigned ier = get(IER);
    put(IER, 0);
    put(MCR, MCR_LOOP | 0xE0);
    unsigned mcr_high = get(MCR);
    put(MCR, 0);
    unsigned dll = 0, dlm = 0;
    put(LCR, LCR_DLAB | 3);
    unsigned old_dll = get(DLL), old_dlm = get(DLM);
    put(DLL, 0x5A);
    put(DLM, 0xA5);
    dll = get(DLL);
    dlm = get(DLM);
    put(DLL, old_dll);
    put(DLM, old_dlm);
    put(LCR, 0x1B);
    unsigned lcr = get(LCR);
    unsigned ier_after = get(IER);
    put(LCR, 3);
    end();
    report(scratch, "the scratch register holds every value");
    report(ier == (IER_RDA | IER_RLS | IER_MSR), "IER has bits 3:0");
    report(ier_high == 0, "IER bits 7:4 are 0");
    report(mcr_high == MCR_LOOP, "MCR bits 7:5 are 0");
    report(lcr == 0x1B, "LCR reads back");
    report(dll == 0x5A && dlm == 0xA5, "with DLAB the divisor reads back");
    report(ier_after == 0, "and is not IER");
}

static void test_fifo_enable(void)
{
    begin(0);
    unsigned on = get(IIR);
    put(FCR, 0);
    unsigned off = get(IIR);
    put(FCR, FCR_ENABLE);
    unsigned again = get(IIR);
    end();
    report((on & 0xC0) == 0xC0 && (again & 0xC0) == 0xC0, "IIR bits 7:6 are 1 with FIFOs");
    report((off & 0xC0) == 0, "and 0 without");
    report((on & 0xF) == IIR_NONE, "nothing is pending when nothing is enabled");
}

/* MCR's outputs come back as MSR's inputs; changes are noted in MSR bits 3:0 until it is read. */
static void test_loopback_modem(void)
{
    static const uint8_t outputs[] = { MCR_RTS, MCR_DTR, MCR_OUT1, MCR_OUT2 };
    bool lines = true;
    begin(MCR_LOOP);
    for (unsigned i = 0; i < ARRAY_SIZE(outputs); i++) {
        put(MCR, MCR_LOOP | outputs[i]);
        lines = (get(MSR) & 0xF0) == BIT32(4 + i) && lines;
    }
    put(MCR, MCR_LOOP);
    (void)get(MSR);
    put(MCR, MCR_LOOP | MCR_RTS | MCR_DTR);
    unsigned changed = get(MSR);
    unsigned read_again = get(MSR);
    end();
    report(lines, "loopback: RTS, DTR, OUT1 and OUT2 are CTS, DSR, RI and DCD");
    report((changed & 0xF) == 3, "loopback: their changes are noted");
    report((read_again & 0xF) == 0, "until MSR is read");
}

static void test_loopback_data(void)
{
    begin(MCR_LOOP);
    unsigned empty = get(LSR);
    send(0xA5);
    unsigned full = get(LSR);
    unsigned byte = get(RBR);
    unsigned after = get(LSR);
    for (unsigned i = 0; i < FIFO_SIZE; i++) {
        send(0x40 + i);
    }
    unsigned no_overrun = get(LSR);
    bool order = true;
    for (unsigned i = 0; i < FIFO_SIZE; i++) {
        order = (get(LSR) & LSR_DR) != 0 && get(RBR) == 0x40 + i && order;
    }
    unsigned drained = get(LSR);
    send(1);
    put(FCR, FCR_ENABLE | 2);
    unsigned cleared = get(LSR);
    end();
    report((empty & (LSR_DR | LSR_THRE | LSR_TEMT)) == (LSR_THRE | LSR_TEMT),
           "idle: nothing received, the transmitter empty");
    report((full & LSR_DR) != 0 && byte == 0xA5, "loopback: a byte comes back");
    report((after & LSR_DR) == 0, "loopback: reading it empties the receiver");
    report(order && (no_overrun & LSR_OE) == 0, "loopback: the FIFO holds 16 bytes in their order");
    report((drained & LSR_DR) == 0, "loopback: and is empty after 16 reads");
    report((cleared & LSR_DR) == 0, "loopback: FCR bit 1 empties it");
}

static void test_overrun(void)
{
    begin(MCR_LOOP);
    send_too_many();
    unsigned overrun = get(LSR);
    unsigned read_again = get(LSR);
    unsigned first = get(RBR);
    end();
    report((overrun & LSR_OE) != 0, "the 17th byte is an overrun");
    report((read_again & LSR_OE) == 0, "which reading LSR clears");
    report(first == 0x40, "the FIFO keeps what it had");
}

/* Table "Interrupt Control Functions": priorities, and what resets each. */
static void test_causes(void)
{
    begin(MCR_LOOP);
    put(IER, IER_THRE);
    unsigned thre = cause();
    unsigned thre_read = cause();
    put(IER, 0);
    put(IER, IER_THRE);
    unsigned thre_again = cause();
    put(IER, IER_MSR);
    put(MCR, MCR_LOOP | MCR_RTS);
    unsigned msr = cause();
    (void)get(MSR);
    unsigned msr_read = cause();
    put(IER, 0);
    send(1);
    put(IER, IER_RDA);
    unsigned rda = cause();
    (void)get(RBR);
    unsigned rda_read = cause();
    end();
    report(thre == IIR_THRE, "IIR: the transmitter is empty");
    report(thre_read == IIR_NONE, "IIR: reading it resets that");
    report(thre_again == IIR_THRE, "IIR: enabling it with the transmitter empty sets it");
    report(msr == IIR_MSR && msr_read == IIR_NONE, "IIR: modem status, until MSR is read");
    report(rda == IIR_RDA && rda_read == IIR_NONE, "IIR: received data, until it is read");
}

static void test_priorities(void)
{
    begin(MCR_LOOP);
    send_too_many();
    put(MCR, MCR_LOOP | MCR_RTS);
    put(IER, IER_RDA | IER_THRE | IER_RLS | IER_MSR);
    unsigned first = cause();
    (void)get(LSR);
    unsigned second = cause();
    for (unsigned i = 0; i < FIFO_SIZE; i++) {
        (void)get(RBR);
    }
    unsigned third = cause();
    unsigned fourth = cause();
    (void)get(MSR);
    unsigned last = cause();
    end();
    report(first == IIR_RLS, "IIR: the line status comes first");
    report(second == IIR_RDA, "IIR: then received data");
    report(third == IIR_THRE, "IIR: then the transmitter");
    report(fourth == IIR_MSR, "IIR: then the modem status");
    report(last == IIR_NONE, "IIR: then nothing");
}

/* The trigger level holds data back, until four characters' time has passed without a read. */
static void test_trigger(void)
{
    begin(MCR_LOOP);
    put(FCR, FCR_ENABLE | FCR_CLEAR | FCR_TRIGGER_8);
    put(IER, IER_RDA);
    for (unsigned i = 0; i < 8; i++) {
        send(i);
    }
    unsigned at_level = cause();
    for (unsigned i = 0; i < 7; i++) {
        (void)get(RBR);
    }
    unsigned waited = IIR_NONE;
    for (uint64_t start = rdtsc(); waited == IIR_NONE && rdtsc() - start < 20000000;) {
        waited = cause();
    }
    (void)get(RBR);
    unsigned empty = cause();
    end();
    report(at_level == IIR_RDA || at_level == IIR_TIMEOUT, "IIR: data at the trigger level");
    report(waited == IIR_TIMEOUT, "IIR: below it a time-out");
    report(empty == IIR_NONE, "IIR: until the last one is read");
}

static volatile unsigned seen_cause;

static void handle(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    seen_cause = cause();
    apic_eoi();
}

static void test_interrupt(void)
{
    apic_enable(VECTOR_SPURIOUS);
    begin(MCR_OUT2);
    interrupt_set_handler(VECTOR, handle);
    arrivals_clear();
    ioapic_write_entry(COM1_PIN, (uint64_t)apic_id() << 56 | VECTOR);
    guest_take_interrupts();
    unsigned idle = arrivals_total();
    put(IER, IER_THRE);
    guest_take_interrupts();
    unsigned enabled = arrivals_total();
    unsigned enabled_cause = seen_cause;
    guest_take_interrupts();
    unsigned once = arrivals_total();
    put(IER, 0);
    put(MCR, 0);
    put(IER, IER_THRE);
    guest_take_interrupts();
    unsigned gated = arrivals_total();
    put(IER, 0);
    ioapic_write_entry(COM1_PIN, RTE_MASKED);
    end();
    report(idle == 0, "interrupt: none before it is enabled");
    report(enabled == 1 && enabled_cause == IIR_THRE, "interrupt: the transmitter is empty");
    report(once == 1, "interrupt: once");
    report(gated == 1, "interrupt: none without OUT2");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "registers", test_registers },
        { "fifo-enable", test_fifo_enable },
        { "loopback-modem", test_loopback_modem },
        { "loopback-data", test_loopback_data },
        { "overrun", test_overrun },
        { "causes", test_causes },
        { "priorities", test_priorities },
        { "trigger", test_trigger },
        { "interrupt", test_interrupt },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
