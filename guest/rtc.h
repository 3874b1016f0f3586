/* SPDX-License-Identifier: MIT */
/*
 * The CMOS clock of a VM (Motorola MC146818A data sheet) and the CMOS bytes that give memory sizes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/ram.h"
#include "lib/spinlock.h"
#include "vmx/vm.h"

enum { RTC_SIZE = 128, RTC_CENTURY = 0x32 };

/* Where the clock's time comes from: seconds since 1970 at a TSC value, and the TSC's frequency. */
struct rtc_source {
    int64_t seconds;
    uint64_t tsc;
    uint64_t tsc_hz;
};

struct rtc {
    struct spinlock lock;
    struct rtc_source source;
    int64_t offset;          /* seconds that the guest has set its clock ahead of the source */
    uint64_t flags_read_tsc; /* when register C was last read */
    uint8_t index;           /* last value written to port 70H */
    uint8_t bytes[RTC_SIZE]; /* of time and date: only while SET stops the clock */
};

/* Prepare the clock and register its ports. Boot CPU, before the VM runs. Errors of vm_add_io. */
int rtc_init(struct rtc *rtc, struct vm *vm, const struct ram *ram,
             const struct rtc_source *source);

/* One CMOS byte at host TSC now; index 0..127. Any vCPU. */
uint8_t rtc_read(struct rtc *rtc, unsigned index, uint64_t now);
void rtc_write(struct rtc *rtc, unsigned index, uint8_t value, uint64_t now);

/* Set up the bytes as firmware leaves them, 24 hours and BCD. For rtc_init and tests. */
void rtc_fill(struct rtc *rtc, const struct ram *ram, const struct rtc_source *source);
