/* SPDX-License-Identifier: MIT */
/* The frequency of the TSC, measured against the ACPI PM timer and the PIT. */
#include "arch/tsc.h"

#include <stdbool.h>
#include <stddef.h>

#include "arch/acpi.h"
#include "arch/port_io.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/log.h"

enum { PM_TIMER_HZ = 3579545, PIT_HZ = 1193182 };

/* 8254 PIT and the port B that gates its channel 2 (the speaker's, free for us). */
enum {
    PIT_CHANNEL2 = 0x42,
    PIT_COMMAND = 0x43,
    PIT_COMMAND_CHANNEL2_RATE = 0xB4, /* channel 2, low and high byte, mode 2 */
    PIT_COMMAND_LATCH2 = 0x80,
    PORT_B = 0x61,
    PORT_B_GATE2 = 0x01,
    PORT_B_SPEAKER = 0x02,
};

/* Each clock is watched for 1/32 s, well below the PIT's period of 54.9 ms. */
enum { INTERVALS_PER_SECOND = 32 };

/* Reads after which a clock that has not moved is taken for dead; port reads take about 1 us. */
enum { DEAD_AFTER_READS = 100000 };

/* Readings taken for one sample: the one least disturbed by SMIs counts. */
enum { READINGS = 5 };

struct reference_clock {
    uint32_t hz;
    uint32_t mask; /* of the counter, which counts up */
    uint32_t (*read)(void);
};

struct sample {
    uint64_t tsc;
    uint32_t clock;
};

static uint64_t hz;

static uint32_t read_pm_timer(void)
{
    return inl((uint16_t)acpi()->pm_timer.address);
}

static uint32_t read_pit(void)
{
    outb(PIT_COMMAND, PIT_COMMAND_LATCH2);
    uint32_t low = inb(PIT_CHANNEL2);
    uint32_t high = inb(PIT_CHANNEL2);
    return -(high << 8 | low); /* it counts down */
}

static void start_pit(void)
{
    outb(PORT_B, (uint8_t)((inb(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE2));
    outb(PIT_COMMAND, PIT_COMMAND_CHANNEL2_RATE);
    outb(PIT_CHANNEL2, 0); /* 65536 */
    outb(PIT_CHANNEL2, 0);
}

static struct sample sample(const struct reference_clock *clock)
{
    struct sample best = { 0 };
    uint64_t shortest = UINT64_MAX;
    for (unsigned i = 0; i < READINGS; i++) {
        uint64_t before = rdtsc();
        uint32_t value = clock->read();
        uint64_t after = rdtsc();
        if (after - before < shortest) {
            shortest = after - before;
            best = (struct sample){ .tsc = before + (after - before) / 2, .clock = value };
        }
    }
    return best;
}

static bool is_running(const struct reference_clock *clock)
{
    uint32_t first = clock->read();
    for (unsigned i = 0; i < DEAD_AFTER_READS; i++) {
        if (((clock->read() - first) & clock->mask) != 0) {
            return true;
        }
    }
    return false;
}

/* TSC ticks per second by that clock; 0 when it stands still. */
static uint64_t measure(const struct reference_clock *clock)
{
    if (!is_running(clock)) {
        return 0;
    }
    struct sample first = sample(clock);
    while (((clock->read() - first.clock) & clock->mask) < clock->hz / INTERVALS_PER_SECOND) {
        cpu_relax();
    }
    struct sample last = sample(clock);
    return (last.tsc - first.tsc) * clock->hz / ((last.clock - first.clock) & clock->mask);
}

static uint64_t measure_pm_timer(void)
{
    const struct acpi_register *timer = &acpi()->pm_timer;
    struct reference_clock clock = { PM_TIMER_HZ, 0xFFFFFF, read_pm_timer };
    if (timer->address == 0 || timer->space != ACPI_SPACE_IO) {
        return 0;
    }
    return measure(&clock);
}

static uint64_t measure_pit(void)
{
    struct reference_clock clock = { PIT_HZ, 0xFFFF, read_pit };
    start_pit();
    return measure(&clock);
}

/* Within 1/128 of each other: SMIs and emulation may disturb that much, a wrong clock much more. */
static bool agree(uint64_t a, uint64_t b)
{
    uint64_t difference = a > b ? a - b : b - a;
    return difference <= a / 128;
}

void tsc_calibrate(void)
{
    uint64_t pm_hz = measure_pm_timer();
    uint64_t pit_hz = measure_pit();
    hz = pm_hz != 0 ? pm_hz : pit_hz;
    if (hz == 0) {
        fatal("TSC: neither the ACPI PM timer nor the PIT runs; nothing to measure time by");
    }
    log_info("TSC: %lu kHz; PM timer says %lu, PIT %lu (0: not running)", hz / 1000, pm_hz / 1000,
             pit_hz / 1000);
    if (pm_hz != 0 && pit_hz != 0 && !agree(pm_hz, pit_hz)) {
        log_warn("TSC: PM timer and PIT differ by more than 1/128; going by the PM timer");
    }
}

uint64_t tsc_hz(void)
{
    return hz;
}
