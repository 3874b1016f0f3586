/* SPDX-License-Identifier: MIT */
/* Priorities and the decision of each VM entry without virtual-interrupt delivery. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

static struct lapic_entry enter(bool can_inject)
{
    return lapic_before_entry(lapic_of(0), can_inject);
}

static void test_highest_first(void **state)
{
    (void)state;
    start_software(1);
    post(0, 0x31);
    post(0, 0xF1);
    post(0, 0x10);
    assert_int_equal(model_enter(0), 0xF1);
    assert_int_equal(model_enter(0), -1);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x31);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x10);
}

static void test_same_class_waits_higher_class_nests(void **state)
{
    (void)state;
    start_software(1);
    post(0, 0x40);
    assert_int_equal(model_enter(0), 0x40);
    post(0, 0x4F);
    assert_int_equal(model_enter(0), -1);
    post(0, 0x50);
    assert_int_equal(model_enter(0), 0x50);
    model_eoi(0);
    assert_int_equal(model_enter(0), -1);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x4F);
}

static void test_every_vector_is_delivered_once(void **state)
{
    (void)state;
    start_software(1);
    for (unsigned vector = 16; vector < 256; vector++) {
        assert_true(post(0, (uint8_t)vector));
        assert_int_equal(mmio_get(0, APIC_IRR + vector / 32 * 16), 1U << vector % 32);
        assert_int_equal(model_enter(0), vector);
        assert_int_equal(mmio_get(0, APIC_IRR + vector / 32 * 16), 0);
        assert_int_equal(mmio_get(0, APIC_ISR + vector / 32 * 16), 1U << vector % 32);
        model_eoi(0);
        assert_int_equal(mmio_get(0, APIC_ISR + vector / 32 * 16), 0);
    }
}

static void test_ppr(void **state)
{
    (void)state;
    start_software(1);
    for (unsigned tpr = 0; tpr < 256; tpr += 5) {
        mmio_set(0, APIC_TPR, tpr);
        assert_int_equal(mmio_get(0, APIC_PPR), tpr);
    }
    mmio_set(0, APIC_TPR, 0);
    post(0, 0x67);
    model_enter(0);
    assert_int_equal(mmio_get(0, APIC_PPR), 0x60);
    mmio_set(0, APIC_TPR, 0x5F);
    assert_int_equal(mmio_get(0, APIC_PPR), 0x60);
    mmio_set(0, APIC_TPR, 0x63);
    assert_int_equal(mmio_get(0, APIC_PPR), 0x63);
    mmio_set(0, APIC_TPR, 0x71);
    assert_int_equal(mmio_get(0, APIC_PPR), 0x71);
}

/* With the TPR shadow the guest's write reaches the page only: PPR follows at the next look. */
static void test_ppr_follows_the_tpr_shadow(void **state)
{
    (void)state;
    start_software(1);
    model_write_tpr(0, 0x90);
    post(0, 0x85);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), -1);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model_read(0, APIC_PPR), 0x90);
    model_write_tpr(0, 0x70);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0x85);
    assert_int_equal(model_enter(0), 0x85);
}

static void test_interrupt_window(void **state)
{
    (void)state;
    start_software(1);
    assert_false(enter(false).interrupt_window);
    post(0, 0x40);
    struct lapic_entry entry = enter(false);
    assert_true(entry.interrupt_window);
    assert_int_equal(entry.inject, -1);
    assert_int_equal(model_highest(0, APIC_IRR), 0x40);
    entry = enter(true);
    assert_false(entry.interrupt_window);
    assert_int_equal(entry.inject, 0x40);
    post(0, 0x41); /* blocked by priority: no window for it */
    assert_false(enter(false).interrupt_window);
}

static void test_tpr_threshold(void **state)
{
    (void)state;
    start_software(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    model_enter(0);
    assert_int_equal(vcpu->tpr_threshold, 0);
    mmio_set(0, APIC_TPR, 0x80);
    post(0, 0x55);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(vcpu->tpr_threshold, 5);
    unsigned writes = vcpu->threshold_writes;
    model_enter(0);
    assert_int_equal(vcpu->threshold_writes, writes);
    model_write_tpr(0, 0x5F); /* not below: no exit */
    assert_int_equal(model_enter(0), -1);
    model_write_tpr(0, 0x4F);
    assert_int_equal(model_enter(0), 0x55);
    assert_int_equal(vcpu->tpr_threshold, 0);
    /* Also held back by an interrupt in service: its EOI will exit, TPR need not. */
    mmio_set(0, APIC_TPR, 0x80);
    post(0, 0x50);
    model_enter(0);
    assert_int_equal(vcpu->tpr_threshold, 0);
    model_eoi(0);
    model_enter(0);
    assert_int_equal(vcpu->tpr_threshold, 5);
}

/* TPR of the pending class holds it back, one class less does not: the exit is due at that step. */
static void test_tpr_threshold_at_the_same_class(void **state)
{
    (void)state;
    start_software(1);
    post(0, 0x55);
    mmio_set(0, APIC_TPR, 0x50);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model.vcpu[0].tpr_threshold, 5);
    model_write_tpr(0, 0x4F);
    assert_int_equal(model_enter(0), 0x55);
}

static void test_no_threshold_without_tpr_shadow(void **state)
{
    (void)state;
    struct apic_features features = software_features();
    features.tpr_shadow = false;
    model_start(&features, 1);
    model_enable_all();
    model_write_tpr(0, 0x80);
    assert_int_equal(lapic_read_cr8(lapic_of(0)), 8);
    assert_int_equal(mmio_get(0, APIC_PPR), 0x80);
    post(0, 0x55);
    assert_int_equal(model_enter(0), -1);
    model_write_tpr(0, 0x30);
    assert_int_equal(model_enter(0), 0x55);
    assert_int_equal(model.vcpu[0].threshold_writes, 0);
}

static void test_cr8_is_the_tpr_class(void **state)
{
    (void)state;
    start_software(1);
    for (uint8_t value = 0; value < 16; value++) {
        lapic_write_cr8(lapic_of(0), value);
        assert_int_equal(lapic_read_cr8(lapic_of(0)), value);
        assert_int_equal(mmio_get(0, APIC_TPR), value << 4);
    }
}

static void test_eoi_without_interrupt_in_service(void **state)
{
    (void)state;
    start_software(1);
    model_eoi(0);
    post(0, 0x20);
    assert_int_equal(model_enter(0), 0x20);
}

static void test_has_interrupt_looks_into_pir(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), -1);
    post(0, 0x77);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0x77);
    model.vcpu[0].interrupts_enabled = false;
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0x77);
}

/* An interrupt handed over but not synchronized yet reads as requested. */
static void test_irr_read_includes_posted(void **state)
{
    (void)state;
    start_software(1);
    post(0, 0x48);
    assert_int_equal(mmio_get(0, APIC_IRR + 0x20), 1 << 8);
}

static void test_a_post_kicks_once(void **state)
{
    (void)state;
    start_software(1);
    model_enter(0);
    unsigned kicks = model.vcpu[0].kicks;
    post(0, 0x40);
    post(0, 0x50);
    assert_int_equal(model.vcpu[0].kicks, kicks + 1);
    assert_int_equal(model.vcpu[0].notifications, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_highest_first),
        cmocka_unit_test(test_same_class_waits_higher_class_nests),
        cmocka_unit_test(test_every_vector_is_delivered_once),
        cmocka_unit_test(test_ppr),
        cmocka_unit_test(test_ppr_follows_the_tpr_shadow),
        cmocka_unit_test(test_interrupt_window),
        cmocka_unit_test(test_tpr_threshold),
        cmocka_unit_test(test_tpr_threshold_at_the_same_class),
        cmocka_unit_test(test_no_threshold_without_tpr_shadow),
        cmocka_unit_test(test_cr8_is_the_tpr_class),
        cmocka_unit_test(test_eoi_without_interrupt_in_service),
        cmocka_unit_test(test_has_interrupt_looks_into_pir),
        cmocka_unit_test(test_irr_read_includes_posted),
        cmocka_unit_test(test_a_post_kicks_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
