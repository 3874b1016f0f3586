/* SPDX-License-Identifier: MIT */
/* The time stamp counter and its measured frequency. */
#pragma once

#include <stdint.h>

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/*
 * Measure the TSC against the ACPI PM timer (or the PIT), cross-checked with the other one; the
 * result and both readings are logged. fatal when neither works. Boot CPU, once, after acpi_init.
 */
void tsc_calibrate(void);

/* Ticks per second. Any CPU after tsc_calibrate. */
uint64_t tsc_hz(void);
