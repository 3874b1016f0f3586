/* SPDX-License-Identifier: MIT */
/* The time of day of the host, from its CMOS clock (MC146818A). */
#include "guest/host_clock.h"

#include "arch/port_io.h"
#include "arch/tsc.h"
#include "guest/calendar.h"
#include "lib/log.h"

enum { PORT_INDEX = 0x70, PORT_DATA = 0x71 };
enum { REG_A = 0x0A, REG_B = 0x0B, A_UIP = 1 << 7, B_BINARY = 1 << 2, B_24_HOURS = 1 << 1 };
enum { HOUR_PM = 1 << 7 };

/* Seconds, minutes, hours, day, month, year, century. */
enum { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, CENTURY, FIELD_COUNT };
static const uint8_t registers[FIELD_COUNT] = { 0x00, 0x02, 0x04, 0x07, 0x08, 0x09, RTC_CENTURY };

#define EPOCH_2000 946684800

static uint8_t read_cmos(uint8_t index)
{
    outb(PORT_INDEX, index);
    return inb(PORT_DATA);
}

/* Wait until no update is about to happen: it takes up to 2 ms. False when that never ends. */
static bool wait_for_update(void)
{
    uint64_t start = rdtsc();

    while ((read_cmos(REG_A) & A_UIP) != 0) {
        if (rdtsc() - start > tsc_hz() / 50) {
            return false;
        }
    }
    return true;
}

static unsigned decode(uint8_t byte, uint8_t control)
{
    return (control & B_BINARY) != 0 ? byte : (byte >> 4) * 10U + (byte & 0x0F);
}

static unsigned decode_hour(uint8_t byte, uint8_t control)
{
    if ((control & B_24_HOURS) != 0) {
        return decode(byte, control);
    }
    unsigned hour = decode(byte & (uint8_t)~HOUR_PM, control) % 12;
    return (byte & HOUR_PM) != 0 ? hour + 12 : hour;
}

struct rtc_source host_clock_read(void)
{
    struct rtc_source source = { EPOCH_2000, rdtsc(), tsc_hz() };
    uint8_t raw[FIELD_COUNT];

    bool ready = wait_for_update();
    source.tsc = rdtsc();
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        raw[i] = read_cmos(registers[i]);
    }
    uint8_t control = read_cmos(REG_B);
    unsigned century = decode(raw[CENTURY], 0);
    struct calendar time = {
        .year = (int)((century == 19 || century == 20 ? century : 20) * 100 +
                      decode(raw[YEAR], control)),
        .month = decode(raw[MONTH], control),
        .day = decode(raw[DAY], control),
        .hour = decode_hour(raw[HOUR], control),
        .minute = decode(raw[MINUTE], control),
        .second = decode(raw[SECOND], control),
    };
    if (!ready || time.month < 1 || time.month > 12 || time.day < 1 || time.day > 31 ||
        time.hour > 23 || time.minute > 59 || time.second > 59) {
        log_warn("the machine's CMOS clock does not tell the time: guests start in the year 2000");
        return source;
    }
    source.seconds = calendar_to_seconds(&time);
    return source;
}
