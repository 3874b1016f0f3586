/* SPDX-License-Identifier: MIT */
/* The log: lines that begin with "rivet: " on the console, and the end of the world. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Write one log line: "rivet: " + text + newline. The text must not contain a newline. Lines of
 * several CPUs never mix. Any CPU, any context, also with interrupts off; takes the console's lock.
 * Dropped silently before the console is up. Formats: see lib/print.h.
 */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Like log_info, for something that is wrong but survivable: "rivet: warning: ...". */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Like log_info, but only with log=debug on Rivet's command line. */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * This machine or configuration cannot run Rivet: print "rivet: fatal: ..." (say what, where, and
 * what to do) and power the machine off.
 */
_Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A bug of Rivet's own: print "rivet: panic: ..." and a symbolized backtrace, stop the other CPUs and
 * power off (or hold, when so configured). Callable from anywhere, even with locks held.
 */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Panic naming the expression and place when cond does not hold. Invariants of Rivet only. */
#define ASSERT(cond)                                                     \
    do {                                                                 \
        if (!(cond)) {                                                   \
            panic("%s:%d: %s does not hold", __FILE__, __LINE__, #cond); \
        }                                                                \
    } while (0)

/* Where log lines go and how the machine ends: lib/ knows neither console nor CPUs; boot/ does. */
struct log_host {
    void (*write)(const char *line, size_t size); /* a whole line with its newline, never mixed */
    void (*claim)(void);                  /* returns on the first CPU that ends the machine only */
    void (*end)(void);                    /* after fatal: power off; does not return */
    void (*panic_begin)(void);            /* stop other CPUs, make write work regardless of locks */
    void (*panic_end)(const void *frame); /* backtrace from that frame pointer on, power off */
};

/* Register the host; lines before are dropped. Boot CPU, once. The structure must stay. */
void log_init(const struct log_host *host);

/* Whether log_debug prints. Boot CPU. */
void log_set_debug(bool on);

/*
 * The first half of panic, for exception dumps, which log more lines between it and log_panic_end:
 * only the first CPU to come here returns. frame NULL: the backtrace has been logged.
 */
void log_panic_begin(void);
_Noreturn void log_panic_end(const void *frame);
