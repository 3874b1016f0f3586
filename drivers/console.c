/* SPDX-License-Identifier: MIT */
/* The console: a queue in front of a UART, or the VGA text screen. */
#include "drivers/console.h"

#include <stdbool.h>
#include <stdint.h>

#include "arch/interrupts.h"
#include "arch/options.h"
#include "arch/vectors.h"
#include "drivers/host_ioapic.h"
#include "drivers/uart.h"
#include "drivers/vga_text.h"
#include "lib/byte_ring.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"

enum { QUEUE_SIZE = 1 << 16 };

static uint8_t queue_data[QUEUE_SIZE];

/* All protected by lock, but input_handler (set before interrupts are on). */
static struct spinlock lock;
static struct byte_ring queue = { .data = queue_data, .size = QUEUE_SIZE };
static struct uart uart = { .port = 0x3F8, .irq = 4 };
static bool is_vga;
static bool has_interrupts;  /* the UART's interrupt drains the queue */
static bool is_taken_over;   /* panic: lock and interrupts no longer count */
static bool is_fresh = true; /* the last byte written ended a line */
static void (*input_handler)(char byte);

static void lock_console(void)
{
    if (!is_taken_over) {
        spin_lock(&lock);
    }
}

static void unlock_console(void)
{
    if (!is_taken_over) {
        spin_unlock(&lock);
    }
}

void console_init(const char *options)
{
    char name[8];
    if (options_find(options, "console", name, sizeof(name))) {
        is_vga = strcmp(name, "vga") == 0;
        if (strcmp(name, "com2") == 0) {
            uart = (struct uart){ .port = 0x2F8, .irq = 3 };
        }
    }
    if (is_vga) {
        vga_text_init();
    } else {
        uart_init(&uart);
    }
}

/* Hand as much of the queue to the UART as its FIFO takes; it must be empty. */
static void fill_fifo(void)
{
    for (unsigned i = 0; i < UART_FIFO_SIZE && !byte_ring_is_empty(&queue); i++) {
        uart_send(&uart, byte_ring_take(&queue));
    }
}

static void drain(void)
{
    while (!byte_ring_is_empty(&queue)) {
        uart_wait(&uart, false);
        fill_fifo();
    }
}

static void put(char byte)
{
    is_fresh = byte == '\n';
    if (is_vga) {
        vga_text_put(byte);
        return;
    }
    if (byte_ring_is_full(&queue)) {
        uart_wait(&uart, false);
        fill_fifo();
    }
    byte_ring_put(&queue, (uint8_t)byte);
}

/* Get what has been queued on its way: by the interrupt if there is one, else now. */
static void start_output(void)
{
    if (!has_interrupts) {
        drain();
        return;
    }
    if (uart_can_send(&uart)) {
        fill_fifo();
    }
    uart_enable_interrupts(&uart, true, !byte_ring_is_empty(&queue));
}

void console_write(const char *text, size_t size)
{
    lock_console();
    for (size_t i = 0; i < size; i++) {
        put(text[i]);
    }
    start_output();
    unlock_console();
}

void console_write_line(const char *line, size_t size)
{
    lock_console();
    if (!is_fresh) {
        put('\r');
        put('\n');
    }
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '\n') {
            put('\r');
        }
        put(line[i]);
    }
    start_output();
    unlock_console();
}

void console_flush(void)
{
    lock_console();
    drain();
    if (!is_vga) {
        uart_wait(&uart, true);
    }
    unlock_console();
}

void console_take_over(void)
{
    is_taken_over = true;
    has_interrupts = false;
    uart_enable_interrupts(&uart, false, false);
    drain();
}

void console_set_input_handler(void (*handler)(char byte))
{
    input_handler = handler;
}

/* One round of uart_serve; input is handed on without the lock, as its handler may write. */
static bool serve_uart(void)
{
    char input[UART_FIFO_SIZE];
    bool can_send = false;
    bool more = false;
    lock_console();
    size_t count = uart_serve(&uart, input, sizeof(input), &can_send, &more);
    if (can_send) {
        start_output();
    }
    unlock_console();
    for (size_t i = 0; i < count && input_handler != NULL; i++) {
        input_handler(input[i]);
    }
    return more;
}

static void uart_interrupt(void)
{
    while (serve_uart()) {
    }
}

void console_enable_interrupts(void)
{
    if (is_vga || !uart.present) {
        return;
    }
    interrupts_set_handler(VECTOR_UART, uart_interrupt);
    if (!host_ioapic_route_isa(uart.irq, VECTOR_UART)) {
        log_warn("console: no I/O APIC pin for IRQ %u; output by polling, no input", uart.irq);
        return;
    }
    lock_console();
    has_interrupts = true;
    uart_enable_interrupts(&uart, true, false);
    unlock_console();
}
