/* SPDX-License-Identifier: MIT */
/*
 * COM1 of a VM: a 16550A UART on I/O APIC pin 4. The line is infinitely fast: what is written to
 * THR has left at once, so THR is always empty; received bytes wait in a backlog until the FIFO has
 * room.
 */
#include "guest/uart.h"

#include "apic/ioapic.h"

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

static unsigned capacity(const struct uart *uart)
{
    return (uart->fifo_control & FCR_ENABLE) != 0 ? UART_FIFO : 1;
}

static unsigned trigger_level(const struct uart *uart)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };

    if ((uart->fifo_control & FCR_ENABLE) == 0) {
        return 1;
    }
    return levels[uart->fifo_control >> FCR_TRIGGER_SHIFT];
}

/* --- Interrupts ------------------------------------------------------------------------------- */

/* What IIR names: the pending and enabled source of the highest priority. */
static uint8_t interrupt_source(const struct uart *uart)
{
    uint8_t enabled = uart->interrupt_enable;

    if (uart->overrun && (enabled & IER_LINE) != 0) {
        return IIR_LINE_STATUS;
    }
    if (uart->fifo_count > 0 && (enabled & IER_RECEIVE) != 0) {
        return uart->fifo_count >= trigger_level(uart) ? IIR_RECEIVED : IIR_TIMEOUT;
    }
    if (uart->transmit_pending && (enabled & IER_TRANSMIT) != 0) {
        return IIR_TRANSMIT;
    }
    if (uart->modem_deltas != 0 && (enabled & IER_MODEM) != 0) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

/* On a PC, OUT2 gates the interrupt; in loop-back mode the OUT2 pin is off. */
static void update_line(struct uart *uart)
{
    bool gate = (uart->modem_control & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
    bool line = gate && interrupt_source(uart) != IIR_NONE;

    if (line != uart->line) {
        uart->line = line;
        ioapic_set_line(uart->apic, UART_PIN, line);
    }
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void push(struct uart *uart, uint8_t byte)
{
    if (uart->fifo_count == capacity(uart)) {
        uart->overrun = true;
        return;
    }
    uart->fifo[(uart->fifo_start + uart->fifo_count++) % UART_FIFO] = byte;
}

/* Let waiting bytes come in while there is room; the line is cut off in loop-back mode. */
static void refill(struct uart *uart)
{
    while (uart->backlog_count > 0 && uart->fifo_count < capacity(uart) &&
           (uart->modem_control & MCR_LOOP) == 0) {
        push(uart, uart->backlog[uart->backlog_start]);
        uart->backlog_start = (uart->backlog_start + 1) % UART_BACKLOG;
        uart->backlog_count--;
    }
}

static uint8_t read_received(struct uart *uart)
{
    uint8_t byte = uart->fifo[uart->fifo_start];

    if (uart->fifo_count > 0) {
        uart->fifo_start = (uart->fifo_start + 1) % UART_FIFO;
        uart->fifo_count--;
        refill(uart);
    }
    return byte;
}

static void clear_received(struct uart *uart)
{
    uart->fifo_start = 0;
    uart->fifo_count = 0;
    refill(uart);
}

void uart_receive(void *device, uint8_t byte)
{
    struct uart *uart = device;

    spin_lock(&uart->lock);
    if (uart->backlog_count < UART_BACKLOG) {
        unsigned end = (uart->backlog_start + uart->backlog_count++) % UART_BACKLOG;
        uart->backlog[end] = byte;
    } else {
        uart->overrun = true;
    }
    refill(uart);
    update_line(uart);
    spin_unlock(&uart->lock);
}

/* --- Modem lines ------------------------------------------------------------------------------ */

/* Bits 7:4 of MSR: a terminal is there; in loop-back mode MCR's outputs come back. */
static uint8_t modem_lines(const struct uart *uart)
{
    static const uint8_t loop[4] = { MSR_DSR, MSR_CTS, MSR_RI, MSR_DCD }; /* DTR RTS OUT1 OUT2 */
    uint8_t lines = 0;

    if ((uart->modem_control & MCR_LOOP) == 0) {
        return MSR_CTS | MSR_DSR | MSR_DCD;
    }
    for (unsigned i = 0; i < 4; i++) {
        if ((uart->modem_control & 1 << i) != 0) {
            lines |= loop[i];
        }
    }
    return lines;
}

static void write_modem_control(struct uart *uart, uint8_t value)
{
    uint8_t before = modem_lines(uart);

    uart->modem_control = value & MCR_MASK;
    uint8_t after = modem_lines(uart);
    uint8_t deltas = (uint8_t)((before ^ after) >> MSR_DELTA_SHIFT);
    if ((after & MSR_RI) != 0) {
        deltas &= (uint8_t)~MSR_TRAILING_RI; /* only the trailing edge of RI counts */
    }
    uart->modem_deltas |= deltas;
    refill(uart);
}

/* --- Registers -------------------------------------------------------------------------------- */

static uint8_t read_identification(struct uart *uart)
{
    uint8_t source = interrupt_source(uart);

    if (source == IIR_TRANSMIT) {
        uart->transmit_pending = false;
    }
    return source | ((uart->fifo_control & FCR_ENABLE) != 0 ? IIR_FIFOS : 0);
}

static uint8_t read_line_status(struct uart *uart)
{
    uint8_t status = LSR_THR_EMPTY | LSR_IDLE;

    if (uart->fifo_count > 0) {
        status |= LSR_DATA_READY;
    }
    if (uart->overrun) {
        status |= LSR_OVERRUN;
    }
    uart->overrun = false;
    return status;
}

static uint8_t read_modem_status(struct uart *uart)
{
    uint8_t status = modem_lines(uart) | uart->modem_deltas;

    uart->modem_deltas = 0;
    return status;
}

static uint8_t read_register(struct uart *uart, unsigned reg)
{
    bool divisor = (uart->line_control & LCR_DLAB) != 0;

    switch (reg) {
    case RBR_THR:
        return divisor ? (uint8_t)uart->divisor : read_received(uart);
    case IER:
        return divisor ? (uint8_t)(uart->divisor >> 8) : uart->interrupt_enable;
    case IIR_FCR:
        return read_identification(uart);
    case LCR:
        return uart->line_control;
    case MCR:
        return uart->modem_control;
    case LSR:
        return read_line_status(uart);
    case MSR:
        return read_modem_status(uart);
    default:
        return uart->scratch;
    }
}

static void transmit(struct uart *uart, uint8_t byte)
{
    if ((uart->modem_control & MCR_LOOP) != 0) {
        push(uart, byte);
    } else {
        terminal_put(uart->terminal, byte);
    }
    uart->transmit_pending = true;
}

static void write_interrupt_enable(struct uart *uart, uint8_t value)
{
    uint8_t before = uart->interrupt_enable;

    uart->interrupt_enable = value & IER_MASK;
    if ((~before & value & IER_TRANSMIT) != 0) {
        uart->transmit_pending = true; /* THR is empty: enabling says so */
    } else if ((before & ~value & IER_TRANSMIT) != 0) {
        terminal_flush(uart->terminal); /* the driver's queue is empty */
    }
}

static void write_fifo_control(struct uart *uart, uint8_t value)
{
    bool toggled = ((uart->fifo_control ^ value) & FCR_ENABLE) != 0;

    uart->fifo_control = (value & FCR_ENABLE) != 0 ? value & FCR_KEPT : 0;
    if (toggled || (value & FCR_CLEAR_RECEIVE) != 0) {
        clear_received(uart);
    }
}

static void write_register(struct uart *uart, unsigned reg, uint8_t value)
{
    bool divisor = (uart->line_control & LCR_DLAB) != 0;

    switch (reg) {
    case RBR_THR:
        if (divisor) {
            uart->divisor = (uint16_t)((uart->divisor & 0xFF00) | value);
        } else {
            transmit(uart, value);
        }
        break;
    case IER:
        if (divisor) {
            uart->divisor = (uint16_t)((uart->divisor & 0x00FF) | value << 8);
        } else {
            write_interrupt_enable(uart, value);
        }
        break;
    case IIR_FCR:
        write_fifo_control(uart, value);
        break;
    case LCR:
        uart->line_control = value;
        break;
    case MCR:
        write_modem_control(uart, value);
        break;
    case SCR:
        uart->scratch = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
}

uint8_t uart_read(struct uart *uart, unsigned reg)
{
    spin_lock(&uart->lock);
    uint8_t value = read_register(uart, reg);
    update_line(uart);
    spin_unlock(&uart->lock);
    return value;
}

void uart_write(struct uart *uart, unsigned reg, uint8_t value)
{
    spin_lock(&uart->lock);
    write_register(uart, reg, value);
    update_line(uart);
    spin_unlock(&uart->lock);
}

static uint64_t read_ports(void *device, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size && offset + i < UART_PORTS; i++) {
        value |= (uint64_t)uart_read(device, (unsigned)offset + i) << (8 * i);
    }
    return value;
}

static void write_ports(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size && offset + i < UART_PORTS; i++) {
        uart_write(device, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
    }
}

int uart_init(struct uart *uart, struct vm *vm, struct terminal *terminal)
{
    static const struct io_ops ops = { read_ports, write_ports };

    *uart = (struct uart){ .apic = &vm->apic, .terminal = terminal };
    uart_reset(uart);
    terminal_init(terminal, vm->name, uart_receive, uart);
    return vm_add_io(vm, UART_PORT, UART_PORTS, &ops, uart);
}

void uart_reset(struct uart *uart)
{
    uart->interrupt_enable = 0;
    uart->line_control = 0;
    uart->modem_control = 0;
    uart->modem_deltas = 0;
    uart->fifo_control = 0;
    uart->divisor = 0;
    uart->transmit_pending = false;
    uart->overrun = false;
    clear_received(uart);
    update_line(uart);
}
