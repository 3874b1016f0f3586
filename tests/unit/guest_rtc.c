/* SPDX-License-Identifier: MIT */
/* The CMOS clock of a VM and the calendar under it. */
/* links: guest/rtc.c guest/calendar.c guest/ram.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "guest/calendar.h"
#include "guest/rtc.h"
#include "lib/bits.h"
#include "lib/error.h"

#define HZ    1000000ULL
#define START 5000000ULL
#define T0    1704067190 /* 2023-12-31 23:59:50, a Sunday */

static struct rtc rtc;
static struct ram ram;

int vm_add_io(struct vm *vm, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    (void)vm;
    (void)ops;
    (void)device;
    assert_int_equal(port, 0x70);
    assert_int_equal(count, 2);
    return RIVET_OK;
}

static int setup(void **state)
{
    const struct rtc_source source = { T0, START, HZ };

    (void)state;
    ram_plan(&ram, MIB(512));
    assert_int_equal(rtc_init(&rtc, NULL, &ram, &source), RIVET_OK);
    return 0;
}

static uint8_t at(unsigned index, double seconds)
{
    return rtc_read(&rtc, index, START + (uint64_t)(seconds * HZ));
}

static void set(unsigned index, uint8_t value, double seconds)
{
    rtc_write(&rtc, index, value, START + (uint64_t)(seconds * HZ));
}

static void expect_time(double seconds, unsigned hour, unsigned minute, unsigned second)
{
    assert_int_equal(at(4, seconds), hour);
    assert_int_equal(at(2, seconds), minute);
    assert_int_equal(at(0, seconds), second);
}

static void test_time_goes_on(void **state)
{
    (void)state;
    expect_time(0, 0x23, 0x59, 0x50);
    assert_int_equal(at(6, 0), 1);
    assert_int_equal(at(7, 0), 0x31);
    assert_int_equal(at(8, 0), 0x12);
    assert_int_equal(at(9, 0), 0x23);
    assert_int_equal(at(0x32, 0), 0x20);
    expect_time(9.99, 0x23, 0x59, 0x59);
    expect_time(10, 0, 0, 0);
    assert_int_equal(at(6, 10), 2);
    assert_int_equal(at(7, 10), 0x01);
    assert_int_equal(at(8, 10), 0x01);
    assert_int_equal(at(9, 10), 0x24);
}

static void test_formats(void **state)
{
    (void)state;
    set(0x0B, 0x06, 0); /* binary, 24 hours */
    expect_time(0, 23, 59, 50);
    assert_int_equal(at(0x32, 0), 0x20);
    set(0x0B, 0x00, 0); /* BCD, 12 hours */
    expect_time(0, 0x91, 0x59, 0x50);
    expect_time(10, 0x12, 0, 0);
    expect_time(10 + 12 * 3600, 0x92, 0, 0);
    set(0x0B, 0x04, 0); /* binary, 12 hours */
    expect_time(0, 0x80 + 11, 59, 50);
}

static void test_update_in_progress(void **state)
{
    (void)state;
    assert_int_equal(at(0x0A, 0.5), 0x26);
    assert_int_equal(at(0x0A, 0.9997), 0x26);
    assert_int_equal(at(0x0A, 0.9998), 0xA6);
    assert_int_equal(at(0x0A, 1.0), 0x26);
    set(0x0B, 0x82, 1.5);
    assert_int_equal(at(0x0A, 1.9999), 0x26); /* a stopped clock is never updated */
}

static void test_set_stops_and_restarts(void **state)
{
    (void)state;
    set(0x0B, 0x82, 3);
    expect_time(100, 0x23, 0x59, 0x53);
    set(4, 0x12, 100);
    set(2, 0x34, 100);
    set(0, 0x56, 100);
    set(7, 0x29, 100);
    set(8, 0x02, 100);
    set(9, 0x24, 100);
    expect_time(200, 0x12, 0x34, 0x56);
    set(0x0B, 0x02, 200);
    expect_time(200, 0x12, 0x34, 0x56);
    expect_time(204, 0x12, 0x35, 0x00);
    assert_int_equal(at(7, 200 + 86400), 0x01);
    assert_int_equal(at(8, 200 + 86400), 0x03);
    assert_int_equal(at(6, 200), 5); /* 2024-02-29 was a Thursday */
}

static void test_write_while_running(void **state)
{
    (void)state;
    set(2, 0x10, 5);
    expect_time(5, 0x23, 0x10, 0x55);
    expect_time(65, 0x23, 0x11, 0x55);
    set(0x40, 0x99, 5);
    assert_int_equal(at(0x40, 5), 0x99);
}

static void test_flags(void **state)
{
    (void)state;
    assert_int_equal(at(0x0C, 0.1) & 0x10, 0);
    assert_int_equal(at(0x0C, 1.2), 0x50);
    assert_int_equal(at(0x0C, 1.2), 0);
    assert_int_equal(at(0x0C, 1.2003) & 0x40, 0); /* 1024 Hz: 976 us */
    assert_int_equal(at(0x0C, 1.203), 0x40);
    set(0x0A, 0x20, 1.21);
    assert_int_equal(at(0x0C, 1.9), 0);
    set(0x0C, 0xFF, 1.9);
    set(0x0D, 0x00, 1.9);
    assert_int_equal(at(0x0C, 1.9), 0);
    assert_int_equal(at(0x0D, 1.9), 0x80);
}

static void test_memory_sizes(void **state)
{
    const struct rtc_source source = { T0, START, HZ };

    (void)state;
    assert_int_equal(at(0x15, 0) | at(0x16, 0) << 8, 640);
    assert_int_equal(at(0x17, 0) | at(0x18, 0) << 8, 0xFFFF);
    assert_int_equal(at(0x30, 0) | at(0x31, 0) << 8, 0xFFFF);
    assert_int_equal(at(0x34, 0) | at(0x35, 0) << 8, (512 - 16) * 16);
    assert_int_equal(at(0x5B, 0) | at(0x5C, 0) << 8 | at(0x5D, 0) << 16, 0);
    ram_plan(&ram, GIB(5));
    rtc_fill(&rtc, &ram, &source);
    assert_int_equal(at(0x34, 0) | at(0x35, 0) << 8, (3072 - 16) * 16);
    assert_int_equal(at(0x5B, 0) | at(0x5C, 0) << 8 | at(0x5D, 0) << 16, 2048 * 16);
    ram_plan(&ram, MIB(8));
    rtc_fill(&rtc, &ram, &source);
    assert_int_equal(at(0x17, 0) | at(0x18, 0) << 8, 7 << 10);
    assert_int_equal(at(0x34, 0) | at(0x35, 0) << 8, 0);
}

/* Against the C library, over 400 years and both ways. */
static void test_calendar(void **state)
{
    (void)state;
    for (int64_t t = -86400LL * 365 * 200; t < 86400LL * 365 * 200; t += 86400 * 13 + 4567) {
        time_t seconds = (time_t)t;
        struct tm expected;
        gmtime_r(&seconds, &expected);
        struct calendar got = calendar_from_seconds(t);
        assert_int_equal(got.year, expected.tm_year + 1900);
        assert_int_equal(got.month, expected.tm_mon + 1);
        assert_int_equal(got.day, expected.tm_mday);
        assert_int_equal(got.weekday, expected.tm_wday + 1);
        assert_int_equal(got.hour, expected.tm_hour);
        assert_int_equal(got.minute, expected.tm_min);
        assert_int_equal(got.second, expected.tm_sec);
        assert_true(calendar_to_seconds(&got) == t);
    }
}

/* Every day from 1999 to 2001 and around 2100: leap years of all kinds. */
static void test_calendar_days(void **state)
{
    (void)state;
    for (int64_t day = 10592; day < 11688; day++) {
        struct calendar got = calendar_from_seconds(day * 86400);
        assert_true(calendar_to_seconds(&got) == day * 86400);
    }
    struct calendar got = calendar_from_seconds(4107542400); /* 2100-03-01: no leap year */
    assert_int_equal(got.month, 3);
    assert_int_equal(got.day, 1);
    got = calendar_from_seconds(4107542399);
    assert_int_equal(got.month, 2);
    assert_int_equal(got.day, 28);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_time_goes_on, setup),
        cmocka_unit_test_setup(test_formats, setup),
        cmocka_unit_test_setup(test_update_in_progress, setup),
        cmocka_unit_test_setup(test_set_stops_and_restarts, setup),
        cmocka_unit_test_setup(test_write_while_running, setup),
        cmocka_unit_test_setup(test_flags, setup),
        cmocka_unit_test_setup(test_memory_sizes, setup),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_calendar_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
