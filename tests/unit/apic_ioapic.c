/* SPDX-License-Identifier: MIT */
/* The I/O APIC: registers, edge and level, remote IRR, both kinds of EOI. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

static uint32_t get(uint32_t index)
{
    ioapic_mmio_write(&model.vm, 0x00, index);
    return ioapic_mmio_read(&model.vm, 0x10);
}

static void set(uint32_t index, uint32_t value)
{
    ioapic_mmio_write(&model.vm, 0x00, index);
    ioapic_mmio_write(&model.vm, 0x10, value);
}

static void route(unsigned pin, uint32_t low, uint32_t destination)
{
    set(0x11 + 2 * pin, destination << 24);
    set(0x10 + 2 * pin, low);
}

static void line(unsigned pin, bool level)
{
    ioapic_set_line(&model.vm, pin, level);
}

static bool remote_irr(unsigned pin)
{
    return (get(0x10 + 2 * pin) & 0x4000) != 0;
}

/* The vector that vCPU 0 receives now, EOIed at once; -1 for none. */
static int received(void)
{
    int vector = model_enter(0);
    if (vector >= 0) {
        model_eoi(0);
    }
    return vector;
}

static void test_registers(void **state)
{
    (void)state;
    start_software(1);
    assert_int_equal(get(0), 0);
    assert_int_equal(get(1), 0x00170020);
    set(0, 0xFFFFFFFF);
    assert_int_equal(get(0), 0x0F000000);
    assert_int_equal(get(2), 0x0F000000);
    set(1, 0);
    assert_int_equal(get(1), 0x00170020);
    assert_int_equal(get(3), 0);
    line(23, true);
    assert_int_equal(get(0x40), 0);
    assert_int_equal(get(0x0F), 0);
    line(23, false);
    ioapic_mmio_write(&model.vm, 0x00, 0x1FF);
    assert_int_equal(ioapic_mmio_read(&model.vm, 0x00), 0xFF);
    assert_int_equal(ioapic_mmio_read(&model.vm, 0x20), 0);
    ioapic_mmio_write(&model.vm, 0x20, 0);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(get(0x10 + 2 * pin), 0x10000);
        assert_int_equal(get(0x11 + 2 * pin), 0);
        set(0x11 + 2 * pin, 0xFFFFFFFF);
        set(0x10 + 2 * pin, 0xFFFFFFFF);
        assert_int_equal(get(0x10 + 2 * pin), 0x1AFFF);
        assert_int_equal(get(0x11 + 2 * pin), 0xFF000000);
    }
}

static void test_edge(void **state)
{
    (void)state;
    start_software(1);
    route(4, 0x34, 0);
    line(4, true);
    line(4, true);
    assert_int_equal(received(), 0x34);
    line(4, true); /* still */
    assert_int_equal(received(), -1);
    assert_false(remote_irr(4));
    line(4, false);
    assert_int_equal(received(), -1);
    line(4, true);
    assert_int_equal(received(), 0x34);
    line(IOAPIC_PINS, true); /* no such pin */
    assert_int_equal(received(), -1);
}

/* Data sheet, interrupt mask: an edge on a masked pin is not held pending. */
static void test_edge_while_masked_is_lost(void **state)
{
    (void)state;
    start_software(1);
    route(4, 0x10034, 0);
    line(4, true);
    route(4, 0x34, 0);
    assert_int_equal(received(), -1);
}

static void test_level(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    line(9, true);
    assert_true(remote_irr(9));
    assert_int_equal(mmio_get(0, APIC_TMR + 0x20), 1 << 25);
    assert_int_equal(model_enter(0), 0x59);
    line(9, false);
    line(9, true); /* still outstanding: not sent again */
    assert_int_equal(model_highest(0, APIC_IRR), -1);
    model_eoi(0); /* asserted at EOI: again */
    assert_true(remote_irr(9));
    assert_int_equal(model_enter(0), 0x59);
    line(9, false);
    model_eoi(0);
    assert_false(remote_irr(9));
    assert_int_equal(model_enter(0), -1);
}

static void test_level_fires_when_unmasked(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x18059, 0);
    line(9, true);
    assert_int_equal(received(), -1);
    route(9, 0x8059, 0);
    line(9, false);
    assert_int_equal(received(), 0x59);
}

static void test_masking_while_outstanding(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    line(9, true);
    assert_int_equal(model_enter(0), 0x59);
    route(9, 0x18059, 0);
    assert_true(remote_irr(9));
    model_eoi(0);
    assert_false(remote_irr(9));
    assert_int_equal(received(), -1);
    route(9, 0x8059, 0);
    assert_int_equal(model_enter(0), 0x59);
}

/* Software without an EOI register frees a stuck pin by a round trip through edge mode. */
static void test_switch_to_edge_clears_remote_irr(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    line(9, true);
    set(0x10 + 18, 0x10059);
    assert_false(remote_irr(9));
    set(0x10 + 18, 0x8059);
    assert_true(remote_irr(9));
}

static void test_eoi_of_another_vector(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    line(9, true);
    ioapic_eoi(&model.vm, 0x58);
    assert_true(remote_irr(9));
    ioapic_eoi(&model.vm, 0x59);
    assert_true(remote_irr(9)); /* cleared and sent again: the line is asserted */
    line(9, false);
    ioapic_eoi(&model.vm, 0x59);
    assert_false(remote_irr(9));
}

static void test_two_pins_share_a_vector(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    route(10, 0x8059, 0);
    line(9, true);
    line(10, true);
    assert_int_equal(model_enter(0), 0x59);
    line(9, false);
    model_eoi(0);
    assert_false(remote_irr(9));
    assert_true(remote_irr(10));
    line(10, false);
    assert_int_equal(received(), 0x59);
    assert_false(remote_irr(10));
}

static void test_directed_eoi(void **state)
{
    (void)state;
    start_software(1);
    mmio_set(0, APIC_SVR, 0x11FF);
    route(9, 0x8059, 0);
    line(9, true);
    assert_int_equal(model_enter(0), 0x59);
    line(9, false);
    model_eoi(0);
    assert_true(remote_irr(9)); /* the broadcast is suppressed */
    ioapic_mmio_write(&model.vm, 0x40, 0x59);
    assert_false(remote_irr(9));
}

static void test_edge_eoi_is_not_broadcast(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    line(9, true);
    line(9, false);
    post(0, 0x59); /* the same vector as an edge interrupt: TMR says edge now */
    assert_int_equal(received(), 0x59);
    assert_true(remote_irr(9));
}

static void test_nobody_accepts_a_level_interrupt(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    route(9, 0x8059, 0);
    line(9, true);
    assert_false(remote_irr(9));
    model_enable_all(); /* offered again */
    assert_true(remote_irr(9));
    line(9, false);
    assert_int_equal(received(), 0x59);
}

static void test_delivery_modes(void **state)
{
    (void)state;
    start_software(2);
    route(5, 0x8400, 1); /* NMI is edge-triggered whatever the entry says */
    line(5, true);
    assert_int_equal(model.vcpu[1].nmis, 1);
    assert_false(remote_irr(5));
    route(6, 0x0500, 1);
    line(6, true);
    assert_true(lapic_take_events(lapic_of(1), false).init);
    route(7, 0x81AB, 0xFF); /* lowest priority, level */
    line(7, true);
    assert_true(remote_irr(7));
    route(8, 0x0005, 1); /* illegal vector: the receiver's error */
    line(8, true);
    assert_int_equal(read_esr(1), APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
}

/* Start-up and 011B are reserved in an entry. */
static void test_reserved_delivery_modes(void **state)
{
    (void)state;
    start_software(2);
    route(5, 0x0612, 1);
    line(5, true);
    assert_int_equal(lapic_take_events(lapic_of(1), true).sipi, -1);
    route(6, 0x8312, 1);
    line(6, true);
    assert_false(remote_irr(6));
    assert_int_equal(model_enter(1), -1);
}

/* Remote IRR holds back levels only: an entry that has become an NMI's is edge-triggered. */
static void test_remote_irr_does_not_stop_an_nmi(void **state)
{
    (void)state;
    start_software(1);
    route(9, 0x8059, 0);
    line(9, true);
    set(0x10 + 18, 0x8400);
    assert_int_equal(model.vcpu[0].nmis, 0);
    line(9, false);
    line(9, true);
    assert_int_equal(model.vcpu[0].nmis, 1);
}

/* A level that found nobody is offered again to whom a new id, LDR, DFR or mode makes it find. */
static void test_nobody_is_named_by_a_level_interrupt(void **state)
{
    (void)state;
    start_software(2);
    route(9, 0x8859, 4); /* logical */
    line(9, true);
    assert_false(remote_irr(9));
    mmio_set(1, APIC_LDR, 0x04000000);
    assert_true(remote_irr(9));
    assert_int_equal(model_enter(1), 0x59);
    route(11, 0x8079, 5);
    line(11, true);
    mmio_set(1, APIC_ID, 0x05000000);
    assert_true(remote_irr(11));
    assert_int_equal(model_enter(1), 0x79);
    route(12, 0x8889, 0x21);
    mmio_set(1, APIC_LDR, 0x41000000);
    mmio_set(1, APIC_DFR, 0);
    line(12, true);
    assert_false(remote_irr(12));
    mmio_set(1, APIC_LDR, 0x21000000);
    assert_true(remote_irr(12));
    assert_int_equal(model_enter(1), 0x89);
    route(13, 0x8099, 1);
    line(13, true);
    assert_false(remote_irr(13));
    model_enter_x2apic(1); /* its id is 1 again */
    assert_true(remote_irr(13));
    assert_int_equal(model_enter(1), 0x99);
}

static void test_logical_destination(void **state)
{
    (void)state;
    start_software(3);
    for (unsigned i = 0; i < 3; i++) {
        mmio_set(i, APIC_LDR, 1U << (24 + i));
    }
    route(5, 0x0844, 6);
    line(5, true);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model_enter(1), 0x44);
    assert_int_equal(model_enter(2), 0x44);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_edge),
        cmocka_unit_test(test_edge_while_masked_is_lost),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_level_fires_when_unmasked),
        cmocka_unit_test(test_masking_while_outstanding),
        cmocka_unit_test(test_switch_to_edge_clears_remote_irr),
        cmocka_unit_test(test_eoi_of_another_vector),
        cmocka_unit_test(test_two_pins_share_a_vector),
        cmocka_unit_test(test_directed_eoi),
        cmocka_unit_test(test_edge_eoi_is_not_broadcast),
        cmocka_unit_test(test_nobody_accepts_a_level_interrupt),
        cmocka_unit_test(test_delivery_modes),
        cmocka_unit_test(test_reserved_delivery_modes),
        cmocka_unit_test(test_remote_irr_does_not_stop_an_nmi),
        cmocka_unit_test(test_nobody_is_named_by_a_level_interrupt),
        cmocka_unit_test(test_logical_destination),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
