/* SPDX-License-Identifier: MIT */
/* Saving and restoring: round trips, any order, refused states, timers. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include "apic/extint.h"
#include "apic/map.h"
#include "apic/state.h"

static struct lapic_state state_of(unsigned index)
{
    struct lapic_state state;
    const char *reason;
    assert_int_equal(lapic_get_state(lapic_of(index), &state, &reason), RIVET_OK);
    return state;
}

static uint32_t reg(const struct lapic_state *state, uint32_t offset)
{
    uint32_t value;
    memcpy(&value, &state->regs[offset], 4);
    return value;
}

static void poke(struct lapic_state *state, uint32_t offset, uint32_t value)
{
    memcpy(&state->regs[offset], &value, 4);
}

static void set_ok(unsigned index, const struct lapic_state *state)
{
    const char *reason = "untouched";
    assert_int_equal(lapic_set_state(lapic_of(index), state, &reason), RIVET_OK);
    assert_null(reason);
}

static void set_refused(unsigned index, const struct lapic_state *state, const char *why)
{
    const char *reason = NULL;
    uint8_t page[4096];
    memcpy(page, model.vcpu[index].page, sizeof(page));
    assert_int_equal(lapic_set_state(lapic_of(index), state, &reason), ERR_INVALID);
    assert_string_equal(reason, why);
    assert_memory_equal(page, model.vcpu[index].page, sizeof(page));
}

/* --- Round trips -------------------------------------------------------------------------------- */

static void make_busy(unsigned index)
{
    reg_set(index, APIC_TPR, 0x21);
    reg_set(index, APIC_LVT_LINT1, 0x400);
    post(index, 0x60);
    assert_int_equal(model_enter(index), 0x60);
    model.vcpu[index].in_guest = false;
    post(index, 0x50); /* stays in PIR */
}

static void check_busy(unsigned index)
{
    assert_int_equal(model_enter(index), -1);
    assert_int_equal(model_read(index, APIC_TPR), 0x21);
    assert_int_equal(model_read(index, APIC_LVT_LINT1), 0x400);
    model_eoi(index);
    assert_int_equal(model_enter(index), 0x50);
}

static void test_round_trip(void **unused)
{
    (void)unused;
    for (unsigned apicv = 0; apicv < 2; apicv++) {
        for (unsigned x2apic = 0; x2apic < 2; x2apic++) {
            apicv ? start_apicv(2) : start_software(2);
            if (x2apic) {
                model_enter_x2apic(1);
            }
            make_busy(1);
            struct lapic_state state = state_of(1);
            uint64_t base = lapic_read_base(lapic_of(1));
            lapic_reset(lapic_of(1), false);
            assert_int_equal(lapic_restore_base(lapic_of(1), base), RIVET_OK);
            set_ok(1, &state);
            check_busy(1);
        }
    }
}

static void test_state_includes_pir_and_count(void **unused)
{
    (void)unused;
    start_software(1);
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_PERIODIC << 17 | 0xE0);
    mmio_set(0, APIC_DIVIDE, 0xB);
    mmio_set(0, APIC_INITIAL_COUNT, 50000);
    model.tsc += 20000;
    post(0, 0x91);
    struct lapic_state state = state_of(0);
    assert_int_equal(reg(&state, APIC_IRR + 0x40), 1 << 17);
    assert_int_equal(reg(&state, APIC_CURRENT_COUNT), 30000);
    assert_int_equal(reg(&state, APIC_EOI), 0);
    lapic_reset(lapic_of(0), false);
    model.tsc += 1000000; /* the machine was off meanwhile */
    set_ok(0, &state);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), model.tsc + 30000);
    model.tsc += 30000;
    lapic_timer_poll(lapic_of(0), model.tsc);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), model.tsc + 50000);
    assert_int_equal(model_enter(0), 0xE0);
}

static void test_ended_count_is_in_the_state(void **unused)
{
    (void)unused;
    start_software(1);
    mmio_set(0, APIC_LVT_TIMER, 0xE0);
    mmio_set(0, APIC_INITIAL_COUNT, 50);
    model.tsc += 1000;
    struct lapic_state state = state_of(0);
    lapic_reset(lapic_of(0), false);
    set_ok(0, &state);
    assert_int_equal(model_enter(0), 0xE0);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
}

static void test_regression_02_icr_is_two_registers_in_the_layout(void **unused)
{
    (void)unused;
    start_software(2);
    model_enter_x2apic(1);
    assert_int_equal(msr_set(1, APIC_ICR, 0x0000FFFF000040F1), RIVET_OK);
    struct lapic_state state = state_of(1);
    assert_int_equal(reg(&state, APIC_ICR), 0x40F1);
    assert_int_equal(reg(&state, APIC_ICR + 4), 0);
    assert_int_equal(reg(&state, APIC_ICR2), 0xFFFF);
    poke(&state, APIC_ICR2, 0x12345678);
    set_ok(1, &state);
    assert_true(msr_get(1, APIC_ICR) == 0x12345678000040F1);
    assert_int_equal(model_read(1, APIC_ICR2), 0);
}

static void test_regression_06_restore_keeps_the_x2apic_id(void **unused)
{
    (void)unused;
    start_software(20);
    model_enter_x2apic(18);
    struct lapic_state state = state_of(18);
    assert_int_equal(reg(&state, APIC_ID), 18);
    poke(&state, APIC_ID, 17);
    set_refused(18, &state, "another x2APIC id");
    poke(&state, APIC_ID, 18);
    poke(&state, APIC_LDR, 0x12345678);
    set_ok(18, &state);
    assert_int_equal(msr_get(18, APIC_LDR), 1 << 16 | 1 << 2);
    struct apic_message message = { .destination = 1 << 16 | 1 << 2,
                                    .logical = true,
                                    .x2apic_format = true };
    assert_true(apic_map_lookup(&model.vm, &message) == 1ULL << 18);
}

static void test_xapic_id_and_ldr_reach_the_map(void **unused)
{
    (void)unused;
    start_software(2);
    struct lapic_state state = state_of(1);
    poke(&state, APIC_ID, 0x55000000);
    poke(&state, APIC_LDR, 0x80000000);
    set_ok(1, &state);
    struct apic_message message = { .destination = 0x55 };
    assert_int_equal(apic_map_lookup(&model.vm, &message), 2);
    message.destination = 0x80;
    message.logical = true;
    assert_int_equal(apic_map_lookup(&model.vm, &message), 2);
    assert_true((model.vm.inhibits & 1 << APICV_INHIBIT_APIC_ID) != 0);
}

/* An interrupt of before the restore is gone with the state of before. */
static void test_what_was_posted_before_is_dropped(void **unused)
{
    (void)unused;
    start_software(1);
    struct lapic_state state = state_of(0);
    post(0, 0x44);
    set_ok(0, &state);
    assert_int_equal(model_enter(0), -1);
}

static void test_apicv_state_after_restore(void **unused)
{
    (void)unused;
    start_apicv(1);
    struct lapic_state state = state_of(0);
    poke(&state, APIC_ISR + 0x50, 1 << 3); /* A3H in service */
    poke(&state, APIC_IRR + 0x40, 1 << 2); /* 82H requested */
    poke(&state, APIC_TMR + 0x50, 1 << 3); /* A3H is level-triggered */
    model.vcpu[0].in_guest = false;
    set_ok(0, &state);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model.vcpu[0].rvi, 0x82);
    assert_int_equal(model.vcpu[0].svi, 0xA3);
    assert_int_equal(model.vcpu[0].eoi_exit[2], 1ULL << 35);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x82);
}

/* 22: what was posted with ON set and not yet notified is part of the saved state. */
static void test_regression_22_posted_interrupts_survive(void **unused)
{
    (void)unused;
    start_apicv(1);
    model.vcpu[0].in_guest = false;
    post(0, 0x6A);
    struct lapic_state state = state_of(0);
    lapic_reset(lapic_of(0), false);
    set_ok(0, &state);
    assert_int_equal(model_enter(0), 0x6A);
}

/* --- Order -------------------------------------------------------------------------------------- */

static struct lapic_state saved_state;
static uint64_t saved_base, saved_deadline;
static int64_t saved_offset;

static void restore_piece(unsigned piece)
{
    switch (piece) {
    case 0:
        set_ok(1, &saved_state);
        break;
    case 1:
        assert_int_equal(lapic_restore_base(lapic_of(1), saved_base), RIVET_OK);
        break;
    case 2:
        lapic_restore_tsc_offset(lapic_of(1), saved_offset);
        break;
    default:
        lapic_restore_deadline(lapic_of(1), saved_deadline);
        break;
    }
}

/* In x2APIC mode with a deadline 7000 guest ticks ahead, a full ICR, and one interrupt pending. */
static void save_something(void)
{
    start_apicv(2);
    model_enter_x2apic(1);
    lapic_set_tsc_offset(lapic_of(1), -400000);
    reg_set(1, APIC_LVT_TIMER, APIC_TIMER_TSC_DEADLINE << 17 | 0xEC);
    assert_int_equal(lapic_write_msr(lapic_of(1), MSR_TSC_DEADLINE, model.tsc - 400000 + 7000), 0);
    assert_int_equal(msr_set(1, APIC_ICR, 0x000000330000C4F0 & ~0xF00ULL), RIVET_OK);
    model.vcpu[1].in_guest = false;
    post(1, 0x77);
    saved_state = state_of(1);
    saved_base = lapic_read_base(lapic_of(1));
    saved_deadline = lapic_get_deadline(lapic_of(1));
    saved_offset = -400000 - 123456;
}

static void check_restored(void)
{
    assert_int_equal(lapic_mode(lapic_of(1)), LAPIC_X2APIC);
    assert_true(msr_get(1, APIC_ICR) == 0x000000330000C0F0);
    assert_int_equal(msr_get(1, APIC_ID), 1);
    assert_int_equal(model_enter(1), 0x77);
    uint64_t due = model.tsc + 7000;
    assert_int_equal(lapic_timer_deadline(lapic_of(1)), due);
    model.tsc = due;
    lapic_timer_poll(lapic_of(1), due);
    assert_int_equal(model_enter(1), 0xEC);
}

static void test_any_order(void **unused)
{
    (void)unused;
    for (unsigned order = 0; order < 256; order++) {
        unsigned pieces[4] = { order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6 & 3 };
        unsigned seen = 1U << pieces[0] | 1U << pieces[1] | 1U << pieces[2] | 1U << pieces[3];
        if (seen != 0xF) {
            continue;
        }
        save_something();
        lapic_reset(lapic_of(1), false);
        model.tsc += 123456; /* the guest's TSC stood still */
        for (unsigned i = 0; i < 4; i++) {
            restore_piece(pieces[i]);
        }
        check_restored();
    }
}

static void test_xapic_values_survive_a_base_restored_last(void **unused)
{
    (void)unused;
    start_software(2);
    mmio_set(1, APIC_ID, 0x66000000);
    mmio_set(1, APIC_LDR, 0x42000000);
    mmio_set(1, APIC_ICR2, 0x05000000);
    struct lapic_state state = state_of(1);
    lapic_reset(lapic_of(1), false);
    model_enter_x2apic(1);
    const char *reason;
    assert_int_equal(lapic_set_state(lapic_of(1), &state, &reason), ERR_INVALID);
    assert_int_equal(lapic_restore_base(lapic_of(1), 0xFEE00800), RIVET_OK);
    set_ok(1, &state);
    assert_int_equal(mmio_get(1, APIC_ID), 0x66000000);
    assert_int_equal(mmio_get(1, APIC_LDR), 0x42000000);
    assert_int_equal(mmio_get(1, APIC_ICR2), 0x05000000);
}

static void test_base_alone_keeps_the_registers(void **unused)
{
    (void)unused;
    start_software(2);
    mmio_set(1, APIC_ICR2, 0x05000000);
    mmio_set(1, APIC_ICR, 0x40FC);
    assert_int_equal(lapic_restore_base(lapic_of(1), 0xFEE00C00), RIVET_OK);
    assert_true(msr_get(1, APIC_ICR) == 0x05000000000040FC);
    assert_int_equal(lapic_restore_base(lapic_of(1), 0xFEE00800), RIVET_OK);
    assert_int_equal(mmio_get(1, APIC_ICR2), 0x05000000);
    assert_int_equal(mmio_get(1, APIC_ID), 0x01000000);
    assert_int_equal(lapic_restore_base(lapic_of(1), 0xFEE00000), RIVET_OK);
    assert_false(post(1, 0x40));
    model_enter(1); /* it ran: what was remembered is forgotten */
    assert_false(lapic_of(1)->restored.valid);
}

static void test_bad_base_is_refused(void **unused)
{
    (void)unused;
    start_software(1);
    uint64_t before = lapic_read_base(lapic_of(0));
    assert_int_equal(lapic_restore_base(lapic_of(0), 0xFEE00400), ERR_INVALID);
    assert_int_equal(lapic_restore_base(lapic_of(0), 0xFEE00801), ERR_INVALID);
    assert_int_equal(lapic_restore_base(lapic_of(0), 1ULL << 40 | 0x800), ERR_INVALID);
    assert_int_equal(lapic_read_base(lapic_of(0)), before);
}

/* --- Deadlines ---------------------------------------------------------------------------------- */

/* 34: a deadline that passed before the snapshot was taken still raises its interrupt. */
static void test_regression_34_expired_deadline_is_not_lost(void **unused)
{
    (void)unused;
    start_software(1);
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_TSC_DEADLINE << 17 | 0xEC);
    lapic_write_msr(lapic_of(0), MSR_TSC_DEADLINE, model.tsc + 10);
    model.tsc += 20; /* passed, and nobody has looked */
    struct lapic_state state = state_of(0);
    uint64_t deadline = lapic_get_deadline(lapic_of(0));
    lapic_reset(lapic_of(0), false);
    set_ok(0, &state);
    lapic_restore_deadline(lapic_of(0), deadline);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), model.tsc);
    lapic_timer_poll(lapic_of(0), model.tsc);
    assert_int_equal(model_enter(0), 0xEC);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
}

/* "TSC-Deadline Mode": writes of the initial count are ignored, whatever a state has put there. */
static void test_initial_count_in_deadline_mode_is_ignored(void **unused)
{
    (void)unused;
    start_software(1);
    struct lapic_state state = state_of(0);
    poke(&state, APIC_LVT_TIMER, 0x40030);
    poke(&state, APIC_INITIAL_COUNT, 0x48);
    set_ok(0, &state);
    reg_set(0, APIC_INITIAL_COUNT, 5);
    assert_int_equal(model_read(0, APIC_INITIAL_COUNT), 0x48);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
}

static void test_deadline_without_its_mode_stays_off(void **unused)
{
    (void)unused;
    start_software(1);
    lapic_restore_deadline(lapic_of(0), 1);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
    model_enter(0); /* it ran: a later state does not bring the deadline back */
    mmio_set(0, APIC_LVT_TIMER, APIC_TIMER_TSC_DEADLINE << 17 | 0xEC);
    struct lapic_state state = state_of(0);
    set_ok(0, &state);
    assert_int_equal(lapic_timer_deadline(lapic_of(0)), UINT64_MAX);
}

/* --- Refused states ----------------------------------------------------------------------------- */

/* --- What is on its way when a local APIC is saved ---------------------------------------------- */

/* The owner has been asked to raise LVT error, and has not yet done so. */
static void test_error_interrupt_on_its_way(void **unused)
{
    (void)unused;
    start_software(1);
    mmio_set(0, APIC_LVT_ERROR, 0xE1);
    struct apic_message message = { .vector = 5, .assert_level = true };
    lapic_accept(lapic_of(0), &message);
    struct lapic_state state = state_of(0);
    lapic_reset(lapic_of(0), false);
    set_ok(0, &state);
    assert_int_equal(model_enter(0), 0xE1);
}

/* What has no register, restored before the registers and after them. */
static void test_pending(void **unused)
{
    (void)unused;
    for (unsigned first = 0; first < 2; first++) {
        start_software(1);
        apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
        struct lapic *lapic = lapic_of(0);
        struct apic_message illegal = { .vector = 5, .assert_level = true };
        struct apic_message extint = { .delivery_mode = APIC_DELIVERY_EXTINT };
        struct apic_message sipi = { .delivery_mode = APIC_DELIVERY_SIPI,
                                     .vector = 0x9A,
                                     .source = lapic };
        lapic_accept(lapic, &illegal);
        lapic_accept(lapic, &extint);
        lapic_accept(lapic, &sipi);
        struct lapic_state state = state_of(0);
        struct lapic_pending pending = lapic_get_pending(lapic);
        assert_true(pending.extint);
        lapic_reset(lapic, false);
        if (first == 0) {
            lapic_restore_pending(lapic, &pending);
        }
        set_ok(0, &state);
        if (first != 0) {
            lapic_restore_pending(lapic, &pending);
        }
        assert_true(lapic->extint & LAPIC_EXTINT_MESSAGE);
        assert_int_equal(lapic_take_events(lapic, true).sipi, 0x9A);
        mmio_set(0, APIC_ESR, 0);
        assert_int_equal(mmio_get(0, APIC_ESR), APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
        pending.extint = false;
        lapic_restore_pending(lapic, &pending);
        assert_false(lapic->extint & LAPIC_EXTINT_MESSAGE);
    }
}

/* An interrupt at LINT0 likewise. */
static void test_lint0_interrupt_on_its_way(void **unused)
{
    (void)unused;
    start_software(1);
    mmio_set(0, APIC_LVT_LINT0, 0x71);
    lapic_set_lint0(lapic_of(0), true);
    struct lapic_state state = state_of(0);
    lapic_reset(lapic_of(0), false);
    set_ok(0, &state);
    assert_int_equal(model_enter(0), 0x71);
}

/* An EOI that made no exit, as in test_missed_eoi_is_made_up_for (apic_virtual.c). */
static void test_missed_eoi_is_made_up_for_before(void **unused)
{
    (void)unused;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * 9 + 1);
    ioapic_mmio_write(&model.vm, 0x10, 0);
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * 9);
    ioapic_mmio_write(&model.vm, 0x10, 0x8059);
    ioapic_set_line(&model.vm, 9, true);
    vcpu->pi.control &= ~1ULL;
    memset((void *)vcpu->pi.pir, 0, sizeof(vcpu->pi.pir));
    ioapic_set_line(&model.vm, 9, false);
    assert_true(model.vm.ioapic.redirection[9] & 1 << 14);
    struct lapic_state state = state_of(0);
    lapic_reset(lapic_of(0), false);
    set_ok(0, &state);
    model_enter(0);
    assert_false(model.vm.ioapic.redirection[9] & 1 << 14);
}

/* However often it is saved, a count-down ends when it would have. */
static void test_part_of_a_count(void **unused)
{
    (void)unused;
    start_software(1);
    model.vm.tsc_per_timer_tick = 3;
    mmio_set(0, APIC_LVT_TIMER, 0xEC);
    mmio_set(0, APIC_DIVIDE, 0xA); /* by 128 */
    mmio_set(0, APIC_INITIAL_COUNT, 1000);
    uint64_t due = lapic_timer_deadline(lapic_of(0));
    for (unsigned i = 0; i < 100; i++) {
        model.tsc += 1001;
        struct lapic_state state = state_of(0);
        lapic_reset(lapic_of(0), false);
        set_ok(0, &state);
        assert_int_equal(lapic_timer_deadline(lapic_of(0)), due);
    }
}

static void test_malformed_states(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t offset, value;
        const char *reason;
    } rows[] = {
        { APIC_TPR, 0x100, "reserved bits in TPR" },
        { APIC_PPR, 0x100, "reserved bits in PPR" },
        { APIC_SVR, 0x3FF, "reserved bits in the spurious-interrupt vector register" },
        { APIC_ISR, 0x8000, "a vector below 16 in service" },
        { APIC_IRR, 1, "a vector below 16 requested" },
        { APIC_ESR, 1, "reserved bits in ESR" },
        { APIC_ICR, 0x10000, "reserved bits in ICR" },
        { APIC_DIVIDE, 4, "reserved bits in the divide configuration" },
        { APIC_LVT_CMCI, 0x20000, "reserved bits in an LVT entry" },
        { APIC_LVT_ERROR, 0x400, "reserved bits in an LVT entry" },
        { APIC_ID, 0x00000200, "reserved bits in the id" },
        { APIC_CURRENT_COUNT, 1, "current count above the initial count" },
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start_software(1);
        struct lapic_state state = state_of(0);
        poke(&state, rows[i].offset, rows[i].value);
        set_refused(0, &state, rows[i].reason);
    }
}

static void test_cmci_must_not_be_there_without_the_feature(void **unused)
{
    (void)unused;
    struct apic_features features = software_features();
    features.cmci = false;
    model_start(&features, 1);
    struct lapic_state state = state_of(0);
    assert_int_equal(reg(&state, APIC_LVT_CMCI), 0);
    set_ok(0, &state);
    poke(&state, APIC_LVT_CMCI, 0x10000);
    set_ok(0, &state);
    assert_int_equal(model_read(0, APIC_LVT_CMCI), 0);
    poke(&state, APIC_LVT_CMCI, 0x100F0);
    set_refused(0, &state, "reserved bits in an LVT entry");
}

static void test_software_disabled_state_is_masked(void **unused)
{
    (void)unused;
    start_software(1);
    mmio_set(0, APIC_LVT_LINT1, 0x400);
    struct lapic_state state = state_of(0);
    poke(&state, APIC_SVR, 0xFF);
    set_ok(0, &state);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT1), 0x10400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_state_includes_pir_and_count),
        cmocka_unit_test(test_ended_count_is_in_the_state),
        cmocka_unit_test(test_regression_02_icr_is_two_registers_in_the_layout),
        cmocka_unit_test(test_regression_06_restore_keeps_the_x2apic_id),
        cmocka_unit_test(test_xapic_id_and_ldr_reach_the_map),
        cmocka_unit_test(test_what_was_posted_before_is_dropped),
        cmocka_unit_test(test_apicv_state_after_restore),
        cmocka_unit_test(test_regression_22_posted_interrupts_survive),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_xapic_values_survive_a_base_restored_last),
        cmocka_unit_test(test_base_alone_keeps_the_registers),
        cmocka_unit_test(test_bad_base_is_refused),
        cmocka_unit_test(test_regression_34_expired_deadline_is_not_lost),
        cmocka_unit_test(test_initial_count_in_deadline_mode_is_ignored),
        cmocka_unit_test(test_deadline_without_its_mode_stays_off),
        cmocka_unit_test(test_error_interrupt_on_its_way),
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_lint0_interrupt_on_its_way),
        cmocka_unit_test(test_missed_eoi_is_made_up_for_before),
        cmocka_unit_test(test_part_of_a_count),
        cmocka_unit_test(test_malformed_states),
        cmocka_unit_test(test_cmci_must_not_be_there_without_the_feature),
        cmocka_unit_test(test_software_disabled_state_is_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
