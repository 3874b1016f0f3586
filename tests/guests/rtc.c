/* SPDX-License-Identifier: MIT */
/* The real-time clock at ports 70H and 71H (Motorola MC146818 datasheet): time, memory, flags. */
#include "tests/guests/lib/guest.h"

enum { INDEX = 0x70, DATA = 0x71, NMI_DISABLE = 0x80 };
enum { SECONDS = 0, MINUTES = 2, HOURS = 4, WEEKDAY = 6, DAY = 7, MONTH = 8, YEAR = 9 };
enum { REGISTER_A = 10, REGISTER_B = 11, REGISTER_C = 12, REGISTER_D = 13, MEMORY = 0x70 };
enum { A_UIP = 0x80, B_SET = 0x80, B_BINARY = 4, B_24_HOURS = 2, D_VALID = 0x80 };

static unsigned get(unsigned reg)
{
    outb(INDEX, (uint8_t)(NMI_DISABLE | reg));
    return inb(DATA);
}

static void put(unsigned reg, unsigned value)
{
    outb(INDEX, (uint8_t)(NMI_DISABLE | reg));
    outb(DATA, (uint8_t)value);
}

static void wait_update_over(void)
{
    while ((get(REGISTER_A) & A_UIP) != 0) {
        cpu_relax();
    }
}

/* A field as a number, in the format that register B tells. */
static unsigned get_number(unsigned reg)
{
    unsigned value = get(reg);
    if ((get(REGISTER_B) & B_BINARY) != 0) {
        return value;
    }
    return (value & 0xF) < 10 && value >> 4 < 10 ? (value >> 4) * 10 + (value & 0xF) : ~0U;
}

static void test_fields(void)
{
    wait_update_over();
    report(get_number(SECONDS) < 60, "seconds are 0 to 59");
    report(get_number(MINUTES) < 60, "minutes are 0 to 59");
    report((get(REGISTER_B) & B_24_HOURS) != 0, "hours count to 24");
    report(get_number(HOURS) < 24, "hours are 0 to 23");
    report(get_number(WEEKDAY) >= 1 && get_number(WEEKDAY) <= 7, "the day of the week is 1 to 7");
    report(get_number(DAY) >= 1 && get_number(DAY) <= 31, "the day is 1 to 31");
    report(get_number(MONTH) >= 1 && get_number(MONTH) <= 12, "the month is 1 to 12");
    report(get_number(YEAR) < 100, "the year is 0 to 99");
    report(get(REGISTER_D) == D_VALID, "register D says that the time is valid");
    report((get(REGISTER_A) & 0x70) == 0x20, "register A: the oscillator runs at 32768 Hz");
}

static unsigned wait_next_second(void)
{
    unsigned before = get(SECONDS);
    do {
        wait_update_over();
    } while (get(SECONDS) == before);
    return get_number(SECONDS);
}

static void test_runs(void)
{
    unsigned first = wait_next_second();
    unsigned second = wait_next_second();
    report(second == (first + 1) % 60, "seconds follow each other");
}

static void test_memory(void)
{
    unsigned old = get(MEMORY);
    bool holds = true;
    for (unsigned value = 0; value < 256; value++) {
        put(MEMORY, value);
        holds = get(MEMORY) == value && holds;
    }
    put(MEMORY, 0x5A);
    put(MEMORY + 1, 0xA5);
    holds = get(MEMORY) == 0x5A && get(MEMORY + 1) == 0xA5 && holds;
    put(MEMORY, old);
    report(holds, "memory behind the clock holds what is written");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "fields", test_fields },
        { "runs", test_runs },
        { "memory", test_memory },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
