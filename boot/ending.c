/* SPDX-License-Identifier: MIT */
/* Ties the log to console, CPUs and power. */
#include "boot/ending.h"

#include <stdatomic.h>
#include <stdint.h>

#include "arch/cpu.h"
#include "arch/exception.h"
#include "arch/options.h"
#include "arch/x86.h"
#include "drivers/console.h"
#include "drivers/power.h"

enum { NOBODY = -1 };

static _Atomic int ending_cpu = NOBODY;

/* Another CPU that comes here waits for the first one's power-off; the same one again has failed. */
static void claim(void)
{
    int expected = NOBODY;
    int self = (int)this_cpu()->index;
    if (atomic_compare_exchange_strong(&ending_cpu, &expected, self)) {
        return;
    }
    if (expected == self) {
        power_off();
    }
    cpu_halt_forever();
}

static void panic_begin(void)
{
    exception_stop_others();
    console_take_over();
}

static void panic_end(const void *frame)
{
    if (frame != NULL) {
        backtrace_log(0, (uintptr_t)frame);
    }
    if (option_given("hold")) {
        console_flush();
        cpu_halt_forever();
    }
    power_off();
}

const struct log_host boot_log_host = {
    .write = console_write_line,
    .claim = claim,
    .end = power_off,
    .panic_begin = panic_begin,
    .panic_end = panic_end,
};
