/* SPDX-License-Identifier: MIT */
/* The local APIC timer: modes, divide, counts, drift, deadlines under TSC offsets. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

enum { VECTOR = 0xEF };

static void start_timer(uint32_t mode, uint32_t divide_code)
{
    start_software(1);
    model.tsc = 5000;
    mmio_set(0, APIC_LVT_TIMER, mode << 17 | VECTOR);
    mmio_set(0, APIC_DIVIDE, divide_code);
}

/* Let time pass; did the timer fire? */
static bool fired_at(uint64_t tsc)
{
    model.tsc = tsc;
    lapic_timer_poll(lapic_of(0), tsc);
    int vector = model_enter(0);
    if (vector == VECTOR) {
        model_eoi(0);
    }
    return vector == VECTOR;
}

static void test_one_shot(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
    mmio_set(0, APIC_INITIAL_COUNT, 1000);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 6000);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 1000);
    model.tsc = 5999;
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 1);
    assert_false(fired_at(5999));
    model.tsc = 6000;
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 0);
    assert_true(fired_at(6000));
    assert_false(fired_at(9000));
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 0);
    assert_int_equal(mmio_get(0, APIC_INITIAL_COUNT), 1000);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
}

static void test_writing_zero_stops(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 20000);
    mmio_set(0, APIC_INITIAL_COUNT, 0);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 0);
    assert_false(fired_at(1000000));
}

static void test_divide(void **state)
{
    (void)state;
    static const struct {
        uint32_t code, divide;
    } rows[] = { { 0x0, 2 },  { 0x1, 4 },  { 0x2, 8 },   { 0x3, 16 },
                 { 0x8, 32 }, { 0x9, 64 }, { 0xA, 128 }, { 0xB, 1 } };
    for (unsigned i = 0; i < 8; i++) {
        start_timer(APIC_TIMER_ONE_SHOT, rows[i].code);
        mmio_set(0, APIC_INITIAL_COUNT, 100);
        assert_int_equal(lapic_timer_deadline(lapic_of(0)), 5000 + 100 * rows[i].divide);
        model.tsc += 50 * rows[i].divide;
        assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 50);
    }
}

static void test_input_clock(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    model.vm.tsc_per_timer_tick = 26;
    mmio_set(0, APIC_INITIAL_COUNT, 0xFFFFFFFF);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 5000 + 26ULL * 0xFFFFFFFF);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 0xFFFFFFFF);
}

static void test_divide_change_keeps_the_count(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 1000);
    model.tsc += 400;
    mmio_set(0, APIC_DIVIDE, 0x3);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 600);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 5400 + 600 * 16);
    mmio_set(0, APIC_DIVIDE, 0xB);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 6000);
}

static void test_periodic_has_no_drift(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 12345);
    uint64_t start = model.tsc;
    for (uint64_t i = 1; i <= 1000000; i++) {
        uint64_t due = start + i * 12345;
        assert_int_equal(lapic_timer_deadline(lapic_of(0)), due);
        model.tsc = due + i % 777; /* always late */
        lapic_timer_poll(lapic_of(0), model.tsc);
    }
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), start + 1000001ULL * 12345);
}

static void test_periodic_coalesces_missed_periods(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 20000);
    assert_true(fired_at(5000 + 5 * 20000 + 7));
    assert_false(fired_at(5000 + 6 * 20000 - 1));
    assert_true(fired_at(5000 + 6 * 20000));
}

static void test_periodic_current_count(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 20000);
    model.tsc = 5000 + 20000;
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 20000);
    model.tsc = 5000 + 3 * 20000 + 1;
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 19999);
}

/* A period shorter than the floor: fewer interrupts, the phase and the count stay exact. */
static void test_short_periods_coalesce(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 7);
    assert_true(fired_at(5007));
    uint64_t next = lapic_timer_deadline(lapic_of(0));
    assert_true(next >= 5007 + LAPIC_TIMER_FLOOR && next <= 5007 + LAPIC_TIMER_FLOOR + 7);
    assert_int_equal((next - 5000) % 7, 0);
    model.tsc = 5007 + 7 * 3 + 2;
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 5);
}

static void test_masked_timer_goes_on_silently(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 20000);
    mmio_set(0, APIC_LVT_TIMER, 0x30000 | VECTOR);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
    assert_false(fired_at(5000 + 20000));
    model.tsc = 5000 + 20000 * 3 + 5;
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 19995);
    mmio_set(0, APIC_LVT_TIMER, 0x20000 | VECTOR); /* what expired under the mask is gone */
    assert_false(fired_at(5000 + 20000 * 3 + 5));
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 5000 + 20000 * 4);
}

static void test_software_disable_masks_the_timer(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 100);
    mmio_set(0, APIC_SVR, 0xFF);
    assert_false(fired_at(9000));
}

/* --- Mode changes ----------------------------------------------------------------------------- */

static void test_one_shot_to_periodic_and_back_keeps_counting(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 20000);
    model.tsc += 15000;
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_PERIODIC << 17 | VECTOR);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 5000);
    assert_true(fired_at(25000));
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 20000);
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT << 17 | VECTOR);
    assert_true(fired_at(45000));
    assert_false(fired_at(65000));
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_PERIODIC << 17 | VECTOR);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 0);
    assert_false(fired_at(95000));
}

static void test_deadline_mode_disarms_on_entry_and_exit(void **state)
{
    (void)state;
    uint64_t value;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 1000);
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_TSC_DEADLINE << 17 | VECTOR);
    assert_int_equal(mmio_get(0, APIC_INITIAL_COUNT), 0);
    assert_false(fired_at(20000));
    mmio_set(0, APIC_INITIAL_COUNT, 1000); /* ignored */
    assert_int_equal(mmio_get(0, APIC_INITIAL_COUNT), 0);
    assert_false(fired_at(30000));
    lapic_write_msr(lapic_of(0), MSR_TSC_DEADLINE, 40000);
    assert_int_equal(mmio_get(0, APIC_CURRENT_COUNT), 0);
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_ONE_SHOT << 17 | VECTOR);
    assert_false(fired_at(50000));
    lapic_read_msr(lapic_of(0), MSR_TSC_DEADLINE, &value);
    assert_int_equal(value, 0);
}

static void test_reserved_mode_does_not_run(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_RESERVED, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 10);
    lapic_write_msr(lapic_of(0), MSR_TSC_DEADLINE, 5100);
    assert_false(fired_at(100000));
}

/* The LVT value reaches the handler through the page when hardware stored it. */
static void test_mode_change_by_apic_write_exit(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 1000);
    uint32_t lvt = APIC_TIMER_TSC_DEADLINE << 17 | VECTOR;
    memcpy(&model.vcpu[0].page[APIC_LVT_TIMER], &lvt, 4);
    lapic_apic_write(lapic_of(0), APIC_LVT_TIMER);
    assert_false(fired_at(20000));
    lapic_write_msr(lapic_of(0), MSR_TSC_DEADLINE, 21000);
    assert_true(fired_at(21000));
}

/* --- TSC-deadline ----------------------------------------------------------------------------- */

static uint64_t read_deadline(void)
{
    uint64_t value = 1;
    assert_int_equal(lapic_read_msr(lapic_of(0), MSR_TSC_DEADLINE, &value), RIVET_OK);
    return value;
}

static void set_deadline(uint64_t value)
{
    assert_int_equal(lapic_write_msr(lapic_of(0), MSR_TSC_DEADLINE, value), RIVET_OK);
}

static void test_deadline(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    set_deadline(8000);
    assert_int_equal(read_deadline(), 8000);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 8000);
    assert_false(fired_at(7999));
    assert_true(fired_at(8000));
    assert_int_equal(read_deadline(), 0);
    assert_false(fired_at(9000));
}

static void test_deadline_in_the_past_fires_at_once(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    set_deadline(1);
    assert_int_equal(read_deadline(), 0);
    assert_int_equal(model_enter(0), VECTOR);
}

/* Nobody looked when it passed: replacing it does not lose its interrupt. */
static void test_passed_deadline_fires_before_it_is_replaced(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    set_deadline(8000);
    model.tsc = 8001;
    set_deadline(20000);
    assert_int_equal(model_enter(0), VECTOR);
    model_eoi(0);
    assert_true(fired_at(20000));
    set_deadline(21000);
    model.tsc = 21000;
    lapic_set_tsc_offset(lapic_of(0), -10000);
    assert_int_equal(model_enter(0), VECTOR);
}

static void test_passed_count_fires_before_it_is_replaced(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 100);
    model.tsc += 101;
    mmio_set(0, APIC_INITIAL_COUNT, 5000);
    assert_int_equal(model_enter(0), VECTOR);
    model_eoi(0);
    model.tsc += 5001;
    mmio_set(0, APIC_DIVIDE, 0x3);
    assert_int_equal(model_enter(0), VECTOR);
}

static void test_deadline_zero_disarms(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    set_deadline(8000);
    set_deadline(0);
    assert_false(fired_at(100000));
}

static void test_deadline_ignored_in_other_modes(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_PERIODIC, 0);
    set_deadline(8000);
    assert_int_equal(read_deadline(), 0);
    assert_false(fired_at(100000));
}

static void test_deadline_expired_under_mask_reads_zero(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    mmio_set(0, APIC_LVT_TIMER, 0x50000 | VECTOR);
    set_deadline(8000);
    model.tsc = 8001;
    assert_int_equal(read_deadline(), 0);
}

static void test_deadline_moves_with_the_tsc_offset(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    lapic_set_tsc_offset(lapic_of(0), -4000); /* guest TSC 1000 */
    set_deadline(3000);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 7000);
    lapic_set_tsc_offset(lapic_of(0), -3500); /* the guest moved its TSC on by 500 */
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 6500);
    assert_int_equal(read_deadline(), 3000);
    lapic_set_tsc_offset(lapic_of(0), 100000); /* beyond the deadline: due now */
    assert_int_equal(read_deadline(), 0);
    assert_true(fired_at(5000));
}

static void test_one_shot_does_not_care_about_the_offset(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_ONE_SHOT, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 1000);
    lapic_set_tsc_offset(lapic_of(0), 99999);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 6000);
}

static void test_deadline_far_away(void **state)
{
    (void)state;
    start_timer(APIC_TIMER_TSC_DEADLINE, 0);
    lapic_set_tsc_offset(lapic_of(0), -5000);
    set_deadline(UINT64_MAX);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
    lapic_set_tsc_offset(lapic_of(0), INT64_MIN);
    set_deadline(0x8000000000001388 + 77); /* guest TSC is 2^63 + 5000 */
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), 5077);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_shot),
        cmocka_unit_test(test_writing_zero_stops),
        cmocka_unit_test(test_divide),
        cmocka_unit_test(test_input_clock),
        cmocka_unit_test(test_divide_change_keeps_the_count),
        cmocka_unit_test(test_periodic_has_no_drift),
        cmocka_unit_test(test_periodic_coalesces_missed_periods),
        cmocka_unit_test(test_periodic_current_count),
        cmocka_unit_test(test_short_periods_coalesce),
        cmocka_unit_test(test_masked_timer_goes_on_silently),
        cmocka_unit_test(test_software_disable_masks_the_timer),
        cmocka_unit_test(test_one_shot_to_periodic_and_back_keeps_counting),
        cmocka_unit_test(test_deadline_mode_disarms_on_entry_and_exit),
        cmocka_unit_test(test_reserved_mode_does_not_run),
        cmocka_unit_test(test_mode_change_by_apic_write_exit),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_deadline_in_the_past_fires_at_once),
        cmocka_unit_test(test_passed_deadline_fires_before_it_is_replaced),
        cmocka_unit_test(test_passed_count_fires_before_it_is_replaced),
        cmocka_unit_test(test_deadline_zero_disarms),
        cmocka_unit_test(test_deadline_ignored_in_other_modes),
        cmocka_unit_test(test_deadline_expired_under_mask_reads_zero),
        cmocka_unit_test(test_deadline_moves_with_the_tsc_offset),
        cmocka_unit_test(test_one_shot_does_not_care_about_the_offset),
        cmocka_unit_test(test_deadline_far_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
