/* SPDX-License-Identifier: MIT */
/*
 * COM1 of a VM: a 16550A UART on I/O APIC pin 4. The line is infinitely fast: what is written to
 * THR has left at once, so THR is always empty; received bytes wait in a backlog until the FIFO has
 * room.
 */
#include "guest/serial.h"

#include "guest/isa_irq.h"

/* Registers. */
enum { RBR_THR = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

enum { IER_RECEIVE = 1 << 0, IER_TRANSMIT = 1 << 1, IER_LINE = 1 << 2, IER_MODEM = 1 << 3 };
enum { IER_MASK = 0x0F };

/* Interrupt identification, in falling priority, and the FIFOs' bits. */
enum {
    IIR_LINE_STATUS = 0x06,
    IIR_RECEIVED = 0x04,
    IIR_TIMEOUT = 0x0C, /* bytes below the trigger level have waited */
    IIR_TRANSMIT = 0x02,
    IIR_MODEM = 0x00,
    IIR_NONE = 0x01,
    IIR_FIFOS = 0xC0,
};

enum {
    FCR_ENABLE = 1 << 0,
    FCR_CLEAR_RECEIVE = 1 << 1,
    FCR_CLEAR_TRANSMIT = 1 << 2,
    FCR_TRIGGER_SHIFT = 6,
    FCR_KEPT = FCR_ENABLE | 3 << FCR_TRIGGER_SHIFT,
};

enum { LCR_DLAB = 1 << 7 };
enum { MCR_OUT2 = 1 << 3, MCR_LOOP = 1 << 4, MCR_MASK = 0x1F };
enum { LSR_DATA_READY = 1 << 0, LSR_OVERRUN = 1 << 1, LSR_THR_EMPTY = 1 << 5, LSR_IDLE = 1 << 6 };
enum { MSR_CTS = 1 << 4, MSR_DSR = 1 << 5, MSR_RI = 1 << 6, MSR_DCD = 1 << 7 };
enum { MSR_DELTA_SHIFT = 4, MSR_TRAILING_RI = 1 << 2 };

static unsigned capacity(const struct serial *serial)
{
    return (serial->fifo_control & FCR_ENABLE) != 0 ? SERIAL_FIFO : 1;
}

static unsigned trigger_level(const struct serial *serial)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };

    if ((serial->fifo_control & FCR_ENABLE) == 0) {
        return 1;
    }
    return levels[serial->fifo_control >> FCR_TRIGGER_SHIFT];
}

/* --- Interrupts ------------------------------------------------------------------------------- */

/* What IIR names: the pending and enabled source of the highest priority. */
static uint8_t interrupt_source(const struct serial *serial)
{
    uint8_t enabled = serial->interrupt_enable;

    if (serial->overrun && (enabled & IER_LINE) != 0) {
        return IIR_LINE_STATUS;
    }
    if (serial->fifo_count > 0 && (enabled & IER_RECEIVE) != 0) {
        return serial->fifo_count >= trigger_level(serial) ? IIR_RECEIVED : IIR_TIMEOUT;
    }
    if (serial->transmit_pending && (enabled & IER_TRANSMIT) != 0) {
        return IIR_TRANSMIT;
    }
    if (serial->modem_deltas != 0 && (enabled & IER_MODEM) != 0) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

/* On a PC, OUT2 gates the interrupt; in loop-back mode the OUT2 pin is off. */
static void update_line(struct serial *serial)
{
    bool gate = (serial->modem_control & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    bool line = gate && interrupt_source(serial) != IIR_NONE;

    if (line != serial->line) {
        serial->line = line;
        isa_irq_set(serial->vm, SERIAL_PIN, line);
    }
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void push(struct serial *serial, uint8_t byte)
{
    if (serial->fifo_count == capacity(serial)) {
        serial->overrun = true;
        return;
    }
    serial->fifo[(serial->fifo_start + serial->fifo_count++) % SERIAL_FIFO] = byte;
}

/* Let waiting bytes come in while there is room; the line is cut off in loop-back mode. */
static void refill(struct serial *serial)
{
    while (serial->backlog_count > 0 && serial->fifo_count < capacity(serial) &&
           (serial->modem_control & MCR_LOOP) == 0) {
        push(serial, serial->backlog[serial->backlog_start]);
        serial->backlog_start = (serial->backlog_start + 1) % SERIAL_BACKLOG;
        serial->backlog_count--;
    }
}

static uint8_t read_received(struct serial *serial)
{
    uint8_t byte = serial->fifo[serial->fifo_start];

    if (serial->fifo_count > 0) {
        serial->fifo_start = (serial->fifo_start + 1) % SERIAL_FIFO;
        serial->fifo_count--;
        refill(serial);
    }
    return byte;
}

static void clear_received(struct serial *serial)
{
    serial->fifo_start = 0;
    serial->fifo_count = 0;
    refill(serial);
}

void serial_receive(void *device, uint8_t byte)
{
    struct serial *serial = device;

    spin_lock(&serial->lock);
    if (serial->backlog_count < SERIAL_BACKLOG) {
        unsigned end = (serial->backlog_start + serial->backlog_count++) % SERIAL_BACKLOG;
        serial->backlog[end] = byte;
    } else {
        serial->overrun = true;
    }
    if (!serial->held) {
        refill(serial);
        update_line(serial);
    }
    spin_unlock(&serial->lock);
}

void serial_hold(struct serial *serial, bool hold)
{
    spin_lock(&serial->lock);
    serial->held = hold;
    if (!hold) {
        refill(serial);
        update_line(serial);
    }
    spin_unlock(&serial->lock);
}

/* --- Modem lines ------------------------------------------------------------------------------ */

/* Bits 7:4 of MSR: a terminal is there; in loop-back mode MCR's outputs come back. */
static uint8_t modem_lines(const struct serial *serial)
{
    static const uint8_t loop[4] = { MSR_DSR, MSR_CTS, MSR_RI, MSR_DCD }; /* DTR RTS OUT1 OUT2 */
    uint8_t lines = 0;

    if ((serial->modem_control & MCR_LOOP) == 0) {
        return MSR_CTS | MSR_DSR | MSR_DCD;
    }
    for (unsigned i = 0; i < 4; i++) {
        if ((serial->modem_control & 1 << i) != 0) {
            lines |= loop[i];
        }
    }
    return lines;
}

static void write_modem_control(struct serial *serial, uint8_t value)
{
    uint8_t before = modem_lines(serial);

    serial->modem_control = value & MCR_MASK;
    uint8_t after = modem_lines(serial);
    uint8_t deltas = (uint8_t)((before ^ after) >> MSR_DELTA_SHIFT);
    if ((after & MSR_RI) != 0) {
        deltas &= (uint8_t)~MSR_TRAILING_RI; /* only the trailing edge of RI counts */
    }
    serial->modem_deltas |= deltas;
    refill(serial);
}

/* --- Registers -------------------------------------------------------------------------------- */

static uint8_t read_identification(struct serial *serial)
{
    uint8_t source = interrupt_source(serial);

    if (source == IIR_TRANSMIT) {
        serial->transmit_pending = false;
    }
    return source | ((serial->fifo_control & FCR_ENABLE) != 0 ? IIR_FIFOS : 0);
}

static uint8_t read_line_status(struct serial *serial)
{
    uint8_t status = LSR_THR_EMPTY | LSR_IDLE;

    if (serial->fifo_count > 0) {
        status |= LSR_DATA_READY;
    }
    if (serial->overrun) {
        status |= LSR_OVERRUN;
    }
    serial->overrun = false;
    return status;
}

static uint8_t read_modem_status(struct serial *serial)
{
    uint8_t status = modem_lines(serial) | serial->modem_deltas;

    serial->modem_deltas = 0;
    return status;
}

static uint8_t read_register(struct serial *serial, unsigned reg)
{
    bool divisor = (serial->line_control & LCR_DLAB) != 0;

    switch (reg) {
    case RBR_THR:
        return divisor ? (uint8_t)serial->divisor : read_received(serial);
    case IER:
        return divisor ? (uint8_t)(serial->divisor >> 8) : serial->interrupt_enable;
    case IIR_FCR:
        return read_identification(serial);
    case LCR:
        return serial->line_control;
    case MCR:
        return serial->modem_control;
    case LSR:
        return read_line_status(serial);
    case MSR:
        return read_modem_status(serial);
    default:
        return serial->scratch;
    }
}

static void transmit(struct serial *serial, uint8_t byte)
{
    if ((serial->modem_control & MCR_LOOP) != 0) {
        push(serial, byte);
    } else {
        terminal_put(serial->terminal, byte);
    }
    serial->transmit_pending = true;
}

static void write_interrupt_enable(struct serial *serial, uint8_t value)
{
    uint8_t before = serial->interrupt_enable;

    serial->interrupt_enable = value & IER_MASK;
    if ((~before & value & IER_TRANSMIT) != 0) {
        serial->transmit_pending = true; /* THR is empty: enabling says so */
    } else if ((before & ~value & IER_TRANSMIT) != 0) {
        terminal_flush(serial->terminal); /* the driver's queue is empty */
    }
}

static void write_fifo_control(struct serial *serial, uint8_t value)
{
    bool toggled = ((serial->fifo_control ^ value) & FCR_ENABLE) != 0;

    serial->fifo_control = (value & FCR_ENABLE) != 0 ? value & FCR_KEPT : 0;
    if (toggled || (value & FCR_CLEAR_RECEIVE) != 0) {
        clear_received(serial);
    }
}

static void write_register(struct serial *serial, unsigned reg, uint8_t value)
{
    bool divisor = (serial->line_control & LCR_DLAB) != 0;

    switch (reg) {
    case RBR_THR:
        if (divisor) {
            serial->divisor = (uint16_t)((serial->divisor & 0xFF00) | value);
        } else {
            transmit(serial, value);
        }
        break;
    case IER:
        if (divisor) {
            serial->divisor = (uint16_t)((serial->divisor & 0x00FF) | value << 8);
        } else {
            write_interrupt_enable(serial, value);
        }
        break;
    case IIR_FCR:
        write_fifo_control(serial, value);
        break;
    case LCR:
        serial->line_control = value;
        break;
    case MCR:
        write_modem_control(serial, value);
        break;
    case SCR:
        serial->scratch = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
}

uint8_t serial_read(struct serial *serial, unsigned reg)
{
    spin_lock(&serial->lock);
    uint8_t value = read_register(serial, reg);
    update_line(serial);
    spin_unlock(&serial->lock);
    return value;
}

void serial_write(struct serial *serial, unsigned reg, uint8_t value)
{
    spin_lock(&serial->lock);
    write_register(serial, reg, value);
    update_line(serial);
    spin_unlock(&serial->lock);
}

static uint64_t read_ports(void *device, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size && offset + i < SERIAL_PORTS; i++) {
        value |= (uint64_t)serial_read(device, (unsigned)offset + i) << (8 * i);
    }
    return value;
}

static void write_ports(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size && offset + i < SERIAL_PORTS; i++) {
        serial_write(device, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
    }
}

int serial_init(struct serial *serial, struct vm *vm, struct terminal *terminal)
{
    static const struct io_ops ops = { read_ports, write_ports };

    *serial = (struct serial){ .vm = vm, .terminal = terminal };
    serial_reset(serial);
    terminal_init(terminal, vm->name, serial_receive, serial);
    return vm_add_io(vm, SERIAL_PORT, SERIAL_PORTS, &ops, serial);
}

void serial_reset(struct serial *serial)
{
    serial->interrupt_enable = 0;
    serial->line_control = 0;
    serial->modem_control = 0;
    serial->modem_deltas = 0;
    serial->fifo_control = 0;
    serial->divisor = 0;
    serial->transmit_pending = false;
    serial->overrun = false;
    clear_received(serial);
    update_line(serial);
}
