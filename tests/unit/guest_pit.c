/* SPDX-License-Identifier: MIT */
/* The 8254 of a VM, against its data sheet, through its ports. */
/* links: guest/pit.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "apic/lapic.h"
#include "apic/port.h"
#include "guest/isa_irq.h"
#include "guest/pit.h"
#include "lib/error.h"

/* 10 TSC ticks are one of the timer: every time below is exact. */
enum { TSC_PER_TICK = 10, COUNTER = 0x40, CONTROL = 0x43, PORT_B = 0x61 };

static struct vm vm;
static struct lapic lapic;
static struct pit pit;
static uint64_t tsc;
static bool line;
static unsigned rises, kicks;

int vm_add_io(struct vm *to, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    vm.io[to->io_count++] = (struct io_region){ port, count, ops, device };
    return RIVET_OK;
}

void isa_irq_set(struct vm *of, unsigned irq, bool level)
{
    assert_ptr_equal(of, &vm);
    assert_int_equal(irq, 0);
    assert_true(level != line);
    line = level;
    rises += level;
}

void apic_port_kick(struct lapic *to)
{
    assert_ptr_equal(to, &lapic);
    kicks++;
}

uint64_t apic_port_tsc(void)
{
    return tsc;
}

static const struct io_region *region(uint16_t port)
{
    return port == PORT_B ? &vm.io[1] : &vm.io[0];
}

static void out(uint16_t port, uint8_t value)
{
    region(port)->ops->write(&pit, port - region(port)->base, 1, value);
}

static uint8_t in(uint16_t port)
{
    return (uint8_t)region(port)->ops->read(&pit, port - region(port)->base, 1);
}

static void pass(uint64_t ticks)
{
    tsc += ticks * TSC_PER_TICK;
}

static void program(unsigned channel, unsigned mode, uint16_t count)
{
    out(CONTROL, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    out((uint16_t)(COUNTER + channel), (uint8_t)count);
    out((uint16_t)(COUNTER + channel), (uint8_t)(count >> 8));
}

static uint16_t latched(unsigned channel)
{
    out(CONTROL, (uint8_t)(channel << 6));
    uint8_t low = in((uint16_t)(COUNTER + channel));
    return (uint16_t)(low | in((uint16_t)(COUNTER + channel)) << 8);
}

static uint8_t status(unsigned channel)
{
    out(CONTROL, (uint8_t)(0xE0 | 2U << channel));
    return in((uint16_t)(COUNTER + channel));
}

static bool out_2(void)
{
    return (in(PORT_B)&0x20) != 0;
}

static int setup(void **state)
{
    (void)state;
    vm = (struct vm){ .apic.lapics = { &lapic }, .device_deadline = UINT64_MAX };
    line = false;
    tsc = 123456789 * (uint64_t)TSC_PER_TICK;
    assert_int_equal(pit_init(&pit, &vm, (uint64_t)PIT_HZ * TSC_PER_TICK), RIVET_OK);
    pit_reset(&pit, false, tsc);
    rises = kicks = 0;
    return 0;
}

static uint64_t deadline(void)
{
    return atomic_load(&vm.device_deadline);
}

static void test_reset_and_firmware(void **state)
{
    (void)state;
    assert_int_equal(deadline(), UINT64_MAX);
    assert_int_equal(status(0), 0xF6); /* OUT, null count, both bytes, mode 3 */
    pit_reset(&pit, true, tsc);
    assert_int_equal(deadline(), tsc + 65536 * TSC_PER_TICK);
    assert_int_equal(status(0), 0xB6);
}

static void test_periodic_without_drift(void **state)
{
    (void)state;
    uint64_t start = tsc;
    program(0, 2, 5000);
    assert_true(kicks > 0);
    for (unsigned period = 1; period <= 100; period++) {
        assert_int_equal(deadline(), start + period * 5000ULL * TSC_PER_TICK);
        tsc = deadline() + period; /* late by that much */
        pit_poll(&pit, tsc);
        assert_int_equal(rises, period);
    }
    pit_poll(&pit, tsc);
    assert_int_equal(rises, 100);
    pass(12000); /* two at once are one */
    pit_poll(&pit, tsc);
    assert_int_equal(rises, 101);
    assert_int_equal((deadline() - start) % (5000 * TSC_PER_TICK), 0);
}

static void test_uneven_frequencies(void **state)
{
    (void)state;
    line = false;
    pit_init(&pit, &vm, 999998123);
    pit_reset(&pit, true, tsc);
    uint64_t due = deadline();
    rises = 0;
    pit_poll(&pit, due - 1);
    assert_int_equal(rises, 0);
    pit_poll(&pit, due);
    assert_int_equal(rises, 1);
    assert_in_range(due - tsc, 54924000, 54927000);
}

static void test_fast_period_is_limited(void **state)
{
    (void)state;
    program(0, 2, 2);
    tsc = deadline();
    pit_poll(&pit, tsc);
    assert_in_range(deadline() - tsc, PIT_FLOOR, PIT_FLOOR + 4 * TSC_PER_TICK);
}

static void test_terminal_count(void **state)
{
    (void)state;
    out(CONTROL, 0x30);
    assert_false(line);
    out(COUNTER, 100);
    assert_int_equal(deadline(), UINT64_MAX); /* the second byte is missing */
    out(COUNTER, 0);
    assert_int_equal(deadline(), tsc + 100 * TSC_PER_TICK);
    pass(40);
    assert_int_equal(latched(0), 60);
    assert_int_equal(status(0), 0x30);
    pass(60);
    pit_poll(&pit, tsc);
    assert_true(line);
    assert_int_equal(rises, 1);
    assert_int_equal(deadline(), UINT64_MAX);
    assert_int_equal(status(0), 0xB0);
    pass(1);
    assert_int_equal(latched(0), 0xFFFF); /* it goes on */
    out(COUNTER, 7);                      /* the first byte stops it, and the output falls */
    assert_false(line);
}

static void test_strobe(void **state)
{
    (void)state;
    program(0, 4, 50);
    assert_true(line);
    rises = 0;
    assert_int_equal(deadline(), tsc + 51 * TSC_PER_TICK);
    pass(50);
    assert_int_equal(status(0) & 0x80, 0);
    pass(1);
    pit_poll(&pit, tsc);
    assert_int_equal(rises, 1);
    assert_int_equal(status(0) & 0x80, 0x80);
}

static void test_count_of_each_mode(void **state)
{
    (void)state;
    out(PORT_B, 1);
    program(2, 2, 1000);
    pass(1300);
    assert_int_equal(latched(2), 700);
    pass(699);
    assert_false(out_2()); /* for the last tick of a period */
    pass(1);
    assert_true(out_2());
    program(2, 3, 1000);
    pass(300);
    assert_int_equal(latched(2), 400); /* by two */
    assert_true(out_2());
    pass(300);
    assert_int_equal(latched(2), 800);
    assert_false(out_2());
    program(2, 0, 0);
    pass(1);
    assert_int_equal(latched(2), 0xFFFF);
    out(CONTROL, 0xBE); /* mode 7 is 3 */
    assert_int_equal(status(2) & 0x0E, 0x06);
}

static void test_bcd(void **state)
{
    (void)state;
    out(PORT_B, 1);
    out(CONTROL, 0xB1);
    out(COUNTER + 2, 0x34);
    out(COUNTER + 2, 0x12);
    pass(35);
    assert_int_equal(latched(2), 0x1199);
    pass(1200);
    assert_int_equal(latched(2), 0x9999);
    assert_int_equal(status(2) & 1, 1);
}

static void test_gate(void **state)
{
    (void)state;
    program(2, 0, 100);
    pass(50);
    assert_int_equal(latched(2), 100); /* the gate is low */
    out(PORT_B, 1);
    pass(30);
    out(PORT_B, 0);
    pass(500);
    assert_int_equal(latched(2), 70);
    assert_false(out_2());
    out(PORT_B, 1);
    pass(70);
    assert_true(out_2());
    program(2, 1, 100); /* waits for a rise */
    pass(500);
    assert_true(out_2());
    out(PORT_B, 0);
    out(PORT_B, 1);
    assert_false(out_2());
    pass(100);
    assert_true(out_2());
    program(2, 2, 100);
    pass(30);
    out(PORT_B, 0);
    assert_true(out_2());
    out(PORT_B, 3); /* begins anew */
    pass(10);
    assert_int_equal(latched(2), 90);
    assert_int_equal(in(PORT_B)&0x0F, 3);
}

static void test_refresh_bit_changes(void **state)
{
    (void)state;
    assert_int_equal((in(PORT_B) ^ in(PORT_B)) & 0x10, 0x10);
}

static void test_single_bytes(void **state)
{
    (void)state;
    out(PORT_B, 1);
    out(CONTROL, 0x90);
    out(COUNTER + 2, 200);
    pass(50);
    assert_int_equal(in(COUNTER + 2), 150);
    out(CONTROL, 0xA0);
    out(COUNTER + 2, 2);
    pass(0x50);
    assert_int_equal(in(COUNTER + 2), 1);
    out(CONTROL, 0xB0); /* both, without a latch */
    out(COUNTER + 2, 0x34);
    out(COUNTER + 2, 0x12);
    assert_int_equal(in(COUNTER + 2), 0x34);
    assert_int_equal(in(COUNTER + 2), 0x12);
    assert_int_equal(in(CONTROL), 0xFF);
}

static void test_latches_keep_the_first(void **state)
{
    (void)state;
    program(0, 2, 1000);
    out(CONTROL, 0xC2); /* status and count of channel 0 */
    pass(100);
    out(CONTROL, 0xC2);
    out(CONTROL, 0x00);
    assert_int_equal(in(COUNTER), 0xB4);
    assert_int_equal(in(COUNTER), 1000 & 0xFF);
    assert_int_equal(in(COUNTER), 1000 >> 8);
    assert_int_equal(in(COUNTER), 900 & 0xFF);
    assert_int_equal(in(COUNTER), 900 >> 8);
    assert_int_equal(deadline() - tsc, 900 * TSC_PER_TICK); /* and do not disturb */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_and_firmware, setup),
        cmocka_unit_test_setup(test_periodic_without_drift, setup),
        cmocka_unit_test_setup(test_uneven_frequencies, setup),
        cmocka_unit_test_setup(test_fast_period_is_limited, setup),
        cmocka_unit_test_setup(test_terminal_count, setup),
        cmocka_unit_test_setup(test_strobe, setup),
        cmocka_unit_test_setup(test_count_of_each_mode, setup),
        cmocka_unit_test_setup(test_bcd, setup),
        cmocka_unit_test_setup(test_gate, setup),
        cmocka_unit_test_setup(test_refresh_bit_changes, setup),
        cmocka_unit_test_setup(test_single_bytes, setup),
        cmocka_unit_test_setup(test_latches_keep_the_first, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
