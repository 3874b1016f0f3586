/* SPDX-License-Identifier: MIT */
/* COM1 of a VM: a 16550A UART (National Semiconductor PC16550D data sheet) on I/O APIC pin 4. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/terminal.h"
#include "lib/spinlock.h"
#include "vmx/vm.h"

enum {
    SERIAL_PORT = 0x3F8,
    SERIAL_PORTS = 8,
    SERIAL_PIN = 4,
    SERIAL_FIFO = 16,
    SERIAL_BACKLOG = 4096
};

struct serial {
    struct spinlock lock; /* everything below; taken before I/O APIC and terminal locks */
    struct vm *vm;
    struct terminal *terminal;
    uint8_t interrupt_enable; /* IER */
    uint8_t line_control;     /* LCR */
    uint8_t modem_control;    /* MCR */
    uint8_t modem_deltas;     /* MSR bits 3:0 */
    uint8_t scratch;
    uint8_t fifo_control; /* FCR, bits that stay */
    uint16_t divisor;
    bool transmit_pending; /* THR became empty and nobody has looked yet */
    bool overrun;          /* LSR.OE */
    bool line;             /* level at the I/O APIC pin */
    bool held;             /* received bytes stay in the backlog */
    unsigned fifo_start, fifo_count;
    uint8_t fifo[SERIAL_FIFO]; /* received bytes */
    unsigned backlog_start, backlog_count;
    uint8_t
        backlog[SERIAL_BACKLOG]; /* typed faster than the guest reads: as if the wire were slow */
};

/*
 * Prepare COM1 and its terminal and register the ports. Boot CPU, before the VM runs. Errors of
 * vm_add_io.
 */
int serial_init(struct serial *serial, struct vm *vm, struct terminal *terminal);

/* State after reset. No vCPU runs. */
void serial_reset(struct serial *serial);

/* Access to register 0..7. Any vCPU. */
uint8_t serial_read(struct serial *serial, unsigned reg);
void serial_write(struct serial *serial, unsigned reg, uint8_t value);

/* Let received bytes wait, and raise no interrupt for them, until they may come in. No vCPU runs. */
void serial_hold(struct serial *serial, bool hold);

/* A byte comes in on the line. Any CPU, interrupts off. */
void serial_receive(void *serial, uint8_t byte);
