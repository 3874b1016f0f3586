/* SPDX-License-Identifier: MIT */
/* ExtINT: interrupts of an 8259 pair by LINT0 and by the I/O APIC (SDM volume 3, "Local Vector Table"). */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include "apic/ioapic.h"
#include "apic/state.h"

/* A tiny 8259: vectors that wait, in order; INT is up while there are any. */
static uint8_t waiting[8];
static unsigned waiting_count, acknowledges;

static void drive(void)
{
    lapic_set_lint0(lapic_of(0), waiting_count != 0);
}

static int acknowledge(struct lapic *lapic)
{
    uint8_t vector = waiting[0];

    assert_ptr_equal(lapic, lapic_of(0));
    acknowledges++;
    if (waiting_count == 0) {
        return 0x0F; /* spurious */
    }
    memmove(waiting, waiting + 1, --waiting_count);
    drive();
    return vector;
}

static void raise(uint8_t vector)
{
    waiting[waiting_count++] = vector;
    drive();
}

static void start(const struct apic_features *features)
{
    waiting_count = acknowledges = 0;
    model_start(features, 2);
    model.acknowledge = acknowledge;
    model_enable_all();
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
    mmio_set(0, APIC_LVT_LINT0, 0x700);
    model_enter(0);
}

static void test_delivered_without_irr_isr_and_ppr(void **state)
{
    (void)state;
    start(&model_all_features);
    model_write_tpr(0, 0xFF);
    post(0, 0xF1);
    assert_int_equal(model_enter(0), -1);
    raise(0x08);
    assert_int_equal(model_enter(0), 0x08);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
    assert_int_equal(model_highest(0, APIC_IRR), 0xF1);
    assert_int_equal(model_enter(0), -1);
}

static void test_waits_for_if(void **state)
{
    (void)state;
    start(&model_all_features);
    raise(0x70);
    struct lapic_entry entry = lapic_before_entry(lapic_of(0), false);
    assert_int_equal(entry.inject, -1);
    assert_true(entry.interrupt_window);
    assert_int_equal(acknowledges, 0);
    entry = lapic_before_entry(lapic_of(0), true);
    assert_int_equal(entry.inject, 0x70);
    assert_false(entry.interrupt_window);
}

static void test_before_local_interrupts(void **state)
{
    (void)state;
    start(&model_all_features);
    post(0, 0x51);
    raise(0x08);
    struct lapic_entry entry = lapic_before_entry(lapic_of(0), true);
    assert_int_equal(entry.inject, 0x08);
    assert_true(entry.interrupt_window); /* for 51H */
    assert_int_equal(model_highest(0, APIC_IRR), 0x51);
    entry = lapic_before_entry(lapic_of(0), true);
    assert_int_equal(entry.inject, 0x51);
}

static void test_next_one_asks_for_a_window(void **state)
{
    (void)state;
    start(&model_all_features);
    raise(0x08);
    raise(0x0C);
    struct lapic_entry entry = lapic_before_entry(lapic_of(0), true);
    assert_int_equal(entry.inject, 0x08);
    assert_true(entry.interrupt_window);
    assert_int_equal(lapic_before_entry(lapic_of(0), true).inject, 0x0C);
}

static void test_masked_and_other_vcpus(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x10700);
    unsigned kicks = model.vcpu[0].kicks;
    raise(0x08);
    assert_int_equal(model.vcpu[0].kicks, kicks);
    assert_int_equal(model_enter(0), -1);
    assert_false(lapic_has_extint(lapic_of(0)));
    mmio_set(0, APIC_LVT_LINT0, 0x700); /* a level: it is still there */
    assert_true(lapic_has_extint(lapic_of(0)));
    assert_false(lapic_has_extint(lapic_of(1)));
    assert_int_equal(model_enter(1), -1);
    assert_int_equal(model_enter(0), 0x08);
}

/* By an MSI, which no register announces: APICv, which could not deliver it, pauses for it. */
static void test_message_while_apicv_is_active(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x10000);
    assert_int_equal(model_enter(0), -1);
    assert_true(lapic_apicv_active(lapic_of(0)));
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE00000, 0x700), 1);
    waiting[waiting_count++] = 0x08;
    assert_int_equal(model_enter(0), 0x08);
    assert_int_equal(acknowledges, 1);
    assert_int_equal(model_enter(0), -1);
    assert_true(lapic_apicv_active(lapic_of(0)));
}

/* "Local APIC State After It Has Been Disabled": LINT0 is INTR. */
static void test_disabled_by_msr(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x10000);
    lapic_write_base(lapic_of(0), APIC_BASE_DEFAULT | APIC_BASE_BSP);
    unsigned kicks = model.vcpu[0].kicks;
    raise(0x08);
    assert_true(model.vcpu[0].kicks > kicks);
    assert_true(lapic_has_requests(lapic_of(0)));
    assert_int_equal(model_enter(0), 0x08);
    assert_false(lapic_has_requests(lapic_of(0)));
}

static void test_disabled_by_svr(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_SVR, 0xFF);
    raise(0x08);
    assert_int_equal(model_enter(0), -1); /* every LVT entry is masked */
}

static void test_ends_halt(void **state)
{
    (void)state;
    start(&model_all_features);
    model_write_tpr(0, 0xFF);
    assert_false(lapic_has_requests(lapic_of(0)));
    raise(0x08);
    lapic_before_entry(lapic_of(0), false);
    assert_true(lapic_has_extint(lapic_of(0)));
    assert_true(lapic_has_requests(lapic_of(0)));
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), -1);
}

static void test_inhibits_while_it_could_come(void **state)
{
    (void)state;
    start(&model_all_features);
    assert_false(lapic_apicv_active(lapic_of(0)));
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_QUIET);
    model_enter(0);
    assert_true(lapic_apicv_active(lapic_of(0)));
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
    raise(0x08);
    assert_int_equal(model_enter(0), 0x08);
    assert_false(lapic_apicv_active(lapic_of(0)));
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_NONE);
    model_enter(0);
    assert_true(lapic_apicv_active(lapic_of(0)));
}

static void route(uint32_t low)
{
    ioapic_mmio_write(&model.vm, 0, 0x10);
    ioapic_mmio_write(&model.vm, 0x10, low);
}

static void pulse_pin(void)
{
    ioapic_set_line(&model.vm, 0, true);
    ioapic_set_line(&model.vm, 0, false);
}

static void test_message_of_the_ioapic(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x10700);
    route(0x700);
    assert_int_equal(model.vm.inhibits, 1 << APICV_INHIBIT_EXTINT);
    waiting[waiting_count++] = 0x73;
    pulse_pin();
    assert_int_equal(model_enter(0), 0x73);
    assert_int_equal(model_enter(0), -1);
    pulse_pin(); /* the 8259's request has gone: its vector 7 */
    assert_int_equal(model_enter(0), 0x0F);
    assert_int_equal(model.vcpu[0].logs, 0);
}

static void test_message_refused_and_forgotten(void **state)
{
    (void)state;
    struct apic_message message = { .delivery_mode = APIC_DELIVERY_EXTINT };

    start(&model_all_features);
    assert_true(lapic_accept(lapic_of(0), &message));
    assert_true(lapic_has_extint(lapic_of(0)));
    lapic_reset(lapic_of(0), true);
    assert_false(lapic_has_extint(lapic_of(0)));
    assert_false(lapic_accept(lapic_of(0), &message)); /* software-disabled now */
}

/* LINT0 is a pin like another when LVT0 says so. */
static void test_lint0_in_fixed_mode(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x44);
    raise(0x08);
    assert_int_equal(model_enter(0), 0x44);
    assert_int_equal(acknowledges, 0);
    model_eoi(0);
    drive(); /* no rise */
    assert_int_equal(model_enter(0), -1);
    lapic_set_lint0(lapic_of(0), false);
    mmio_set(0, APIC_LVT_LINT0, 0x400);
    drive();
    model_enter(0);
    assert_int_equal(model.vcpu[0].nmis, 1);
}

/* "Local Vector Table", remote IRR: from acceptance to EOI; then a pin that is still high asks again. */
static bool lint0_remote_irr(void)
{
    return (mmio_get(0, APIC_LVT_LINT0) & APIC_LVT_REMOTE_IRR) != 0;
}

static void check_level_triggered_lint0(const struct apic_features *features)
{
    start(features);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    assert_true(lint0_remote_irr());
    lapic_set_lint0(lapic_of(0), false);
    lapic_set_lint0(lapic_of(0), true); /* awaits its EOI: not accepted again */
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model_highest(0, APIC_IRR), -1);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x44);
    assert_true(lint0_remote_irr());
    lapic_set_lint0(lapic_of(0), false);
    model_eoi(0);
    assert_int_equal(model_enter(0), -1);
    assert_false(lint0_remote_irr());
}

static void test_level_triggered_lint0(void **state)
{
    (void)state;
    struct apic_features software = software_features();
    check_level_triggered_lint0(&model_all_features);
    check_level_triggered_lint0(&software);
}

static void test_level_triggered_lint0_fires_when_unmasked(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x18044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), -1);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    assert_int_equal(model_enter(0), 0x44);
    mmio_set(0, APIC_LVT_LINT0, 0x18044); /* the EOI still belongs to it */
    assert_true(lint0_remote_irr());
    model_eoi(0);
    assert_false(lint0_remote_irr());
    assert_int_equal(model_enter(0), -1);
    mmio_set(0, APIC_LVT_LINT0, 0x10044); /* an edge under the mask is lost */
    mmio_set(0, APIC_LVT_LINT0, 0x44);
    assert_int_equal(model_enter(0), -1);
}

static void test_remote_irr_of_lint0_cannot_be_written(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0xC044);
    assert_false(lint0_remote_irr());
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    uint32_t low = 0x8055; /* by an APIC-write exit: hardware has overwritten the page */
    memcpy(&model.vcpu[0].page[APIC_LVT_LINT0], &low, sizeof(low));
    lapic_apic_write(lapic_of(0), APIC_LVT_LINT0);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT0), 0xC055);
    model_eoi(0); /* of 44H, which is what was accepted */
    assert_int_equal(model_enter(0), 0x55);
    mmio_set(0, APIC_LVT_LINT0, 0x55); /* no meaning for edges */
    assert_false(lint0_remote_irr());
    lapic_reset(lapic_of(0), true);
    assert_int_equal(mmio_get(0, APIC_LVT_LINT0), 0x10000);
}

/* The EOI of another level is not its own. */
static void test_level_triggered_lint0_under_another_level(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    struct apic_message other = { .vector = 0x77, .level = true, .assert_level = true };
    lapic_accept(lapic_of(0), &other);
    assert_int_equal(model_enter(0), 0x77);
    model_eoi(0);
    assert_true(lint0_remote_irr());
    assert_int_equal(model_enter(0), -1);
}

static void test_reset_forgets_what_lint0_was_accepted_for(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    lapic_reset(lapic_of(0), true);
    mmio_set(0, APIC_SVR, 0x1FF);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    assert_false(lint0_remote_irr());
    assert_int_equal(model_enter(0), 0x44);
}

static void test_level_triggered_lint0_is_saved(void **state)
{
    (void)state;
    struct lapic_state saved;
    const char *reason;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    assert_int_equal(lapic_get_state(lapic_of(0), &saved, &reason), RIVET_OK);
    lapic_reset(lapic_of(0), false);
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), RIVET_OK);
    assert_true(lint0_remote_irr());
    assert_int_equal(model_enter(0), -1); /* high all the while, and accepted already */
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x44);
    /* Remote IRR of nothing that could be EOIed would stay for ever. */
    uint32_t lvt = 0xC055, plain = 0x8044, none = 0;
    memcpy(&saved.regs[APIC_LVT_LINT0], &lvt, sizeof(lvt));
    memcpy(&saved.regs[LAPIC_STATE_LINT0], &none, sizeof(none));
    lapic_set_lint0(lapic_of(0), false);
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), RIVET_OK);
    assert_false(lint0_remote_irr());
    /* Nor is every level in service LINT0's. */
    memcpy(&saved.regs[APIC_LVT_LINT0], &plain, sizeof(plain));
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), RIVET_OK);
    assert_false(lint0_remote_irr());
}

/* An edge of the same vector clears TMR; the EOI is LINT0's all the same, also when it is virtualized. */
static void test_level_triggered_lint0_and_an_edge_of_its_vector(void **state)
{
    (void)state;
    struct lapic_state saved;
    const char *reason;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    lapic_set_lint0(lapic_of(0), false);
    assert_int_equal(apic_vm_deliver_msi(&model.vm, 0xFEE00000, 0x44), 1); /* pending behind it */
    model_enter(0);
    assert_true(lint0_remote_irr());
    assert_int_equal(lapic_get_state(lapic_of(0), &saved, &reason), RIVET_OK);
    lapic_reset(lapic_of(0), false);
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), RIVET_OK);
    assert_true(lint0_remote_irr());
    model_eoi(0);
    assert_false(lint0_remote_irr());
}

/* What is saved names the vector that was accepted, not the one written since. */
static void test_level_triggered_lint0_saved_with_another_vector(void **state)
{
    (void)state;
    struct lapic_state saved;
    const char *reason;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), 0x44);
    mmio_set(0, APIC_LVT_LINT0, 0x8055);
    assert_int_equal(lapic_get_state(lapic_of(0), &saved, &reason), RIVET_OK);
    lapic_reset(lapic_of(0), false);
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), RIVET_OK);
    assert_true(lint0_remote_irr());
    lapic_set_lint0(lapic_of(0), false);
    model_eoi(0);
    assert_false(lint0_remote_irr());
}

/* Hardware reports the EOI of vector 0 when nothing is in service; it ends no level of LINT0. */
static void test_eoi_of_nothing_is_not_lint0s(void **state)
{
    (void)state;
    struct lapic_state saved;
    const char *reason;
    uint32_t open = 0x8044;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x18044);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(lapic_get_state(lapic_of(0), &saved, &reason), RIVET_OK);
    memcpy(&saved.regs[APIC_LVT_LINT0], &open, sizeof(open));
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), RIVET_OK);
    assert_int_equal(model_enter(0), -1);
    lapic_eoi_induced(lapic_of(0), 0);
    assert_int_equal(model_enter(0), -1);
}

/* Only fixed interrupts have a level. */
static void test_lint0_nmi_is_edge_triggered(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8400);
    for (unsigned i = 1; i <= 2; i++) {
        lapic_set_lint0(lapic_of(0), true);
        model_enter(0);
        assert_int_equal(model.vcpu[0].nmis, i);
        assert_false(lint0_remote_irr());
        lapic_set_lint0(lapic_of(0), false);
    }
}

/* It is not maskable: the owner need not be on its way into the guest. */
static void test_lint0_nmi_is_raised_before_an_entry(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x400);
    model_enter(0);
    assert_false(lapic_lint0_asks(lapic_of(0)));
    lapic_set_lint0(lapic_of(0), true);
    assert_true(lapic_lint0_asks(lapic_of(0)));
    lapic_raise_lint0(lapic_of(0));
    assert_false(lapic_lint0_asks(lapic_of(0)));
    assert_int_equal(model.vcpu[0].nmis, 1);
    model_enter(0);
    assert_int_equal(model.vcpu[0].nmis, 1);
}

/* What the 8259 withdraws before the guest takes interrupts needs no INTA cycle. */
static void test_withdrawn_before_the_acknowledge(void **state)
{
    (void)state;
    start(&model_all_features);
    raise(0x08);
    lapic_before_entry(lapic_of(0), false);
    waiting_count = 0;
    drive();
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(acknowledges, 0);
}

/* What the local APIC did not accept does not await an EOI. */
static void test_level_triggered_lint0_with_an_illegal_vector(void **state)
{
    (void)state;
    start(&model_all_features);
    mmio_set(0, APIC_LVT_LINT0, 0x8004);
    lapic_set_lint0(lapic_of(0), true);
    assert_int_equal(model_enter(0), -1);
    assert_false(lint0_remote_irr());
    assert_int_equal(read_esr(0), APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    assert_int_equal(model_enter(0), 0x44);
}

static void test_lint0_survives_reset(void **state)
{
    (void)state;
    start(&model_all_features);
    raise(0x08);
    lapic_reset(lapic_of(0), false);
    assert_false(lapic_has_extint(lapic_of(0)));
    lapic_set_virtual_wire(lapic_of(0));
    assert_true(lapic_has_extint(lapic_of(0)));
    assert_int_equal(model_read(0, APIC_SVR), 0x1FF);
    assert_int_equal(model_read(0, APIC_LVT_LINT0), 0x8700);
    assert_int_equal(model_read(0, APIC_LVT_LINT1), 0x8400);
    assert_int_equal(model_enter(0), 0x08);
}

static void test_no_8259_behind_the_port(void **state)
{
    (void)state;
    start(&model_all_features);
    model.acknowledge = NULL;
    post(0, 0x51);
    raise(0x08);
    assert_int_equal(model_enter(0), 0x51);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivered_without_irr_isr_and_ppr),
        cmocka_unit_test(test_waits_for_if),
        cmocka_unit_test(test_before_local_interrupts),
        cmocka_unit_test(test_next_one_asks_for_a_window),
        cmocka_unit_test(test_masked_and_other_vcpus),
        cmocka_unit_test(test_message_while_apicv_is_active),
        cmocka_unit_test(test_disabled_by_msr),
        cmocka_unit_test(test_disabled_by_svr),
        cmocka_unit_test(test_ends_halt),
        cmocka_unit_test(test_inhibits_while_it_could_come),
        cmocka_unit_test(test_message_of_the_ioapic),
        cmocka_unit_test(test_message_refused_and_forgotten),
        cmocka_unit_test(test_lint0_in_fixed_mode),
        cmocka_unit_test(test_level_triggered_lint0),
        cmocka_unit_test(test_level_triggered_lint0_fires_when_unmasked),
        cmocka_unit_test(test_remote_irr_of_lint0_cannot_be_written),
        cmocka_unit_test(test_level_triggered_lint0_and_an_edge_of_its_vector),
        cmocka_unit_test(test_eoi_of_nothing_is_not_lint0s),
        cmocka_unit_test(test_level_triggered_lint0_saved_with_another_vector),
        cmocka_unit_test(test_level_triggered_lint0_under_another_level),
        cmocka_unit_test(test_reset_forgets_what_lint0_was_accepted_for),
        cmocka_unit_test(test_level_triggered_lint0_is_saved),
        cmocka_unit_test(test_lint0_nmi_is_edge_triggered),
        cmocka_unit_test(test_lint0_nmi_is_raised_before_an_entry),
        cmocka_unit_test(test_withdrawn_before_the_acknowledge),
        cmocka_unit_test(test_level_triggered_lint0_with_an_illegal_vector),
        cmocka_unit_test(test_lint0_survives_reset),
        cmocka_unit_test(test_no_8259_behind_the_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
