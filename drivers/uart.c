/* SPDX-License-Identifier: MIT */
/* The host's 16550 UARTs (PC16550D data sheet). */
#include "drivers/uart.h"

#include "arch/port_io.h"
#include "arch/x86.h"

enum {
    UART_RBR_THR = 0, /* receive buffer, transmit holding; divisor low with LCR.DLAB */
    UART_IER = 1,     /* divisor high with LCR.DLAB */
    UART_IER_RECEIVE = 0x01,
    UART_IER_TRANSMIT = 0x02,
    UART_IIR_FCR = 2,
    UART_IIR_NONE = 0x01,
    UART_IIR_ID = 0x0E,
    UART_IIR_MODEM = 0x00,
    UART_IIR_TRANSMIT = 0x02,
    UART_IIR_LINE = 0x06,
    UART_FCR_ENABLE_CLEAR = 0x07,
    UART_LCR = 3,
    UART_LCR_8N1 = 0x03,
    UART_LCR_DLAB = 0x80,
    UART_MCR = 4,
    UART_MCR_DTR_RTS = 0x03,
    UART_MCR_OUT2 = 0x08, /* lets the interrupt out on a PC */
    UART_LSR = 5,
    UART_LSR_DATA = 0x01,
    UART_LSR_THRE = 0x20,
    UART_LSR_TEMT = 0x40,
    UART_MSR = 6,
    UART_SCRATCH = 7,
};

enum { DIVISOR_115200 = 1, DEAD_AFTER_READS = 1000000 };

static uint8_t get(const struct uart *uart, unsigned reg)
{
    return inb((uint16_t)(uart->port + reg));
}

static void put(const struct uart *uart, unsigned reg, uint8_t value)
{
    outb((uint16_t)(uart->port + reg), value);
}

static bool is_present(const struct uart *uart)
{
    put(uart, UART_SCRATCH, 0x5A);
    if (get(uart, UART_SCRATCH) != 0x5A) {
        return false;
    }
    put(uart, UART_SCRATCH, 0xA5);
    return get(uart, UART_SCRATCH) == 0xA5;
}

void uart_init(struct uart *uart)
{
    uart->present = is_present(uart);
    if (!uart->present) {
        return;
    }
    uart_enable_interrupts(uart, false, false);
    put(uart, UART_LCR, UART_LCR_DLAB);
    put(uart, UART_RBR_THR, DIVISOR_115200);
    put(uart, UART_IER, 0);
    put(uart, UART_LCR, UART_LCR_8N1);
    put(uart, UART_IIR_FCR, UART_FCR_ENABLE_CLEAR);
    put(uart, UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
}

bool uart_can_send(const struct uart *uart)
{
    return !uart->present || (get(uart, UART_LSR) & UART_LSR_THRE);
}

void uart_send(const struct uart *uart, uint8_t byte)
{
    if (uart->present) {
        put(uart, UART_RBR_THR, byte);
    }
}

void uart_wait(struct uart *uart, bool idle)
{
    uint8_t wanted = idle ? UART_LSR_TEMT : UART_LSR_THRE;
    for (unsigned i = 0; i < DEAD_AFTER_READS; i++) {
        if (!uart->present || (get(uart, UART_LSR) & wanted)) {
            return;
        }
        cpu_relax();
    }
    uart->present = false;
}

void uart_enable_interrupts(struct uart *uart, bool receive, bool transmit)
{
    uint8_t enable = (receive ? UART_IER_RECEIVE : 0) | (transmit ? UART_IER_TRANSMIT : 0);
    if (uart->present && uart->interrupt_enable != enable) {
        put(uart, UART_IER, enable);
        uart->interrupt_enable = enable;
    }
}

size_t uart_serve(const struct uart *uart, char *buffer, size_t size, bool *can_send, bool *more)
{
    size_t count = 0;
    uint8_t iir;
    while (!((iir = get(uart, UART_IIR_FCR)) & UART_IIR_NONE) && count < size) {
        switch (iir & UART_IIR_ID) {
        case UART_IIR_TRANSMIT:
            *can_send = true;
            *more = true; /* the caller fills the FIFO, which may empty before it comes back here */
            return count;
        case UART_IIR_MODEM:
            get(uart, UART_MSR);
            break;
        case UART_IIR_LINE:
            get(uart, UART_LSR);
            break;
        default: /* receive, or receive time-out */
            while (count < size && (get(uart, UART_LSR) & UART_LSR_DATA)) {
                buffer[count++] = (char)get(uart, UART_RBR_THR);
            }
            break;
        }
    }
    *more = !(iir & UART_IIR_NONE);
    return count;
}
