/* SPDX-License-Identifier: MIT */
/* IA32_APIC_BASE: every transition between the modes, reserved bits, what survives. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#define XAPIC    (0xFEE00000ULL | APIC_BASE_EN)
#define X2APIC   (XAPIC | APIC_BASE_EXTD)
#define DISABLED 0xFEE00000ULL
#define INVALID  (DISABLED | APIC_BASE_EXTD)

static void go_to(uint64_t base)
{
    model_start(&model_all_features, 2);
    if (base != XAPIC) {
        assert_int_equal(lapic_write_base(lapic_of(1), base), RIVET_OK);
    }
}

static void test_base_after_reset(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    assert_int_equal(lapic_read_base(lapic_of(0)), XAPIC | APIC_BASE_BSP);
    assert_int_equal(lapic_read_base(lapic_of(1)), XAPIC);
    assert_int_equal(lapic_mode(lapic_of(0)), LAPIC_XAPIC);
}

static void test_every_transition(void **state)
{
    (void)state;
    static const struct {
        uint64_t from, to;
        int result;
        enum lapic_mode mode;
    } rows[] = {
        { DISABLED, DISABLED, RIVET_OK, LAPIC_DISABLED },
        { DISABLED, XAPIC, RIVET_OK, LAPIC_XAPIC },
        { DISABLED, X2APIC, ERR_GP, LAPIC_DISABLED },
        { DISABLED, INVALID, ERR_GP, LAPIC_DISABLED },
        { XAPIC, DISABLED, RIVET_OK, LAPIC_DISABLED },
        { XAPIC, XAPIC, RIVET_OK, LAPIC_XAPIC },
        { XAPIC, X2APIC, RIVET_OK, LAPIC_X2APIC },
        { XAPIC, INVALID, ERR_GP, LAPIC_XAPIC },
        { X2APIC, DISABLED, RIVET_OK, LAPIC_DISABLED },
        { X2APIC, XAPIC, ERR_GP, LAPIC_X2APIC },
        { X2APIC, X2APIC, RIVET_OK, LAPIC_X2APIC },
        { X2APIC, INVALID, ERR_GP, LAPIC_X2APIC },
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        go_to(rows[i].from);
        uint64_t expected = rows[i].result == RIVET_OK ? rows[i].to : rows[i].from;
        assert_int_equal(lapic_write_base(lapic_of(1), rows[i].to), rows[i].result);
        assert_int_equal(lapic_mode(lapic_of(1)), rows[i].mode);
        assert_int_equal(lapic_read_base(lapic_of(1)), expected);
    }
}

static void test_reserved_bits(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    for (unsigned bit = 0; bit < 64; bit++) {
        bool reserved = bit < 8 || bit == 9 || bit >= 40;
        bool mode_bit = bit == 10 || bit == 11;
        if (!mode_bit) {
            assert_int_equal(lapic_write_base(lapic_of(0), XAPIC | 1ULL << bit),
                             reserved ? ERR_GP : RIVET_OK);
        }
    }
    struct apic_features features = model_all_features;
    features.physical_address_bits = 0;
    model_start(&features, 1);
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC | 1ULL << 51), RIVET_OK);
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC | 1ULL << 52), ERR_GP);
}

/* Without x2APIC mode EXTD is a reserved bit, whoever writes it. */
static void test_no_x2apic(void **state)
{
    (void)state;
    struct apic_features features = model_all_features;
    features.no_x2apic = true;
    model_start(&features, 1);
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC | 1ULL << 10), ERR_GP);
    assert_int_equal(lapic_mode(lapic_of(0)), LAPIC_XAPIC);
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC | 1ULL << 8), RIVET_OK);
}

static void test_xapic_to_x2apic_keeps_the_rest(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    model_enable_all();
    mmio_set(1, APIC_TPR, 0x20);
    mmio_set(1, APIC_LVT_LINT1, 0x400);
    mmio_set(1, APIC_ID, 0x77000000);
    mmio_set(1, APIC_LDR, 0x55000000);
    mmio_set(1, APIC_ICR2, 0x09000000);
    mmio_set(1, APIC_ICR, 0x40F1);
    post(1, 0x99);
    model_enter_x2apic(1);
    assert_int_equal(msr_get(1, APIC_TPR), 0x20);
    assert_int_equal(msr_get(1, APIC_LVT_LINT1), 0x400);
    assert_int_equal(msr_get(1, APIC_SVR), 0x1FF);
    assert_int_equal(msr_get(1, APIC_ID), 1);
    assert_int_equal(msr_get(1, APIC_LDR), 2);
    assert_int_equal(msr_get(1, APIC_ICR), 0x40F1);
    assert_int_equal(model_read(1, APIC_ICR2), 0);
    assert_int_equal(model_enter(1), 0x99);
}

static void test_disabling_loses_state_but_not_the_id(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    model_enable_all();
    mmio_set(1, APIC_TPR, 0x20);
    mmio_set(1, APIC_ID, 0x77000000);
    post(1, 0x99);
    assert_int_equal(lapic_write_base(lapic_of(1), DISABLED), RIVET_OK);
    assert_false(post(1, 0x98));
    assert_int_equal(model_enter(1), -1);
    assert_int_equal(lapic_write_base(lapic_of(1), XAPIC), RIVET_OK);
    assert_int_equal(mmio_get(1, APIC_TPR), 0);
    assert_int_equal(mmio_get(1, APIC_SVR), 0xFF);
    assert_int_equal(mmio_get(1, APIC_ID), 0x01000000);
    assert_int_equal(model_enter(1), -1);
}

/* A poster that saw the local APIC enabled a moment ago: its interrupt dies with the mode. */
static void test_interrupt_posted_into_a_disabled_apic_is_dropped(void **state)
{
    (void)state;
    start_apicv(1);
    assert_int_equal(lapic_write_base(lapic_of(0), DISABLED), RIVET_OK);
    model.vcpu[0].pi.pir[1] = 1;
    model.vcpu[0].pi.control |= 1;
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC), RIVET_OK);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model_highest(0, APIC_IRR), -1);
}

static void test_init_keeps_mode_and_id(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    model_enable_all();
    mmio_set(1, APIC_ID, 0x42000000);
    mmio_set(1, APIC_TPR, 0x30);
    lapic_reset(lapic_of(1), true);
    assert_int_equal(mmio_get(1, APIC_ID), 0x42000000);
    assert_int_equal(mmio_get(1, APIC_TPR), 0);
    model_enter_x2apic(1);
    lapic_reset(lapic_of(1), true);
    assert_int_equal(lapic_mode(lapic_of(1)), LAPIC_X2APIC);
    assert_int_equal(msr_get(1, APIC_ID), 1);
    assert_int_equal(msr_get(1, APIC_LDR), 2);
    assert_int_equal(msr_get(1, APIC_SVR), 0xFF);
    lapic_reset(lapic_of(1), false);
    assert_int_equal(lapic_mode(lapic_of(1)), LAPIC_XAPIC);
    assert_int_equal(mmio_get(1, APIC_ID), 0x01000000);
}

static void test_moved_base_inhibits_apicv(void **state)
{
    (void)state;
    start_apicv(2);
    assert_true(lapic_apicv_active(lapic_of(0)));
    assert_int_equal(lapic_write_base(lapic_of(1), 0xFED00000 | APIC_BASE_EN), RIVET_OK);
    model_enter(0);
    model_enter(1);
    assert_false(lapic_apicv_active(lapic_of(0)));
    assert_false(lapic_apicv_active(lapic_of(1)));
    assert_int_equal(lapic_write_base(lapic_of(1), XAPIC), RIVET_OK);
    model_enter(0);
    assert_true(lapic_apicv_active(lapic_of(0)));
}

static void test_bsp_bit_alone_changes_nothing(void **state)
{
    (void)state;
    start_apicv(1);
    unsigned refreshes = model.vcpu[0].refreshes;
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC), RIVET_OK);
    model_enter(0);
    assert_int_equal(model.vcpu[0].refreshes, refreshes);
}

static void test_apicv_is_never_active_while_disabled(void **state)
{
    (void)state;
    start_apicv(1);
    assert_int_equal(lapic_write_base(lapic_of(0), DISABLED), RIVET_OK);
    model_enter(0);
    assert_false(lapic_apicv_active(lapic_of(0)));
    assert_int_equal(lapic_write_base(lapic_of(0), XAPIC), RIVET_OK);
    model_enter(0);
    assert_false(lapic_apicv_active(lapic_of(0))); /* software has not enabled it yet */
    lapic_mmio_write(lapic_of(0), APIC_SVR, 4, 0x1FF);
    model_enter(0);
    assert_true(lapic_apicv_active(lapic_of(0)));
    lapic_mmio_write(lapic_of(0), APIC_SVR, 4, 0xFF);
    model_enter(0);
    assert_false(lapic_apicv_active(lapic_of(0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_after_reset),
        cmocka_unit_test(test_every_transition),
        cmocka_unit_test(test_reserved_bits),
        cmocka_unit_test(test_no_x2apic),
        cmocka_unit_test(test_xapic_to_x2apic_keeps_the_rest),
        cmocka_unit_test(test_disabling_loses_state_but_not_the_id),
        cmocka_unit_test(test_interrupt_posted_into_a_disabled_apic_is_dropped),
        cmocka_unit_test(test_init_keeps_mode_and_id),
        cmocka_unit_test(test_moved_base_inhibits_apicv),
        cmocka_unit_test(test_bsp_bit_alone_changes_nothing),
        cmocka_unit_test(test_apicv_is_never_active_while_disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
