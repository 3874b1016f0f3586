/* SPDX-License-Identifier: MIT */
/* The console: COM1, COM2 or VGA text; output of Rivet and of guests, input for guests. */
#pragma once

#include <stddef.h>

/*
 * Choose and start the console from Rivet's options ("console=com1|com2|vga"); usable for output at
 * once, with polling; interrupt-driven after console_enable_interrupts. Boot CPU.
 */
void console_init(const char *options);

/* Switch to interrupts: transmit ring drained by the UART, receive handed to the input handler. */
void console_enable_interrupts(void);

/*
 * Write bytes as they are. Queued; when the queue is full the caller waits for room (a guest is never
 * allowed to lose output). Any CPU.
 */
void console_write(const char *text, size_t size);

/* Wait until all output has left. Before power-off and in panic. */
void console_flush(void);

/* The input handler is called with every byte received, on the boot CPU, interrupts off. */
void console_set_input_handler(void (*handler)(char byte));

/*
 * Write one whole line (with its newline); starts on a fresh line when guest output left the cursor
 * in the middle of one. Any CPU; takes the console's lock.
 */
void console_write_line(const char *line, size_t size);

/*
 * From now on write at once, without ring, interrupts or lock: for panic, when the lock's holder may
 * have been stopped. What is queued is written first. Any CPU, once the others are stopped.
 */
void console_take_over(void);
