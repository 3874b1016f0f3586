/* SPDX-License-Identifier: MIT */
/*
 * The CMOS clock of a VM. It has no interrupt: register C's update and periodic flags are worked
 * out when it is read, and there is no alarm.
 */
#include "guest/rtc.h"

#include "arch/tsc.h"
#include "guest/calendar.h"
#include "lib/bits.h"

enum {
    REG_SECONDS = 0x00,
    REG_MINUTES = 0x02,
    REG_HOURS = 0x04,
    REG_WEEKDAY = 0x06,
    REG_DAY = 0x07,
    REG_MONTH = 0x08,
    REG_YEAR = 0x09,
    REG_A = 0x0A,
    REG_B = 0x0B,
    REG_C = 0x0C,
    REG_D = 0x0D,
};

/* CMOS bytes of a PC that firmware fills in, low byte first. */
enum {
    CMOS_BASE_MEMORY = 0x15, /* KiB below 640 KiB */
    CMOS_EXTENDED = 0x17,    /* KiB above 1 MiB, at most 65535 */
    CMOS_EXTENDED_2 = 0x30,  /* the same, as found by the memory test */
    CMOS_ABOVE_16M = 0x34,   /* 64 KiB units below 4 GiB */
    CMOS_ABOVE_4G = 0x5B,    /* 64 KiB units, 3 bytes */
};

enum { A_UIP = 1 << 7, A_RATE = 0x0F, A_DIVIDER_32KHZ = 2 << 4, A_RATE_1024HZ = 6 };
enum { B_SET = 1 << 7, B_BINARY = 1 << 2, B_24_HOURS = 1 << 1 };
enum { C_PERIODIC = 1 << 6, C_UPDATE = 1 << 4 };
enum { D_VALID = 1 << 7 };
enum { HOUR_PM = 1 << 7, UIP_PER_SECOND = 4098 /* the flag comes 244 us before the update */ };

enum { PORT_INDEX = 0x70, PORT_COUNT = 2 };

/* --- Number formats of register B ------------------------------------------------------------- */

static uint8_t to_bcd(unsigned number)
{
    return (uint8_t)(number / 10 << 4 | number % 10);
}

static unsigned from_bcd(uint8_t byte)
{
    return (byte >> 4) * 10U + (byte & 0x0F);
}

static uint8_t encode(const struct rtc *rtc, unsigned number)
{
    return (rtc->bytes[REG_B] & B_BINARY) != 0 ? (uint8_t)number : to_bcd(number);
}

static unsigned decode(const struct rtc *rtc, uint8_t byte)
{
    return (rtc->bytes[REG_B] & B_BINARY) != 0 ? byte : from_bcd(byte);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
    if ((rtc->bytes[REG_B] & B_24_HOURS) != 0) {
        return encode(rtc, hour);
    }
    return encode(rtc, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *rtc, uint8_t byte)
{
    if ((rtc->bytes[REG_B] & B_24_HOURS) != 0) {
        return decode(rtc, byte);
    }
    unsigned hour = decode(rtc, byte & (uint8_t)~HOUR_PM) % 12;
    return (byte & HOUR_PM) != 0 ? hour + 12 : hour;
}

/* --- Time ------------------------------------------------------------------------------------- */

static int64_t seconds_at(const struct rtc *rtc, uint64_t now)
{
    uint64_t elapsed = (now - rtc->source.tsc) / rtc->source.tsc_hz;
    return rtc->source.seconds + rtc->offset + (int64_t)elapsed;
}

/* Whether the next update of the time is less than 244 us away. */
static bool update_in_progress(const struct rtc *rtc, uint64_t now)
{
    uint64_t fraction = (now - rtc->source.tsc) % rtc->source.tsc_hz;
    return rtc->source.tsc_hz - fraction <= rtc->source.tsc_hz / UIP_PER_SECOND;
}

static bool is_stopped(const struct rtc *rtc)
{
    return (rtc->bytes[REG_B] & B_SET) != 0;
}

/* Time and date registers := now. */
static void store_time(struct rtc *rtc, uint64_t now)
{
    struct calendar time = calendar_from_seconds(seconds_at(rtc, now));

    rtc->bytes[REG_SECONDS] = encode(rtc, time.second);
    rtc->bytes[REG_MINUTES] = encode(rtc, time.minute);
    rtc->bytes[REG_HOURS] = encode_hour(rtc, time.hour);
    rtc->bytes[REG_WEEKDAY] = encode(rtc, time.weekday);
    rtc->bytes[REG_DAY] = encode(rtc, time.day);
    rtc->bytes[REG_MONTH] = encode(rtc, time.month);
    rtc->bytes[REG_YEAR] = encode(rtc, (unsigned)(time.year % 100));
    rtc->bytes[RTC_CENTURY] = to_bcd((unsigned)(time.year / 100)); /* firmware's byte, always BCD */
}

/* The clock goes on from what the registers hold. */
static void load_time(struct rtc *rtc, uint64_t now)
{
    unsigned century = from_bcd(rtc->bytes[RTC_CENTURY]);
    struct calendar time = {
        .year = (int)(century * 100 + decode(rtc, rtc->bytes[REG_YEAR])),
        .month = decode(rtc, rtc->bytes[REG_MONTH]),
        .day = decode(rtc, rtc->bytes[REG_DAY]),
        .hour = decode_hour(rtc, rtc->bytes[REG_HOURS]),
        .minute = decode(rtc, rtc->bytes[REG_MINUTES]),
        .second = decode(rtc, rtc->bytes[REG_SECONDS]),
    };

    rtc->offset += calendar_to_seconds(&time) - seconds_at(rtc, now);
}

static bool is_time(unsigned index)
{
    return index == REG_SECONDS || index == REG_MINUTES || index == REG_HOURS ||
           (index >= REG_WEEKDAY && index <= REG_YEAR) || index == RTC_CENTURY;
}

/* --- Registers -------------------------------------------------------------------------------- */

/* Periods of rate select r pass at 65536 >> r per second (r from 3; 1 and 2 are 256 and 128 Hz). */
static bool period_passed(const struct rtc *rtc, uint64_t from, uint64_t to)
{
    unsigned rate = rtc->bytes[REG_A] & A_RATE;

    if (rate == 0) {
        return false;
    }
    uint64_t hz = rate <= 2 ? 512U >> rate : 65536U >> rate;
    uint64_t period = rtc->source.tsc_hz / hz;
    return period == 0 || (from - rtc->source.tsc) / period != (to - rtc->source.tsc) / period;
}

static uint8_t read_flags(struct rtc *rtc, uint64_t now)
{
    uint64_t last = rtc->flags_read_tsc;
    uint8_t flags = 0;

    if (!is_stopped(rtc) && seconds_at(rtc, last) != seconds_at(rtc, now)) {
        flags |= C_UPDATE;
    }
    if (period_passed(rtc, last, now)) {
        flags |= C_PERIODIC;
    }
    rtc->flags_read_tsc = now;
    return flags;
}

static uint8_t read_byte(struct rtc *rtc, unsigned index, uint64_t now)
{
    switch (index) {
    case REG_A:
        return rtc->bytes[REG_A] | (!is_stopped(rtc) && update_in_progress(rtc, now) ? A_UIP : 0);
    case REG_C:
        return read_flags(rtc, now);
    case REG_D:
        return D_VALID;
    default:
        if (is_time(index) && !is_stopped(rtc)) {
            store_time(rtc, now);
        }
        return rtc->bytes[index];
    }
}

static void write_control(struct rtc *rtc, uint8_t value, uint64_t now)
{
    bool was_stopped = is_stopped(rtc);
    bool stops = (value & B_SET) != 0;

    rtc->bytes[REG_B] = value;
    if (!was_stopped && stops) {
        store_time(rtc, now);
    } else if (was_stopped && !stops) {
        load_time(rtc, now);
    }
}

static void write_byte(struct rtc *rtc, unsigned index, uint8_t value, uint64_t now)
{
    if (index == REG_A) {
        rtc->bytes[REG_A] = value & (uint8_t)~A_UIP;
    } else if (index == REG_B) {
        write_control(rtc, value, now);
    } else if (index == REG_C || index == REG_D) {
        return; /* read-only */
    } else if (is_time(index) && !is_stopped(rtc)) {
        store_time(rtc, now);
        rtc->bytes[index] = value;
        load_time(rtc, now);
    } else {
        rtc->bytes[index] = value;
    }
}

uint8_t rtc_read(struct rtc *rtc, unsigned index, uint64_t now)
{
    spin_lock(&rtc->lock);
    uint8_t value = read_byte(rtc, index % RTC_SIZE, now);
    spin_unlock(&rtc->lock);
    return value;
}

void rtc_write(struct rtc *rtc, unsigned index, uint8_t value, uint64_t now)
{
    spin_lock(&rtc->lock);
    write_byte(rtc, index % RTC_SIZE, value, now);
    spin_unlock(&rtc->lock);
}

/* --- Ports and setup -------------------------------------------------------------------------- */

static uint64_t read_ports(void *device, uint64_t offset, unsigned size)
{
    struct rtc *rtc = device;

    if (size != 1 || offset == 0) {
        return UINT64_MAX; /* the index register cannot be read */
    }
    return rtc_read(rtc, rtc->index, rdtsc());
}

static void write_ports(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct rtc *rtc = device;

    if (offset == 0) {
        rtc->index = (uint8_t)value; /* bit 7 masks NMI on a PC; nothing raises one here */
        value >>= 8;
    }
    if (offset == 1 || size == 2) {
        rtc_write(rtc, rtc->index, (uint8_t)value, rdtsc());
    }
}

static void fill_size(struct rtc *rtc, unsigned index, unsigned count, uint64_t value)
{
    uint64_t limit = (1ULL << (8 * count)) - 1;

    for (unsigned i = 0; i < count; i++) {
        rtc->bytes[index + i] = (uint8_t)((value < limit ? value : limit) >> (8 * i));
    }
}

void rtc_fill(struct rtc *rtc, const struct ram *ram, const struct rtc_source *source)
{
    uint64_t above_16m = ram->low_end > MIB(16) ? ram->low_end - MIB(16) : 0;

    *rtc = (struct rtc){ .source = *source, .flags_read_tsc = source->tsc };
    rtc->bytes[REG_A] = A_DIVIDER_32KHZ | A_RATE_1024HZ;
    rtc->bytes[REG_B] = B_24_HOURS;
    fill_size(rtc, CMOS_BASE_MEMORY, 2, 640);
    fill_size(rtc, CMOS_EXTENDED, 2, (ram->low_end - MIB(1)) >> 10);
    fill_size(rtc, CMOS_EXTENDED_2, 2, (ram->low_end - MIB(1)) >> 10);
    fill_size(rtc, CMOS_ABOVE_16M, 2, above_16m >> 16);
    fill_size(rtc, CMOS_ABOVE_4G, 3, (ram->high_end - RAM_FOUR_GIB) >> 16);
}

int rtc_init(struct rtc *rtc, struct vm *vm, const struct ram *ram, const struct rtc_source *source)
{
    static const struct io_ops ops = { read_ports, write_ports };

    rtc_fill(rtc, ram, source);
    return vm_add_io(vm, PORT_INDEX, PORT_COUNT, &ops, rtc);
}
