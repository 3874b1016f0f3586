/* SPDX-License-Identifier: MIT */
/* SVR, the local vector table and ESR. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

/* --- SVR and LVT ------------------------------------------------------------------------------ */

static void test_software_disable_masks_lvt(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    mmio_set(0, APIC_LVT_LINT1, 0x400);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT1), 0x10400);
    mmio_set(0, APIC_SVR, 0x1FF);
    mmio_set(0, APIC_LVT_LINT1, 0x400);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT1), 0x400);
    mmio_set(0, APIC_SVR, 0xFF);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT1), 0x10400);
    mmio_set(0, APIC_SVR, 0x1FF);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT1), 0x10400);
}

static void test_software_disabled_takes_no_fixed_interrupt(void **state)
{
    (void)state;
    struct apic_message nmi = { .delivery_mode = APIC_DELIVERY_NMI };
    start_software(1);
    assert_true(post(0, 0x40));
    mmio_set(0, APIC_SVR, 0xFF);
    assert_false(post(0, 0x50));
    assert_true(lapic_accept(lapic_of(0), &nmi));
    assert_int_equal(model.vcpu[0].nmis, 1);
    /* What was pending is held, and the CPU handles it. */
    assert_int_equal(model_enter(0), 0x40);
}

static void test_local_interrupts(void **state)
{
    (void)state;
    struct lapic *lapic;
    start_software(1);
    lapic = lapic_of(0);
    lapic_local_interrupt(lapic, APIC_LVT_THERMAL);
    assert_int_equal(model_enter(0), -1);
    mmio_set(0, APIC_LVT_THERMAL, 0x61);
    lapic_local_interrupt(lapic, APIC_LVT_THERMAL);
    assert_int_equal(model_enter(0), 0x61);
    mmio_set(0, APIC_LVT_LINT1, 0x400);
    lapic_local_interrupt(lapic, APIC_LVT_LINT1);
    assert_int_equal(model.vcpu[0].nmis, 1);
    /* A performance-monitoring interrupt sets its own mask bit. */
    mmio_set(0, APIC_LVT_PMI, 0x71);
    lapic_local_interrupt(lapic, APIC_LVT_PMI);
    lapic_local_interrupt(lapic, APIC_LVT_PMI);
    assert_int_equal(mmio_get(0, APIC_LVT_PMI), 0x10071);
    assert_int_equal(model_enter(0), 0x71);
    /* LINT0 is level when it says so, LINT1 never. */
    mmio_set(0, APIC_LVT_LINT0, 0x8081);
    mmio_set(0, APIC_LVT_LINT1, 0x8091);
    lapic_local_interrupt(lapic, APIC_LVT_LINT0);
    lapic_local_interrupt(lapic, APIC_LVT_LINT1);
    assert_int_equal(mmio_get(0, APIC_TMR + 0x40), 1 << 1);
    lapic_write_base(lapic, 0);
    lapic_local_interrupt(lapic, APIC_LVT_LINT0);
    assert_int_equal(lapic_has_interrupt(lapic), -1);
}

/* "Local Vector Table", delivery mode: INIT and ExtINT for LINT0 and LINT1 only, others are reserved. */
static void test_lvt_delivery_modes(void **state)
{
    (void)state;
    static const uint32_t entries[] = { APIC_LVT_CMCI, APIC_LVT_THERMAL, APIC_LVT_PMI,
                                        APIC_LVT_LINT0, APIC_LVT_LINT1 };
    for (unsigned i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        bool pin = entries[i] == APIC_LVT_LINT0 || entries[i] == APIC_LVT_LINT1;
        for (uint32_t mode = 0; mode < 8; mode++) {
            start_software(1);
            struct lapic *lapic = lapic_of(0);
            apic_vm_set_extint_source(&model.vm, APIC_EXTINT_QUIET);
            mmio_set(0, entries[i], mode << 8 | 0x61);
            lapic_local_interrupt(lapic, entries[i]);
            assert_int_equal(lapic->events,
                             pin && mode == APIC_DELIVERY_INIT ? LAPIC_EVENT_INIT : 0);
            assert_int_equal(lapic_has_extint(lapic), pin && mode == APIC_DELIVERY_EXTINT);
            assert_int_equal(model.vcpu[0].nmis, mode == APIC_DELIVERY_NMI);
            assert_int_equal(model.vcpu[0].logs, mode == APIC_DELIVERY_SMI);
            assert_int_equal(lapic_has_interrupt(lapic), mode == APIC_DELIVERY_FIXED ? 0x61 : -1);
        }
    }
}

/* "Local APIC State After It Has Been Disabled": LINT1 is the processor's NMI pin. */
static void test_lint1_of_a_disabled_local_apic(void **state)
{
    (void)state;
    start_software(1);
    lapic_write_base(lapic_of(0), APIC_BASE_DEFAULT);
    lapic_local_interrupt(lapic_of(0), APIC_LVT_LINT1);
    lapic_local_interrupt(lapic_of(0), APIC_LVT_THERMAL);
    assert_int_equal(model.vcpu[0].nmis, 1);
}

static void test_extint_and_smi_are_dropped_with_one_line_each(void **state)
{
    (void)state;
    struct apic_message message = { .delivery_mode = APIC_DELIVERY_SMI };
    start_software(1);
    for (unsigned i = 0; i < 3; i++) {
        message.delivery_mode = APIC_DELIVERY_SMI;
        assert_false(lapic_accept(lapic_of(0), &message));
        message.delivery_mode = APIC_DELIVERY_EXTINT;
        assert_false(lapic_accept(lapic_of(0), &message));
        message.delivery_mode = APIC_DELIVERY_RESERVED;
        assert_false(lapic_accept(lapic_of(0), &message));
    }
    assert_int_equal(model.vcpu[0].logs, 2);
}

/* --- ESR -------------------------------------------------------------------------------------- */

static void test_esr_collects_until_written(void **state)
{
    (void)state;
    start_software(1);
    mmio_get(0, 0x040);
    assert_int_equal(mmio_get(0, APIC_ESR), 0);
    mmio_set(0, APIC_ESR, 0);
    assert_int_equal(mmio_get(0, APIC_ESR), APIC_ESR_ILLEGAL_REGISTER_ADDRESS);
    mmio_set(0, APIC_ESR, 0xFFFFFFFF);
    assert_int_equal(mmio_get(0, APIC_ESR), 0);
}

static void test_illegal_register_addresses(void **state)
{
    (void)state;
    start_software(1);
    for (uint32_t offset = 0; offset < 0x1000; offset += 16) {
        bool exists = offset == 0x20 || offset == 0x30 || (offset >= 0x80 && offset <= 0x280) ||
                      (offset >= 0x2F0 && offset <= 0x390) || offset == 0x3E0;
        read_esr(0);
        mmio_get(0, offset);
        assert_int_equal(read_esr(0), exists ? 0 : APIC_ESR_ILLEGAL_REGISTER_ADDRESS);
    }
    mmio_set(0, APIC_SELF_IPI, 0x50);
    assert_int_equal(read_esr(0), APIC_ESR_ILLEGAL_REGISTER_ADDRESS);
    assert_int_equal(model_enter(0), -1);
}

static void test_illegal_vectors(void **state)
{
    (void)state;
    start_software(2);
    mmio_set(0, APIC_ICR2, 1 << 24);
    mmio_set(0, APIC_ICR, 0x400F);
    assert_int_equal(read_esr(0), APIC_ESR_SEND_ILLEGAL_VECTOR);
    assert_int_equal(read_esr(1), APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
    model_enter_x2apic(0);
    assert_int_equal(msr_set(0, APIC_SELF_IPI, 3), RIVET_OK);
    assert_int_equal(read_esr(0), APIC_ESR_SEND_ILLEGAL_VECTOR | APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model_enter(1), -1);
}

static void test_error_interrupt_on_a_new_error_only(void **state)
{
    (void)state;
    start_software(1);
    mmio_set(0, APIC_LVT_ERROR, 0xFE);
    mmio_get(0, 0x040);
    assert_int_equal(model_enter(0), 0xFE);
    model_eoi(0);
    mmio_get(0, 0x050);
    assert_int_equal(model_enter(0), -1);
    read_esr(0);
    mmio_get(0, 0x050);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0xFE);
    assert_int_equal(model_enter(0), 0xFE);
}

static void test_error_interrupt_with_an_illegal_vector(void **state)
{
    (void)state;
    start_software(1);
    mmio_set(0, APIC_LVT_ERROR, 0x05);
    mmio_get(0, 0x040);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(model_enter(0), -1);
    }
    assert_int_equal(read_esr(0),
                     APIC_ESR_ILLEGAL_REGISTER_ADDRESS | APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
}

/* Reset and INIT forget errors, and the interrupt for them that is not raised yet. */
static void test_reset_forgets_errors(void **state)
{
    (void)state;
    for (unsigned init = 0; init < 2; init++) {
        start_software(1);
        mmio_get(0, 0x040);
        read_esr(0);
        mmio_get(0, 0x050);
        lapic_reset(lapic_of(0), init != 0);
        assert_int_equal(mmio_get(0, APIC_ESR), 0);
        mmio_set(0, APIC_SVR, 0x1FF);
        mmio_set(0, APIC_LVT_ERROR, 0xFE);
        assert_int_equal(model_enter(0), -1);
        assert_int_equal(read_esr(0), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_software_disable_masks_lvt),
        cmocka_unit_test(test_software_disabled_takes_no_fixed_interrupt),
        cmocka_unit_test(test_local_interrupts),
        cmocka_unit_test(test_lvt_delivery_modes),
        cmocka_unit_test(test_lint1_of_a_disabled_local_apic),
        cmocka_unit_test(test_extint_and_smi_are_dropped_with_one_line_each),
        cmocka_unit_test(test_esr_collects_until_written),
        cmocka_unit_test(test_illegal_register_addresses),
        cmocka_unit_test(test_illegal_vectors),
        cmocka_unit_test(test_error_interrupt_on_a_new_error_only),
        cmocka_unit_test(test_error_interrupt_with_an_illegal_vector),
        cmocka_unit_test(test_reset_forgets_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
