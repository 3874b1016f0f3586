/* SPDX-License-Identifier: MIT */
/* IPIs: destinations against a slow reference, delivery modes, shorthands, INIT and SIPI. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include "apic/map.h"

/* --- Destinations: a reference that asks every local APIC in turn ----------------------------- */

static bool logical_match(unsigned index, uint32_t destination)
{
    const struct lapic *lapic = lapic_of(index);
    uint32_t ldr = model_read(index, APIC_LDR), dfr = model_read(index, APIC_DFR) >> 28;

    if (lapic_mode(lapic) == LAPIC_X2APIC) {
        return ldr >> 16 == destination >> 16 && (ldr & destination & 0xFFFF) != 0;
    }
    if (destination > 0xFF) {
        return false;
    }
    if (dfr == 0xF) {
        return (ldr >> 24 & destination) != 0;
    }
    return dfr == 0 && ldr >> 28 == destination >> 4 && (ldr >> 24 & destination & 0xF) != 0;
}

static bool matches(unsigned index, const struct apic_message *message)
{
    const struct lapic *lapic = lapic_of(index);
    uint32_t broadcast = message->x2apic_format ? 0xFFFFFFFF : 0xFF;
    uint32_t id = model_read(index, APIC_ID);

    if (lapic_mode(lapic) == LAPIC_DISABLED) {
        return false;
    }
    switch (message->shorthand) {
    case APIC_SHORTHAND_SELF:
        return message->source == lapic;
    case APIC_SHORTHAND_ALL:
        return true;
    case APIC_SHORTHAND_OTHERS:
        return message->source != lapic;
    default:
        break;
    }
    if (message->destination == broadcast) {
        return true;
    }
    if (message->logical) {
        return logical_match(index, message->destination);
    }
    return message->destination == (lapic_mode(lapic) == LAPIC_X2APIC ? id : id >> 24);
}

static void check_lookup(const struct apic_message *message)
{
    uint64_t expected = 0;
    for (unsigned i = 0; i < model.vm.vcpu_count; i++) {
        expected |= matches(i, message) ? 1ULL << i : 0;
    }
    assert_int_equal(apic_map_lookup(&model.vm, message), expected);
}

static void check_all_lookups(void)
{
    struct apic_message message = { .source = lapic_of(3) };
    for (uint32_t form = 0; form < 4; form++) {
        message.x2apic_format = (form & 1) != 0;
        message.logical = (form & 2) != 0;
        for (message.destination = 0; message.destination < 0x120; message.destination++) {
            check_lookup(&message);
        }
        for (uint32_t bit = 0; message.x2apic_format && bit < 32; bit++) {
            message.destination = 0xFFFFFFFF;
            check_lookup(&message);
            message.destination = 0x30005 ^ 1U << bit;
            check_lookup(&message);
            message.destination = 0x40001 ^ 1U << bit; /* the first cluster that no id is in */
            check_lookup(&message);
        }
    }
    for (message.shorthand = 1; message.shorthand < 4; message.shorthand++) {
        check_lookup(&message);
    }
}

static uint32_t seed;

static uint32_t roll(uint32_t sides)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % sides;
}

/* Modes, ids, LDRs and DFRs at random, aliases included. */
static void shuffle(void)
{
    for (unsigned i = 0; i < model.vm.vcpu_count; i++) {
        mmio_set(i, APIC_ID, (roll(2) != 0 ? i : roll(64)) << 24);
        mmio_set(i, APIC_LDR, roll(256) << 24);
        mmio_set(i, APIC_DFR, (roll(3) == 0 ? roll(16) : roll(2) * 15) << 28);
        switch (roll(4)) {
        case 0:
            model_enter_x2apic(i);
            break;
        case 1:
            lapic_write_base(lapic_of(i), 0);
            break;
        default:
            break;
        }
    }
}

static void test_map_equals_reference(void **state)
{
    (void)state;
    for (seed = 1; seed < 20; seed++) {
        uint32_t keep = seed;
        model_start(&model_all_features, 64);
        check_all_lookups();
        shuffle();
        check_all_lookups();
        seed = keep;
    }
}

static void test_map_skips_missing_vcpus(void **state)
{
    (void)state;
    struct apic_message all = { .destination = 0xFF };
    model_start(&model_all_features, 3);
    model.vm.lapics[1] = NULL;
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
    apic_vm_ids_changed(&model.vm);
    apic_vm_routes_changed(&model.vm);
    apic_vm_extint_changed(&model.vm);
    apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, true);
    assert_int_equal(apic_map_lookup(&model.vm, &all), 5);
}

/* Rebuilt only when a mode, id, LDR or DFR changes: the sequence number counts. */
static void test_map_is_rebuilt_only_for_a_change(void **state)
{
    (void)state;
    start_software(4);
    uint32_t sequence = model.vm.map.sequence;
    mmio_set(1, APIC_LDR, 0);
    mmio_set(1, APIC_DFR, 0xFFFFFFFF);
    mmio_set(1, APIC_ID, 0x01000000);
    mmio_set(1, APIC_SVR, 0xFF);
    mmio_set(1, APIC_SVR, 0x1FF);
    mmio_set(1, APIC_TPR, 0x30);
    lapic_write_base(lapic_of(1), 0xFED00000 | APIC_BASE_EN); /* another address */
    lapic_reset(lapic_of(1), true);
    assert_int_equal(model.vm.map.sequence, sequence);
    mmio_set(1, APIC_LDR, 0x02000000);
    assert_int_equal(model.vm.map.sequence, sequence += 2);
    mmio_set(1, APIC_DFR, 0);
    assert_int_equal(model.vm.map.sequence, sequence += 2);
    mmio_set(1, APIC_ID, 0x07000000);
    assert_int_equal(model.vm.map.sequence, sequence += 2);
    model_enter_x2apic(1);
    assert_int_equal(model.vm.map.sequence, sequence += 2);
    lapic_reset(lapic_of(1), true);
    assert_int_equal(model.vm.map.sequence, sequence);
    lapic_write_base(lapic_of(1), 0xFEE00000);
    assert_int_equal(model.vm.map.sequence, sequence += 2);
    mmio_set(2, APIC_ID, 0x02000000);
    assert_int_equal(model.vm.map.sequence, sequence);
}

/* --- ICR ------------------------------------------------------------------------------------ */

static void test_xapic_icr_physical(void **state)
{
    (void)state;
    start_software(3);
    mmio_set(0, APIC_ICR2, 2 << 24);
    mmio_set(0, APIC_ICR, 0x4000 | 0x55);
    assert_int_equal(model_enter(1), -1);
    assert_int_equal(model_enter(2), 0x55);
    assert_int_equal(mmio_get(0, APIC_ICR), 0x4055);
    assert_int_equal(mmio_get(0, APIC_ICR2), 2 << 24);
}

static void test_xapic_icr_by_apic_write_exit(void **state)
{
    (void)state;
    start_software(3);
    uint32_t high = 2 << 24, low = 0xFFF03055;
    memcpy(&model.vcpu[0].page[APIC_ICR2], &high, 4);
    memcpy(&model.vcpu[0].page[APIC_ICR], &low, 4);
    lapic_apic_write(lapic_of(0), APIC_ICR);
    assert_int_equal(model_enter(2), 0x55);
    assert_int_equal(mmio_get(0, APIC_ICR), 0x55);
}

static void test_shorthands(void **state)
{
    (void)state;
    static const struct {
        uint32_t shorthand;
        bool self, others;
    } rows[] = { { 1, true, false }, { 2, true, true }, { 3, false, true } };
    for (unsigned i = 0; i < 3; i++) {
        start_software(3);
        mmio_set(1, APIC_ICR, rows[i].shorthand << 18 | 0x4061);
        assert_int_equal(model_enter(1), rows[i].self ? 0x61 : -1);
        assert_int_equal(model_enter(0), rows[i].others ? 0x61 : -1);
        assert_int_equal(model_enter(2), rows[i].others ? 0x61 : -1);
    }
}

static void test_self_ipi_by_all_three_routes(void **state)
{
    (void)state;
    start_software(2);
    mmio_set(1, APIC_ICR2, 1 << 24);
    mmio_set(1, APIC_ICR, 0x4071);
    mmio_set(1, APIC_ICR, 1 << 18 | 0x4082);
    model_enter_x2apic(1);
    assert_int_equal(msr_set(1, APIC_SELF_IPI, 0x93), RIVET_OK);
    assert_int_equal(model_enter(1), 0x93);
    model_eoi(1);
    assert_int_equal(model_enter(1), 0x82);
    model_eoi(1);
    assert_int_equal(model_enter(1), 0x71);
    assert_int_equal(model_enter(0), -1);
}

/* APIC-write exit of an illegal self-IPI vector: hardware leaves it to us. */
static void test_self_ipi_by_apic_write_exit(void **state)
{
    (void)state;
    start_apicv(1);
    model_enter_x2apic(0);
    model.vcpu[0].page[APIC_SELF_IPI] = 7;
    lapic_apic_write(lapic_of(0), APIC_SELF_IPI);
    assert_int_equal(read_esr(0), APIC_ESR_SEND_ILLEGAL_VECTOR | APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
    assert_int_equal(model.vcpu[0].page[APIC_SELF_IPI], 0);
}

static void test_level_ipi_is_edge(void **state)
{
    (void)state;
    start_software(2);
    mmio_set(0, APIC_ICR2, 1 << 24);
    mmio_set(0, APIC_ICR, 0xC055);
    assert_int_equal(mmio_get(1, APIC_TMR + 0x20), 0);
}

static void test_nmi_ipi(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    mmio_set(0, APIC_ICR2, 1 << 24);
    mmio_set(0, APIC_ICR, 0x4400);
    assert_int_equal(model.vcpu[1].nmis, 1);
    assert_int_equal(read_esr(0), 0);
}

static void test_unsendable_modes_do_nothing(void **state)
{
    (void)state;
    start_software(2);
    mmio_set(0, APIC_ICR2, 1 << 24);
    mmio_set(0, APIC_ICR, 0x4300 | 0x44);
    mmio_set(0, APIC_ICR, 0x4700 | 0x44);
    assert_int_equal(model_enter(1), -1);
    assert_int_equal(model.vcpu[1].logs, 0);
}

static void test_x2apic_broadcast_and_cluster(void **state)
{
    (void)state;
    start_software(34);
    for (unsigned i = 0; i < 34; i++) {
        model_enter_x2apic(i);
    }
    assert_int_equal(msr_set(0, APIC_ICR, 0x0002000200004862), RIVET_OK);
    assert_int_equal(model_enter(33), 0x62);
    assert_int_equal(model_enter(32), -1);
    assert_int_equal(msr_set(0, APIC_ICR, 0xFFFFFFFF00004063), RIVET_OK);
    for (unsigned i = 0; i < 33; i++) {
        assert_int_equal(model_enter(i), 0x63);
    }
    assert_int_equal(msr_set(0, APIC_ICR, 0x000000FF00004064), RIVET_OK);
    assert_int_equal(model_highest(5, APIC_IRR), -1);
}

/* There is no delivery status in x2APIC mode: the bit is accepted and reads 0. */
static void test_x2apic_icr_bit_12(void **state)
{
    (void)state;
    start_software(2);
    model_enter_x2apic(0);
    assert_int_equal(msr_set(0, APIC_ICR, 0x0000000100005066), RIVET_OK);
    assert_true(msr_get(0, APIC_ICR) == 0x0000000100004066);
    assert_int_equal(model_enter(1), 0x66);
}

static void test_aliased_ids_all_receive(void **state)
{
    (void)state;
    start_software(3);
    mmio_set(2, APIC_ID, 1 << 24);
    mmio_set(0, APIC_ICR2, 1 << 24);
    mmio_set(0, APIC_ICR, 0x4055);
    assert_int_equal(model_enter(1), 0x55);
    assert_int_equal(model_enter(2), 0x55);
}

/* --- Lowest priority -------------------------------------------------------------------------- */

static void test_lowest_priority_takes_the_lowest_ppr(void **state)
{
    (void)state;
    start_software(3);
    mmio_set(0, APIC_TPR, 0x30);
    mmio_set(1, APIC_TPR, 0x20);
    mmio_set(2, APIC_TPR, 0x10);
    struct apic_message message = { .destination = 0xFF,
                                    .delivery_mode = APIC_DELIVERY_LOWEST_PRIORITY,
                                    .vector = 0x90 };
    assert_int_equal(apic_vm_deliver(&model.vm, &message), 1);
    assert_int_equal(model_enter(2), 0x90); /* now in service there: PPR 90H */
    message.vector = 0xA0;
    assert_int_equal(apic_vm_deliver(&model.vm, &message), 1);
    assert_int_equal(model_enter(1), 0xA0);
    mmio_set(0, APIC_SVR, 0xFF); /* not a candidate */
    message.vector = 0xB0;
    assert_int_equal(apic_vm_deliver(&model.vm, &message), 1);
    assert_int_equal(model_enter(2), 0xB0);
}

static void test_lowest_priority_is_fair_among_equals(void **state)
{
    (void)state;
    unsigned wins[64] = { 0 };
    start_software(64);
    struct apic_message message = { .destination = 0xFF,
                                    .delivery_mode = APIC_DELIVERY_LOWEST_PRIORITY,
                                    .vector = 0x31 };
    for (unsigned i = 0; i < 640; i++) {
        assert_int_equal(apic_vm_deliver(&model.vm, &message), 1);
        unsigned winner = model.vm.arbitration_turn;
        assert_int_equal(model_enter(winner), 0x31);
        model_eoi(winner);
        wins[winner]++;
    }
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(wins[i], 10);
    }
}

static void test_lowest_priority_with_nobody(void **state)
{
    (void)state;
    struct apic_message message = { .destination = 0xFF,
                                    .delivery_mode = APIC_DELIVERY_LOWEST_PRIORITY,
                                    .vector = 0x31 };
    model_start(&model_all_features, 2);
    assert_int_equal(apic_vm_deliver(&model.vm, &message), 0);
}

/* --- INIT and SIPI ---------------------------------------------------------------------------- */

static void send_to_1(uint32_t icr)
{
    mmio_set(0, APIC_ICR2, 1 << 24);
    mmio_set(0, APIC_ICR, icr);
}

static void check_events(unsigned index, bool waiting, bool init, int sipi)
{
    struct lapic_events events = lapic_take_events(lapic_of(index), waiting);
    assert_int_equal(events.init, init);
    assert_int_equal(events.sipi, sipi);
}

static void test_init_then_sipi(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    check_events(1, true, false, -1);
    send_to_1(0x4500);
    assert_int_equal(model.vcpu[1].kicks > 0, true);
    check_events(1, false, true, -1);
    send_to_1(0x4608);
    send_to_1(0x4609); /* a second SIPI is dropped */
    check_events(1, true, false, 8);
    check_events(1, true, false, -1);
}

static void test_init_and_sipi_taken_together(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    send_to_1(0x4611); /* before the INIT: forgotten */
    send_to_1(0x4500);
    send_to_1(0x4612);
    check_events(1, false, true, 0x12);
}

static void test_sipi_dropped_unless_waiting(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    send_to_1(0x4610);
    check_events(1, false, false, -1);
    check_events(1, true, false, -1);
}

static void test_init_of_the_boot_cpu_does_not_wait(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    mmio_set(1, APIC_ICR2, 0);
    mmio_set(1, APIC_ICR, 0x4500);
    mmio_set(1, APIC_ICR, 0x4610);
    check_events(0, false, true, -1);
}

static void test_init_deassert_is_ignored(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    send_to_1(0x8500);
    check_events(1, false, false, -1);
    send_to_1(0x0500); /* edge: the level bit has no meaning */
    check_events(1, false, true, -1);
    send_to_1(0xC500);
    check_events(1, false, true, -1);
}

static void test_reset_forgets_events(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    send_to_1(0x4500);
    lapic_reset(lapic_of(1), false);
    check_events(1, true, false, -1);
}

/* --- MSI -------------------------------------------------------------------------------------- */

static void test_msi(void **state)
{
    (void)state;
    start_software(3);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE02000, 0x0041), 1);
    assert_int_equal(model_enter(2), 0x41);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFED02000, 0x0041), 0);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0x1FEE02000, 0x0041), 0);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEEFF000, 0x0042), 3);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEEFF000, 0x0142), 1);
    /* Physical mode: no redirection, whatever the hint. */
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEEFF008, 0x0046), 3);
    /* Level: asserted counts, de-asserted does not. */
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE01000, 0xC050), 1);
    assert_int_equal(mmio_get(1, APIC_TMR + 0x20), 1 << 16);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE01000, 0x8051), 0);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE01000, 0x0400), 1);
    assert_int_equal(model.vcpu[1].nmis, 1);
}

/* Message data: start-up and 011B are reserved. */
static void test_msi_reserved_delivery_modes(void **state)
{
    (void)state;
    start_software(2);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE01000, 0x0612), 0);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE01000, 0x0312), 0);
    check_events(1, true, false, -1);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE01000, 0x0512), 1);
    check_events(1, false, true, -1);
}

static void test_msi_logical(void **state)
{
    (void)state;
    start_software(3);
    for (unsigned i = 0; i < 3; i++) {
        mmio_set(i, APIC_LDR, 1U << (24 + i));
    }
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE06004, 0x0043), 2);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE0600C, 0x0044), 1);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE0200C, 0x0045), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_equals_reference),
        cmocka_unit_test(test_map_skips_missing_vcpus),
        cmocka_unit_test(test_map_is_rebuilt_only_for_a_change),
        cmocka_unit_test(test_xapic_icr_physical),
        cmocka_unit_test(test_xapic_icr_by_apic_write_exit),
        cmocka_unit_test(test_shorthands),
        cmocka_unit_test(test_self_ipi_by_all_three_routes),
        cmocka_unit_test(test_self_ipi_by_apic_write_exit),
        cmocka_unit_test(test_level_ipi_is_edge),
        cmocka_unit_test(test_nmi_ipi),
        cmocka_unit_test(test_unsendable_modes_do_nothing),
        cmocka_unit_test(test_x2apic_broadcast_and_cluster),
        cmocka_unit_test(test_x2apic_icr_bit_12),
        cmocka_unit_test(test_aliased_ids_all_receive),
        cmocka_unit_test(test_lowest_priority_takes_the_lowest_ppr),
        cmocka_unit_test(test_lowest_priority_is_fair_among_equals),
        cmocka_unit_test(test_lowest_priority_with_nobody),
        cmocka_unit_test(test_init_then_sipi),
        cmocka_unit_test(test_init_and_sipi_taken_together),
        cmocka_unit_test(test_sipi_dropped_unless_waiting),
        cmocka_unit_test(test_init_of_the_boot_cpu_does_not_wait),
        cmocka_unit_test(test_init_deassert_is_ignored),
        cmocka_unit_test(test_reset_forgets_events),
        cmocka_unit_test(test_msi),
        cmocka_unit_test(test_msi_reserved_delivery_modes),
        cmocka_unit_test(test_msi_logical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
