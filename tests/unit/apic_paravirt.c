/* SPDX-License-Identifier: MIT */
/* PV EOI and the vapic page. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include "apic/paravirt.h"

enum { PV_EOI_BYTE = MODEL_RAM_BASE + 0x10, VAPIC = MODEL_RAM_BASE + 0x20 };

static uint8_t pv_eoi_byte(void)
{
    return model_ram[0x10];
}

static uint32_t vapic(void)
{
    uint32_t value;
    memcpy(&value, &model_ram[0x20], 4);
    return value;
}

static void start_pv_eoi(void)
{
    start_software(1);
    assert_int_equal(lapic_write_pv_eoi(lapic_of(0), PV_EOI_BYTE | PV_EOI_ENABLE), RIVET_OK);
}

/* --- PV EOI ----------------------------------------------------------------------------------- */

static void test_msr(void **state)
{
    (void)state;
    start_software(1);
    struct lapic *lapic = lapic_of(0);
    assert_int_equal(lapic_read_pv_eoi(lapic), 0);
    assert_int_equal(lapic_write_pv_eoi(lapic, PV_EOI_BYTE | 2), ERR_GP);
    assert_int_equal(lapic_write_pv_eoi(lapic, (MODEL_RAM_BASE + MODEL_RAM) | 1), ERR_GP);
    assert_int_equal(lapic_write_pv_eoi(lapic, 0xFFFFFFFFFFFFFFF1), ERR_GP);
    assert_int_equal(lapic_read_pv_eoi(lapic), 0);
    assert_int_equal(lapic_write_pv_eoi(lapic, PV_EOI_BYTE | 1), RIVET_OK);
    assert_int_equal(lapic_read_pv_eoi(lapic), PV_EOI_BYTE | 1);
    assert_int_equal(lapic_write_pv_eoi(lapic, 0xFFFFFFFFFFFFFFF0), RIVET_OK); /* not enabled */
    lapic_write_pv_eoi(lapic, PV_EOI_BYTE | 1);
    lapic_reset(lapic, true);
    assert_int_equal(lapic_read_pv_eoi(lapic), 0);
}

static void test_eoi_by_memory(void **state)
{
    (void)state;
    start_pv_eoi();
    post(0, 0x40);
    assert_int_equal(model_enter(0), 0x40);
    assert_int_equal(pv_eoi_byte(), 1);
    model_ram[0x10] = 0; /* the guest's EOI */
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
    post(0, 0x41);
    assert_int_equal(model_enter(0), 0x41);
}

static void test_exit_before_eoi_takes_the_offer_back(void **state)
{
    (void)state;
    start_pv_eoi();
    post(0, 0x40);
    assert_int_equal(model_enter(0), 0x40);
    lapic_after_exit(lapic_of(0));
    assert_int_equal(pv_eoi_byte(), 0);
    assert_int_equal(model_highest(0, APIC_ISR), 0x40);
    model_eoi(0); /* the guest found the bit clear and wrote the register */
    assert_int_equal(model_highest(0, APIC_ISR), -1);
}

static void test_no_offer_while_another_waits(void **state)
{
    (void)state;
    start_pv_eoi();
    post(0, 0x40);
    post(0, 0x41);
    assert_int_equal(model_enter(0), 0x41);
    assert_int_equal(pv_eoi_byte(), 0);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x40);
    assert_int_equal(pv_eoi_byte(), 1);
}

static void test_no_offer_for_level(void **state)
{
    (void)state;
    start_pv_eoi();
    struct apic_message message = { .vector = 0x77, .level = true, .assert_level = true };
    lapic_accept(lapic_of(0), &message);
    assert_int_equal(model_enter(0), 0x77);
    assert_int_equal(pv_eoi_byte(), 0);
}

static void test_no_offer_with_nothing_in_service_or_disabled(void **state)
{
    (void)state;
    start_pv_eoi();
    model_enter(0);
    assert_int_equal(pv_eoi_byte(), 0);
    lapic_write_pv_eoi(lapic_of(0), PV_EOI_BYTE);
    post(0, 0x40);
    model_enter(0);
    assert_int_equal(pv_eoi_byte(), 0);
}

static void test_nested_interrupts(void **state)
{
    (void)state;
    start_pv_eoi();
    post(0, 0x40);
    assert_int_equal(model_enter(0), 0x40);
    post(0, 0x90);
    assert_int_equal(model_enter(0), 0x90);
    assert_int_equal(pv_eoi_byte(), 1);
    model_ram[0x10] = 0;
    lapic_after_exit(lapic_of(0)); /* the exit of the outer handler's EOI */
    model_eoi(0);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
}

/* The address stops being RAM: never touched, and the register EOI still works. */
static void test_address_is_checked_at_each_use(void **state)
{
    (void)state;
    start_pv_eoi();
    lapic_of(0)->paravirt.pv_eoi = 0x123451;
    post(0, 0x40);
    assert_int_equal(model_enter(0), 0x40);
    assert_false(lapic_of(0)->paravirt.pv_eoi_offered);
    lapic_of(0)->paravirt.pv_eoi_offered = true;
    lapic_after_exit(lapic_of(0));
    assert_int_equal(model_highest(0, APIC_ISR), 0x40);
}

/* With APICv active the CPU does EOIs: no offer, and one of before is settled at the switch. */
static void test_apicv(void **state)
{
    (void)state;
    start_apicv(1);
    assert_int_equal(lapic_write_pv_eoi(lapic_of(0), PV_EOI_BYTE | 1), RIVET_OK);
    post(0, 0x40);
    assert_int_equal(model_evaluate(0), 0x40);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(pv_eoi_byte(), 0);
    apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, true);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(pv_eoi_byte(), 1);
    model_ram[0x10] = 0;
    apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, false);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model.vcpu[0].svi, 0);
}

/* --- The vapic page --------------------------------------------------------------------------- */

static void test_vapic_address(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC + 2), ERR_INVALID);
    assert_int_equal(lapic_set_vapic(lapic_of(0), 0x1000), ERR_INVALID);
    assert_int_equal(lapic_set_vapic(lapic_of(0), MODEL_RAM_BASE + MODEL_RAM), ERR_INVALID);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC), RIVET_OK);
    model_enter(0);
    assert_true(lapic_of(0)->paravirt.vapic_published);
    assert_int_equal(lapic_set_vapic(lapic_of(0), 0), RIVET_OK);
    model_enter(0);
    assert_false(lapic_of(0)->paravirt.vapic_published);
}

static void test_vapic_contents(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC), RIVET_OK);
    mmio_set(0, APIC_TPR, 0x21);
    model_enter(0);
    assert_int_equal(vapic(), 0x21);
    post(0, 0x67);
    assert_int_equal(model_enter(0), 0x67);
    assert_int_equal(vapic(), 0x6021);
    post(0, 0x65);
    assert_int_equal(model_enter(0), -1);
    assert_true(vapic() == 0x65006021);
}

static void test_guest_writes_tpr_in_the_vapic_page(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC), RIVET_OK);
    mmio_set(0, APIC_TPR, 0x80);
    post(0, 0x55);
    assert_int_equal(model_enter(0), -1);
    model_ram[0x20] = 0x30;
    assert_int_equal(model_enter(0), 0x55);
    assert_int_equal(model_read(0, APIC_TPR), 0x30);
    /* A TPR written elsewhere (TPR shadow) is not undone by the old value here. */
    model_write_tpr(0, 0x90);
    model_enter(0);
    assert_int_equal(model_read(0, APIC_TPR), 0x90);
    assert_int_equal(vapic() & 0xFF, 0x90);
}

/* A guest cannot know whether APICv is active: the word works the same. */
static void test_vapic_under_apicv(void **state)
{
    (void)state;
    start_apicv(1);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC), RIVET_OK);
    mmio_set(0, APIC_TPR, 0x80);
    post(0, 0x55);
    assert_int_equal(model_enter(0), -1);
    assert_true(vapic() == 0x55000080);
    model_ram[0x20] = 0x30;
    assert_int_equal(model_enter(0), 0x55);
    assert_int_equal(model_read(0, APIC_TPR), 0x30);
    model_enter(0);
    assert_true(vapic() == 0x00005030);
}

/* The registers of a disabled local APIC are nobody's to see or to change. */
static void test_no_vapic_while_disabled(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC), RIVET_OK);
    assert_int_equal(lapic_read_vapic(lapic_of(0)), VAPIC);
    model_enter(0);
    assert_int_equal(lapic_write_base(lapic_of(0), APIC_BASE_DEFAULT | APIC_BASE_BSP), RIVET_OK);
    model_enter(0);
    assert_false(lapic_of(0)->paravirt.vapic_published);
}

static void test_vapic_address_is_checked_at_each_use(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(lapic_set_vapic(lapic_of(0), VAPIC), RIVET_OK);
    model_enter(0);
    lapic_of(0)->paravirt.vapic = 0x1000;
    lapic_after_exit(lapic_of(0));
    model_enter(0);
    assert_false(lapic_of(0)->paravirt.vapic_published);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_msr),
        cmocka_unit_test(test_eoi_by_memory),
        cmocka_unit_test(test_exit_before_eoi_takes_the_offer_back),
        cmocka_unit_test(test_no_offer_while_another_waits),
        cmocka_unit_test(test_no_offer_for_level),
        cmocka_unit_test(test_no_offer_with_nothing_in_service_or_disabled),
        cmocka_unit_test(test_nested_interrupts),
        cmocka_unit_test(test_address_is_checked_at_each_use),
        cmocka_unit_test(test_apicv),
        cmocka_unit_test(test_vapic_address),
        cmocka_unit_test(test_vapic_contents),
        cmocka_unit_test(test_guest_writes_tpr_in_the_vapic_page),
        cmocka_unit_test(test_vapic_under_apicv),
        cmocka_unit_test(test_no_vapic_while_disabled),
        cmocka_unit_test(test_vapic_address_is_checked_at_each_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
