/* SPDX-License-Identifier: MIT */
/* The host's 16550 UARTs: registers only, no queue and no lock; drivers/console.c has those. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UART_FIFO_SIZE = 16 };

struct uart {
    uint16_t port;
    uint8_t irq; /* ISA interrupt */
    bool present;
    uint8_t interrupt_enable; /* what IER holds */
};

/* Find the UART at uart->port and set 115200 8N1 with FIFOs, interrupts off. Fills present. */
void uart_init(struct uart *uart);

/* Whether the transmit FIFO is empty and takes UART_FIFO_SIZE bytes. True for an absent UART. */
bool uart_can_send(const struct uart *uart);

/* Hand one byte to the transmitter, which must have room. */
void uart_send(const struct uart *uart, uint8_t byte);

/*
 * Wait until uart_can_send, or with idle until the last bit has left. A UART that takes a second's
 * worth of looks is taken for dead: present becomes false.
 */
void uart_wait(struct uart *uart, bool idle);

/* Receive and transmit-empty interrupts on or off. */
void uart_enable_interrupts(struct uart *uart, bool receive, bool transmit);

/*
 * Serve what the UART signals: received bytes into buffer, at most size; returns how many. Sets
 * *can_send when the transmitter has run empty, and *more when it must be called again before its
 * edge-triggered interrupt can come again: the buffer is full, or can_send is to be acted on.
 */
size_t uart_serve(const struct uart *uart, char *buffer, size_t size, bool *can_send, bool *more);
