/* SPDX-License-Identifier: MIT */
/* The VMs' shares of the one console. */
#include "guest/terminal.h"

#include "drivers/console.h"
#include "lib/log.h"
#include "lib/string.h"

enum { CTRL_BRACKET = 0x1D };

/* The console as all terminals share it. Lock order: a terminal's lock, then this one. */
static struct {
    struct spinlock lock;
    bool several;
    struct terminal *_Atomic focus;
    struct terminal *unfinished; /* whose line stands on the console without its end */
} console;

/* Bring the console to where text of this terminal may go on. Holds console.lock. */
static void begin_text(struct terminal *terminal)
{
    if (console.unfinished == terminal) {
        return;
    }
    if (console.unfinished != NULL) {
        console_write("\n", 1);
    }
    console_write(terminal->name, strlen(terminal->name));
    console_write("| ", 2);
}

/* Write out what the line holds. Holds terminal->lock. */
static void write_line(struct terminal *terminal, bool end)
{
    spin_lock(&console.lock);
    begin_text(terminal);
    if (end) {
        terminal->line[terminal->length++] = '\n';
    }
    console_write(terminal->line, terminal->length);
    console.unfinished = end ? NULL : terminal;
    spin_unlock(&console.lock);
    terminal->length = 0;
}

static void put_in_line(struct terminal *terminal, uint8_t byte)
{
    if (byte == '\r') {
        return; /* the line's end comes with the newline */
    }
    if (byte == '\n') {
        write_line(terminal, true);
        return;
    }
    terminal->line[terminal->length++] = (char)byte;
    if (terminal->length == TERMINAL_LINE - 1) { /* one byte is kept for the newline */
        write_line(terminal, false);
    }
}

void terminal_put(struct terminal *terminal, uint8_t byte)
{
    if (!console.several) {
        char raw = (char)byte;
        console_write(&raw, 1);
        return;
    }
    spin_lock(&terminal->lock);
    put_in_line(terminal, byte);
    spin_unlock(&terminal->lock);
}

void terminal_flush(struct terminal *terminal)
{
    spin_lock(&terminal->lock);
    if (terminal->length > 0) {
        write_line(terminal, false);
    }
    spin_unlock(&terminal->lock);
}

static void take_input(char byte)
{
    struct terminal *terminal = console.focus;

    if (byte == CTRL_BRACKET) {
        log_info("Ctrl-] is kept for the monitor; the guest does not get it");
    } else if (terminal != NULL) {
        terminal->receive(terminal->device, (uint8_t)byte);
    }
}

void terminal_init(struct terminal *terminal, const char *name,
                   void (*receive)(void *device, uint8_t byte), void *device)
{
    *terminal = (struct terminal){ .name = name, .receive = receive, .device = device };
    if (console.focus == NULL) {
        console.focus = terminal;
    }
}

void terminal_focus(struct terminal *terminal)
{
    console.focus = terminal;
}

void terminal_start(bool several)
{
    console.several = several;
    console_set_input_handler(take_input);
}
