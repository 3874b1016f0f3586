/* SPDX-License-Identifier: MIT */
/* APICv: posting, RVI and SVI, the EOI-exit bitmap, activation and inhibition at run time. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include <stdio.h>

#include "apic/pi.h"

/* --- The descriptor ------------------------------------------------------------------------- */

static void test_post_and_take(void **state)
{
    (void)state;
    struct pi_desc pi = { 0 };
    uint64_t taken[4] = { 9, 9, 9, 9 };
    assert_false(pi_take(&pi, taken));
    assert_int_equal(taken[0], 9);
    assert_true(pi_post(&pi, 0x10));
    assert_false(pi_post(&pi, 0xFF));
    assert_true(pi_has_posted(&pi));
    assert_true(pi_take(&pi, taken));
    assert_int_equal(taken[0], 1 << 16);
    assert_int_equal(taken[1] | taken[2], 0);
    assert_true(taken[3] == 1ULL << 63);
    assert_false(pi_has_posted(&pi));
    assert_true(pi_post(&pi, 0x10));
    pi_discard(&pi);
    assert_false(pi_take(&pi, taken));
}

static void test_load_block_put(void **state)
{
    (void)state;
    start_apicv(1);
    struct lapic *lapic = lapic_of(0);
    model.vcpu[0].in_guest = false;
    lapic_put(lapic);
    assert_int_equal(lapic->pi->control, PI_SN);
    lapic_load(lapic, 0x12345678, 0xF2);
    assert_true(lapic->pi->control == 0x1234567800F20000);
    assert_true(lapic_block(lapic, 0xF3));
    assert_true(lapic->pi->control == 0x1234567800F30000);
    post(0, 0x40);
    assert_false(lapic_block(lapic, 0xF4));
    assert_true(lapic->pi->control == 0x1234567800F30001);
    lapic_load(lapic, 1, 0xF2);
    assert_true(lapic->pi->control == 0x0000000100F20001);
}

/* An error whose interrupt is not raised yet ends HLT as that will. */
static void test_no_block_with_an_error_interrupt_to_come(void **state)
{
    (void)state;
    start_apicv(1);
    mmio_set(0, APIC_LVT_ERROR, 0xFE);
    model_enter(0);
    model.vcpu[0].in_guest = false;
    mmio_get(0, 0x040);
    assert_false(lapic_block(lapic_of(0), 0xF3));
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0xFE);
}

/* --- Delivery without exits ------------------------------------------------------------------- */

static void test_posted_to_a_running_vcpu(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    unsigned writes = vcpu->status_writes;
    post(0, 0x61);
    assert_int_equal(vcpu->notifications, 1);
    assert_true(vcpu->in_guest);
    assert_int_equal(model_evaluate(0), 0x61);
    model_eoi(0);
    assert_true(vcpu->in_guest);
    assert_int_equal(vcpu->status_writes, writes);
    assert_int_equal(vcpu->svi, 0);
}

static void test_posted_in_root_mode_sets_rvi_at_entry(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    vcpu->in_guest = false;
    vcpu->interrupts_enabled = false;
    post(0, 0x61);
    post(0, 0x72);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(vcpu->rvi, 0x72);
    unsigned writes = vcpu->status_writes;
    vcpu->in_guest = false;
    post(0, 0x50); /* lower than RVI: nothing to publish */
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(vcpu->status_writes, writes);
    vcpu->interrupts_enabled = true;
    assert_int_equal(model_evaluate(0), 0x72);
    model_eoi(0);
    assert_int_equal(model_evaluate(0), 0x61);
    model_eoi(0);
    assert_int_equal(model_evaluate(0), 0x50);
}

static void test_entry_with_nothing_new_writes_nothing(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    unsigned before =
        vcpu->status_writes + vcpu->bitmap_writes + vcpu->threshold_writes + vcpu->refreshes;
    for (unsigned i = 0; i < 10; i++) {
        model_enter(0);
    }
    assert_int_equal(vcpu->status_writes + vcpu->bitmap_writes + vcpu->threshold_writes +
                         vcpu->refreshes,
                     before);
}

static void test_without_posted_interrupts_a_post_is_a_kick(void **state)
{
    (void)state;
    struct apic_features features = model_all_features;
    features.posted_interrupts = false;
    model_start(&features, 1);
    model_enable_all();
    model_enter(0);
    post(0, 0x40);
    assert_false(model.vcpu[0].in_guest);
    assert_int_equal(model_enter(0), 0x40);
}

static void test_no_virtual_interrupt_delivery_is_an_inhibit(void **state)
{
    (void)state;
    start_software(1);
    model_enter(0);
    assert_false(lapic_apicv_active(lapic_of(0)));
    assert_int_equal(model.vm.inhibits, 1 << APICV_INHIBIT_HARDWARE);
}

/* --- Activation and inhibition ---------------------------------------------------------------- */

static void test_inhibit_reasons(void **state)
{
    (void)state;
    start_apicv(2);
    assert_true(apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, true));
    assert_false(apicv_set_inhibit(&model.vm, APICV_INHIBIT_DEBUGGER, true));
    assert_false(apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, false));
    model_enter(0);
    assert_false(lapic_apicv_active(lapic_of(0)));
    assert_true(lapic_apicv_active(lapic_of(1))); /* has not passed by yet */
    assert_true(apicv_set_inhibit(&model.vm, APICV_INHIBIT_DEBUGGER, false));
    model_enter(0);
    model_enter(1);
    assert_true(lapic_apicv_active(lapic_of(0)));
    for (unsigned reason = 0; reason <= APICV_INHIBIT_MONITOR; reason++) {
        assert_string_not_equal(apicv_inhibit_name(reason), "unknown");
    }
    assert_string_equal(apicv_inhibit_name(APICV_INHIBIT_APIC_ID), "apic-id");
    assert_string_equal(apicv_inhibit_name(99), "unknown");
}

static void test_changed_id_inhibits(void **state)
{
    (void)state;
    start_apicv(2);
    mmio_set(1, APIC_ID, 0);
    model_enter(0);
    assert_false(lapic_apicv_active(lapic_of(0)));
    mmio_set(1, APIC_ID, 1 << 24);
    model_enter(0);
    assert_true(lapic_apicv_active(lapic_of(0)));
}

static void test_extint_inhibits(void **state)
{
    (void)state;
    start_apicv(2);
    mmio_set(1, APIC_LVT_LINT0, 0x700);
    assert_int_equal(model.vm.inhibits, 0); /* from where should one come? */
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_QUIET);
    assert_int_equal(model.vm.inhibits, 0);
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
    assert_int_equal(model.vm.inhibits, 1 << APICV_INHIBIT_EXTINT);
    mmio_set(1, APIC_LVT_LINT0, 0x10700);
    assert_int_equal(model.vm.inhibits, 0);
    ioapic_mmio_write(&model.vm, 0, 0x10);
    ioapic_mmio_write(&model.vm, 0x10, 0x700);
    assert_int_equal(model.vm.inhibits, 1 << APICV_INHIBIT_EXTINT);
    ioapic_mmio_write(&model.vm, 0x10, 0x10700);
    assert_int_equal(model.vm.inhibits, 0);
}

static void toggle(bool inhibit)
{
    apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, inhibit);
}

static void test_switch_with_everything_pending(void **state)
{
    (void)state;
    for (unsigned inhibit_first = 0; inhibit_first < 2; inhibit_first++) {
        start_apicv(1);
        toggle(inhibit_first != 0);
        model_enter(0);
        post(0, 0x40);
        assert_int_equal(inhibit_first ? model_enter(0) : model_evaluate(0), 0x40);
        post(0, 0x60);
        assert_int_equal(inhibit_first ? model_enter(0) : model_evaluate(0), 0x60);
        post(0, 0x50); /* waits in vIRR */
        toggle(inhibit_first == 0);
        post(0, 0x45); /* waits in PIR */
        assert_int_equal(model_enter(0), -1);
        model_eoi(0);
        assert_int_equal(model_enter(0), 0x50);
        model_eoi(0);
        assert_int_equal(model_enter(0), -1);
        model_eoi(0);
        assert_int_equal(model_enter(0), 0x45);
        model_eoi(0);
        assert_int_equal(model_enter(0), -1);
    }
}

/* A TPR threshold of the time before is never left behind for an entry that would fail on it. */
static void test_threshold_is_fresh_after_a_switch(void **state)
{
    (void)state;
    start_apicv(1);
    toggle(true);
    mmio_set(0, APIC_TPR, 0x80);
    post(0, 0x55);
    model_enter(0);
    assert_int_equal(model.vcpu[0].tpr_threshold, 5);
    toggle(false);
    model_enter(0);
    model_write_tpr(0, 0);
    assert_int_equal(model_evaluate(0), 0x55);
    toggle(true);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model.vcpu[0].tpr_threshold, 0);
}

/* An EOI by a path that hardware did not virtualize leaves no stale SVI. */
static void test_software_eoi_while_active_updates_svi(void **state)
{
    (void)state;
    start_apicv(1);
    post(0, 0x40);
    assert_int_equal(model_evaluate(0), 0x40);
    post(0, 0x60);
    assert_int_equal(model_evaluate(0), 0x60);
    model.vcpu[0].in_guest = false;
    mmio_set(0, APIC_EOI, 0);
    model_enter(0);
    assert_int_equal(model.vcpu[0].svi, 0x40);
    model_eoi(0);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
}

/* --- The EOI-exit bitmap ---------------------------------------------------------------------- */

static void route(unsigned pin, uint64_t entry)
{
    ioapic_mmio_write(&model.vm, 0, 0x11 + 2 * pin);
    ioapic_mmio_write(&model.vm, 0x10, (uint32_t)(entry >> 32));
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
    ioapic_mmio_write(&model.vm, 0x10, (uint32_t)entry);
}

static bool eoi_exits(unsigned index, uint8_t vector)
{
    return (model.vcpu[index].eoi_exit[vector / 64] >> (vector % 64) & 1) != 0;
}

#define LEVEL_TO(vcpu, vector) ((uint64_t)(vcpu) << 56 | 0x8000 | (vector))

static bool remote_irr(unsigned pin)
{
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
    return (ioapic_mmio_read(&model.vm, 0x10) & 0x4000) != 0;
}

static void test_bitmap_follows_routes(void **state)
{
    (void)state;
    start_apicv(2);
    route(4, 0x31); /* edge: no exit */
    route(9, LEVEL_TO(1, 0x59));
    model_enter(0);
    model_enter(1);
    assert_false(eoi_exits(0, 0x59));
    assert_true(eoi_exits(1, 0x59));
    assert_false(eoi_exits(0, 0x31));
    route(9, LEVEL_TO(0, 0x5A));
    model_enter(0);
    model_enter(1);
    assert_true(eoi_exits(0, 0x5A));
    assert_false(eoi_exits(1, 0x59));
    route(9, LEVEL_TO(0, 0x1005A)); /* masked */
    model_enter(0);
    assert_false(eoi_exits(0, 0x5A));
}

/* The same route names other vCPUs when an LDR changes. */
static void test_bitmap_follows_logical_ids(void **state)
{
    (void)state;
    start_apicv(2);
    route(9, 0x0200000000008859);
    model_enter(1);
    assert_false(eoi_exits(1, 0x59));
    mmio_set(1, APIC_LDR, 0x02000000);
    model_enter(1);
    assert_true(eoi_exits(1, 0x59));
    mmio_set(1, APIC_LDR, 0x01000000);
    model_enter(1);
    assert_false(eoi_exits(1, 0x59));
}

static void test_level_interrupt_end_to_end(void **state)
{
    (void)state;
    start_apicv(1);
    route(9, LEVEL_TO(0, 0x59));
    model_enter(0);
    ioapic_set_line(&model.vm, 9, true);
    assert_true(model.vcpu[0].in_guest); /* the bitmap is in place: no kick */
    assert_int_equal(model_evaluate(0), 0x59);
    assert_true(remote_irr(9));
    ioapic_set_line(&model.vm, 9, false);
    model_eoi(0);
    assert_false(remote_irr(9));
    /* Still asserted at EOI: again. */
    ioapic_set_line(&model.vm, 9, true);
    assert_int_equal(model_evaluate(0), 0x59);
    model_eoi(0);
    assert_int_equal(model_evaluate(0), 0x59);
    ioapic_set_line(&model.vm, 9, false);
    model_eoi(0);
    assert_int_equal(model_evaluate(0), -1);
}

/* The route changed while its interrupt is in service: the EOI must still reach the I/O APIC. */
static void test_old_route_keeps_its_exit_until_eoi(void **state)
{
    (void)state;
    start_apicv(1);
    route(9, LEVEL_TO(0, 0x59));
    model_enter(0);
    ioapic_set_line(&model.vm, 9, true);
    assert_int_equal(model_evaluate(0), 0x59);
    route(9, LEVEL_TO(0, 0x69)); /* remote IRR stays set */
    assert_int_equal(model_enter(0), -1);
    assert_true(eoi_exits(0, 0x59));
    assert_true(eoi_exits(0, 0x69));
    model_eoi(0);
    model_enter(0);
    assert_false(eoi_exits(0, 0x59));
}

/* A level-triggered vector that the bitmap does not know: the vCPU is kicked to learn it. */
static void test_unknown_level_vector_kicks(void **state)
{
    (void)state;
    start_apicv(1);
    struct apic_message message = { .vector = 0x77, .level = true, .assert_level = true };
    unsigned notifications = model.vcpu[0].notifications;
    assert_true(lapic_accept(lapic_of(0), &message));
    assert_int_equal(model.vcpu[0].notifications, notifications);
    assert_false(model.vcpu[0].in_guest);
    assert_int_equal(model_enter(0), 0x77);
    assert_true(eoi_exits(0, 0x77));
    model_eoi(0);
    model_enter(0);
    assert_false(eoi_exits(0, 0x77));
}

/* While APICv is inactive every EOI exits: nothing to learn, an ordinary kick. */
static void test_level_vector_while_inactive(void **state)
{
    (void)state;
    start_software(1);
    model_enter(0);
    struct apic_message message = { .vector = 0x77, .level = true, .assert_level = true };
    assert_true(lapic_accept(lapic_of(0), &message));
    assert_int_equal(lapic_of(0)->requests, 0);
    assert_int_equal(model_enter(0), 0x77);
}

/* Lowest priority to two, masked in service: only the vCPU that has it needs the exit. */
static void test_masked_route_exits_only_where_it_is_outstanding(void **state)
{
    (void)state;
    start_apicv(2);
    route(9, 0xFF00000000008159);
    model_enter(0);
    model_enter(1);
    ioapic_set_line(&model.vm, 9, true);
    unsigned winner = model.vm.arbitration_turn;
    assert_int_equal(model_evaluate(winner), 0x59);
    route(9, 0xFF00000000018159);
    model_enter(0);
    model_enter(1);
    assert_true(eoi_exits(winner, 0x59));
    assert_false(eoi_exits(1 - winner, 0x59));
    model_eoi(winner);
    model_enter(winner);
    assert_false(eoi_exits(winner, 0x59));
    assert_false(remote_irr(9));
}

/*
 * Worst case: a notification already under way delivers the interrupt before the kick arrives, and
 * the guest EOIs it without an exit. The kick then finds it gone and makes up for the EOI.
 */
static void test_missed_eoi_is_made_up_for(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    route(9, LEVEL_TO(0, 0x59)); /* kicks, but let the guest run on as if the kick were late */
    vcpu->in_guest = true;
    ioapic_set_line(&model.vm, 9, true);
    vcpu->in_guest = true;
    vcpu->pi.control &= ~1ULL;
    memset((void *)vcpu->pi.pir, 0, sizeof(vcpu->pi.pir)); /* delivered, serviced, EOI: no exit */
    ioapic_set_line(&model.vm, 9, false);
    assert_true(remote_irr(9));
    assert_int_equal(model_enter(0), -1);
    assert_false(remote_irr(9));
    ioapic_set_line(&model.vm, 9, true);
    assert_int_equal(model_evaluate(0), 0x59);
}

/* APICv ends before the bitmap is computed: there is none any more, but the EOI was missed all the same. */
static void test_missed_eoi_before_apicv_ends(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    route(9, LEVEL_TO(0, 0x59));
    ioapic_set_line(&model.vm, 9, true);
    vcpu->pi.control &= ~1ULL;
    memset((void *)vcpu->pi.pir, 0, sizeof(vcpu->pi.pir));
    ioapic_set_line(&model.vm, 9, false);
    apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, true);
    assert_int_equal(model_enter(0), -1);
    assert_false(remote_irr(9));
}

static void test_missed_eoi_with_broadcast_suppressed(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    mmio_set(0, APIC_SVR, 0x11FF);
    route(9, LEVEL_TO(0, 0x59));
    ioapic_set_line(&model.vm, 9, true);
    vcpu->pi.control &= ~1ULL;
    memset((void *)vcpu->pi.pir, 0, sizeof(vcpu->pi.pir));
    assert_int_equal(model_enter(0), -1);
    assert_true(remote_irr(9));
    ioapic_mmio_write(&model.vm, 0x40, 0x59);
    assert_int_equal(model_enter(0), 0x59);
}

/* The same vector as an edge interrupt afterwards: its EOI concerns nobody. */
static void test_edge_after_level_clears_the_note(void **state)
{
    (void)state;
    start_apicv(1);
    struct apic_message message = { .vector = 0x77, .level = true, .assert_level = true };
    lapic_accept(lapic_of(0), &message);
    post(0, 0x77);
    assert_int_equal(model_enter(0), 0x77);
    assert_false(eoi_exits(0, 0x77));
    assert_int_equal(mmio_get(0, APIC_TMR + 0x30), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post_and_take),
        cmocka_unit_test(test_load_block_put),
        cmocka_unit_test(test_no_block_with_an_error_interrupt_to_come),
        cmocka_unit_test(test_posted_to_a_running_vcpu),
        cmocka_unit_test(test_posted_in_root_mode_sets_rvi_at_entry),
        cmocka_unit_test(test_entry_with_nothing_new_writes_nothing),
        cmocka_unit_test(test_without_posted_interrupts_a_post_is_a_kick),
        cmocka_unit_test(test_no_virtual_interrupt_delivery_is_an_inhibit),
        cmocka_unit_test(test_inhibit_reasons),
        cmocka_unit_test(test_changed_id_inhibits),
        cmocka_unit_test(test_extint_inhibits),
        cmocka_unit_test(test_switch_with_everything_pending),
        cmocka_unit_test(test_threshold_is_fresh_after_a_switch),
        cmocka_unit_test(test_software_eoi_while_active_updates_svi),
        cmocka_unit_test(test_bitmap_follows_routes),
        cmocka_unit_test(test_bitmap_follows_logical_ids),
        cmocka_unit_test(test_level_interrupt_end_to_end),
        cmocka_unit_test(test_old_route_keeps_its_exit_until_eoi),
        cmocka_unit_test(test_unknown_level_vector_kicks),
        cmocka_unit_test(test_level_vector_while_inactive),
        cmocka_unit_test(test_masked_route_exits_only_where_it_is_outstanding),
        cmocka_unit_test(test_missed_eoi_is_made_up_for),
        cmocka_unit_test(test_missed_eoi_before_apicv_ends),
        cmocka_unit_test(test_missed_eoi_with_broadcast_suppressed),
        cmocka_unit_test(test_edge_after_level_clears_the_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
