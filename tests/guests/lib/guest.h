/* SPDX-License-Identifier: MIT */
/* What every test guest starts from: entry, command line, console, reports, end. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/msr.h"
#include "arch/port_io.h"
#include "arch/tsc.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/string.h"

/*
 * The test itself, written by each guest: called on the boot CPU in 64-bit mode with the first 4 GiB
 * mapped linear = physical, the IDT loaded, interrupts off, both 8259s masked, the local APIC as the
 * loader left it. When it returns, the summary is printed and the machine ends.
 */
void guest_main(void);

/* Print to COM1; lines end in LF. Any CPU, any context but NMI. */
void guest_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * One expectation: prints "PASS: text" or "FAIL: text" and counts it. The text must be the same in
 * every run: no addresses, no times. Any CPU, any context but NMI. Returns passed.
 */
bool report(bool passed, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As report(false, ...), then the end: for what makes going on pointless. */
_Noreturn void guest_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A test that this machine cannot run: prints "SKIP: text"; neither passed nor failed. */
void report_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Print "SUMMARY: N tests, M failed" and end the machine: debug exit (port F4H, 0 when nothing failed,
 * else 1), Bochs' shutdown port, ACPI S5, and HLT for ever where none of them exists.
 */
_Noreturn void guest_end(void);

/* key=value words of the command line. Value as text (valid for ever) or NULL; as number or fallback. */
const char *guest_option(const char *key);
uint64_t guest_option_number(const char *key, uint64_t fallback);

/* Whether `test=NAME,NAME...` asks for this test: true also when no test= is given. */
bool guest_wants(const char *test);

/* The tests of a guest in their order: prints the name of each that test= asks for, and runs it. */
struct guest_test {
    const char *name;
    void (*run)(void);
};
void guest_run_tests(const struct guest_test *tests, size_t count);

/* Wait that many TSC ticks, or until *flag is not 0, whichever is first; returns *flag. */
uint64_t guest_wait(const volatile uint64_t *flag, uint64_t ticks);

/* RDMSR and WRMSR that may fault: true if they did not. */
static inline bool guest_try_rdmsr(uint32_t msr, uint64_t *value)
{
    return rdmsr_safe(msr, value) == RIVET_OK;
}

static inline bool guest_try_wrmsr(uint32_t msr, uint64_t value)
{
    return wrmsr_safe(msr, value) == RIVET_OK;
}

static inline void guest_sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void guest_cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* Interrupts on for some instructions: whatever is deliverable arrives here. */
static inline void guest_take_interrupts(void)
{
    __asm__ volatile("sti; nop; nop; nop; nop; cli" : : : "memory");
}
