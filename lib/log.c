/* SPDX-License-Identifier: MIT */
/* The log: formats whole lines and hands them to the host that boot/ registered. */
#include "lib/log.h"

#include <stdarg.h>

#include "lib/print.h"
#include "lib/string.h"

enum { LINE_SIZE = 512 };

static const struct log_host *log_host;
static bool log_debug_on;

void log_init(const struct log_host *host)
{
    log_host = host;
}

void log_set_debug(bool on)
{
    log_debug_on = on;
}

static void write_line(const char *kind, const char *format, va_list args)
{
    char line[LINE_SIZE];
    if (log_host == NULL) {
        return;
    }
    size_t room = sizeof(line) - 1; /* one byte kept for the newline */
    size_t length = (size_t)lib_snprintf(line, room, "rivet: %s", kind);
    length += (size_t)lib_vsnprintf(line + length, room - length, format, args);
    if (length > room - 1) {
        length = room - 1;
    }
    line[length] = '\n';
    log_host->write(line, length + 1);
}

void log_info(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line("", format, args);
    va_end(args);
}

void log_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line("warning: ", format, args);
    va_end(args);
}

void log_debug(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (log_debug_on) {
        write_line("debug: ", format, args);
    }
    va_end(args);
}

/* There is nothing to return to, and nowhere to say so. */
static _Noreturn void stop(void)
{
    for (;;) {
        __asm__ volatile("cli; hlt" : : : "memory");
    }
}

void fatal(const char *format, ...)
{
    va_list args;
    if (log_host == NULL) {
        stop();
    }
    log_host->claim();
    va_start(args, format);
    write_line("fatal: ", format, args);
    va_end(args);
    log_host->end();
    stop();
}

void log_panic_begin(void)
{
    if (log_host == NULL) {
        stop();
    }
    log_host->claim();
    log_host->panic_begin();
}

void log_panic_end(const void *frame)
{
    log_host->panic_end(frame);
    stop();
}

void panic(const char *format, ...)
{
    va_list args;
    log_panic_begin();
    va_start(args, format);
    write_line("panic: ", format, args);
    va_end(args);
    log_panic_end(__builtin_frame_address(0));
}
