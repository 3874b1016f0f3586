/* SPDX-License-Identifier: MIT */
/*
 * Protected local APICs: what apic/ does without the virtual-APIC page. The model gives it a page whose
 * every access ends the test.
 */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apic/paravirt.h"
#include "apic/pi.h"
#include "apic/priority.h"
#include "apic/state.h"

enum { PIN = 5, VECTOR = 0x51, OTHER = 0x61 };

static void start(unsigned vcpus)
{
    struct apic_features features = model_all_features;
    features.protected = true;
    model_start(&features, vcpus);
    for (unsigned i = 0; i < vcpus; i++) {
        assert_int_equal(msr_set(i, APIC_SVR, 0x1FF), RIVET_OK);
        assert_int_equal(model_enter(i), -1);
    }
}

static void leave_guest(unsigned index)
{
    model.vcpu[index].in_guest = false;
}

/* --- The page ------------------------------------------------------------------------------- */

/* The other tests mean something only if this holds. */
static void test_a_touch_is_fatal(void **state)
{
    (void)state;
    int status;
    start(1);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); /* not cmocka's handler */
        priority_ppr(lapic_of(0));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void test_registers_of_hardware(void **state)
{
    (void)state;
    start(1);
    for (uint32_t n = 0; n < 64; n++) {
        bool vectors = (n >= 0x10 && n <= 0x17) || (n >= 0x20 && n <= 0x27);
        assert_int_equal(lapic_direct_reads(lapic_of(0)) >> n & 1,
                         n == 0x08 || n == 0x0A || vectors);
        assert_int_equal(lapic_direct_writes(lapic_of(0)) >> n & 1,
                         n == 0x08 || n == 0x0B || n == 0x3F);
    }
    assert_int_equal(msr_set(0, APIC_SVR, 0xFF), RIVET_OK);
    assert_int_equal(lapic_direct_writes(lapic_of(0)) >> 0x3F, 0);
}

static void test_registers_of_software(void **state)
{
    (void)state;
    uint64_t value;
    unsigned readable = 0;
    start(2);
    for (uint32_t msr = 0x800; msr <= 0x8FF; msr++) {
        bool direct = msr < 0x840 && (lapic_direct_reads(lapic_of(1)) >> (msr - 0x800) & 1) != 0;
        if (!direct) {
            readable += lapic_read_msr(lapic_of(1), msr, &value) == RIVET_OK;
        }
    }
    assert_int_equal(readable, 4 + 8 + 1 + 1 + 1 + 6 + 3); /* ID.. TMR ESR CMCI ICR LVT timer */
    assert_int_equal(msr_get(1, APIC_ID), 1);
    assert_int_equal(msr_get(1, APIC_LDR), 2);
    assert_int_equal(msr_get(1, APIC_SVR), 0x1FF);
    assert_int_equal(msr_set(1, APIC_LVT_ERROR, 0x77), RIVET_OK);
    assert_int_equal(msr_get(1, APIC_LVT_ERROR), 0x77);
    for (uint32_t offset = 0; offset < APIC_PAGE_SIZE; offset += 4) {
        assert_int_equal(model_read(1, offset), 0);
    }
}

/* --- Mode ----------------------------------------------------------------------------------- */

static void test_born_in_x2apic_mode(void **state)
{
    (void)state;
    start(2);
    assert_int_equal(lapic_mode(lapic_of(0)), LAPIC_X2APIC);
    assert_int_equal(lapic_read_base(lapic_of(0)), 0xFEE00D00);
    assert_int_equal(lapic_read_base(lapic_of(1)), 0xFEE00C00);
}

static void test_base_cannot_change(void **state)
{
    (void)state;
    start(2);
    uint64_t base = lapic_read_base(lapic_of(1));
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_int_equal(lapic_write_base(lapic_of(1), base ^ 1ULL << bit), ERR_GP);
    }
    assert_int_equal(lapic_write_base(lapic_of(1), 0xFEE00000), ERR_GP);
    assert_int_equal(lapic_write_base(lapic_of(1), base), RIVET_OK);
    assert_int_equal(lapic_read_base(lapic_of(1)), base);
}

/* --- Delivery ------------------------------------------------------------------------------- */

static void test_posted_in_root_mode(void **state)
{
    (void)state;
    start(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    leave_guest(0);
    unsigned writes = vcpu->status_writes;
    assert_true(post(0, VECTOR));
    assert_true(post(0, OTHER));
    assert_int_equal(model_enter(0), OTHER);
    assert_int_equal(vcpu->self_notifications, 1);
    assert_false(pi_has_posted(&vcpu->pi));
    assert_int_equal(model_highest(0, APIC_IRR), VECTOR);
    model_eoi(0);
    assert_int_equal(model_evaluate(0), VECTOR);
    leave_guest(0);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(vcpu->self_notifications, 1);
    assert_int_equal(vcpu->status_writes, writes);
}

static void test_posted_in_guest_mode(void **state)
{
    (void)state;
    start(1);
    assert_true(post(0, VECTOR));
    assert_true(model.vcpu[0].in_guest);
    assert_int_equal(model.vcpu[0].notifications, 1);
    assert_int_equal(model_evaluate(0), VECTOR);
}

static void test_interrupts_off(void **state)
{
    (void)state;
    start(1);
    model.vcpu[0].interrupts_enabled = false;
    leave_guest(0);
    post(0, VECTOR);
    assert_int_equal(model_enter(0), -1);
    model.vcpu[0].interrupts_enabled = true;
    assert_int_equal(model_evaluate(0), VECTOR);
}

static void test_held_by_tpr(void **state)
{
    (void)state;
    start(1);
    model_write_tpr(0, VECTOR);
    leave_guest(0);
    post(0, VECTOR);
    assert_int_equal(model_enter(0), -1);
    model_write_tpr(0, 0);
    assert_int_equal(model_evaluate(0), VECTOR);
}

static void test_timer(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    assert_int_equal(msr_set(0, APIC_DIVIDE, 0xB), RIVET_OK);
    assert_int_equal(msr_set(0, APIC_LVT_TIMER, VECTOR), RIVET_OK);
    assert_int_equal(msr_set(0, APIC_INITIAL_COUNT, 1000), RIVET_OK);
    model.tsc += 1000;
    lapic_timer_poll(lapic_of(0), model.tsc);
    assert_int_equal(model_enter(0), VECTOR);
}

static void test_ipi(void **state)
{
    (void)state;
    start(2);
    assert_int_equal(msr_set(0, APIC_ICR, 1ULL << 32 | VECTOR), RIVET_OK);
    assert_int_equal(model_evaluate(1), VECTOR);
    assert_int_equal(msr_set(0, APIC_ICR, 0x80000 | OTHER), RIVET_OK); /* all */
    assert_int_equal(model_evaluate(0), OTHER);
    assert_int_equal(model_evaluate(1), OTHER);
}

/* Nobody's PPR can be read: everyone gets its turn, busy or not. */
static void test_lowest_priority_rotates(void **state)
{
    (void)state;
    start(4);
    struct apic_message message = { .destination = 0xFFFFFFFF,
                                    .x2apic_format = true,
                                    .delivery_mode = APIC_DELIVERY_LOWEST_PRIORITY,
                                    .vector = VECTOR };
    model_write_tpr(1, 0xF0);
    for (unsigned turn = 1; turn <= 8; turn++) {
        assert_int_equal(apic_vm_deliver(&model.vm, &message), 1);
        assert_int_equal(model.vcpu[turn % 4].notifications, (turn + 3) / 4);
    }
}

static void test_self_ipi_with_illegal_vector(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    *(uint32_t *)(void *)&model.vcpu[0].page[APIC_SELF_IPI] = 0xF;
    lapic_apic_write(lapic_of(0), APIC_SELF_IPI);
    assert_int_equal(msr_set(0, APIC_ESR, 0), RIVET_OK);
    assert_int_equal(msr_get(0, APIC_ESR),
                     APIC_ESR_SEND_ILLEGAL_VECTOR | APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
}

/* --- HLT ------------------------------------------------------------------------------------ */

static void set_status(uint8_t rvi, uint8_t svi)
{
    model.vcpu[0].rvi = rvi;
    model.vcpu[0].svi = svi;
}

static void test_halt_ends(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    lapic_halt_begins(lapic_of(0));
    assert_false(lapic_may_wake(lapic_of(0)));
    post(0, VECTOR);
    assert_true(lapic_may_wake(lapic_of(0)));
    assert_int_equal(model_enter(0), VECTOR);
}

/* By classes: RVI above SVI. */
static void test_halt_by_status(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    lapic_halt_begins(lapic_of(0));
    set_status(0x51, 0x4F);
    assert_true(lapic_may_wake(lapic_of(0)));
    set_status(0x5F, 0x51);
    assert_false(lapic_may_wake(lapic_of(0)));
    set_status(0x41, 0x51);
    assert_false(lapic_may_wake(lapic_of(0)));
    set_status(0x51, 0);
    assert_true(lapic_may_wake(lapic_of(0)));
}

/* Hardware has found that TPR holds it back: asked once, not again. */
static void test_halt_confirmed(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    lapic_halt_begins(lapic_of(0));
    set_status(0x51, 0);
    lapic_confirm_halt(lapic_of(0));
    assert_false(lapic_may_wake(lapic_of(0)));
    post(0, 0x31);
    assert_true(lapic_may_wake(lapic_of(0)));
    lapic_confirm_halt(lapic_of(0)); /* with something posted an exit proves nothing */
    pi_discard(&model.vcpu[0].pi);
    set_status(0x61, 0);
    assert_true(lapic_may_wake(lapic_of(0)));
    lapic_confirm_halt(lapic_of(0));
    assert_false(lapic_may_wake(lapic_of(0)));
    lapic_halt_begins(lapic_of(0)); /* TPR may have changed */
    assert_true(lapic_may_wake(lapic_of(0)));
}

/* An error interrupt is posted by the owner's look. */
static void test_error_ends_halt(void **state)
{
    (void)state;
    start(2);
    leave_guest(0);
    assert_int_equal(msr_set(0, APIC_LVT_ERROR, VECTOR), RIVET_OK);
    lapic_halt_begins(lapic_of(0));
    struct apic_message message = { .vector = 3 };
    lapic_accept(lapic_of(0), &message);
    assert_false(pi_has_posted(&model.vcpu[0].pi));
    assert_false(lapic_block(lapic_of(0), 0xF4));
    assert_true(lapic_may_wake(lapic_of(0)));
    assert_int_equal(model_enter(0), VECTOR);
}

/* --- Level-triggered interrupts -------------------------------------------------------------- */

static void route(unsigned pin, uint32_t low)
{
    ioapic_mmio_write(&model.vm, 0, 0x11 + 2 * pin);
    ioapic_mmio_write(&model.vm, 0x10, 0); /* to vCPU 0 */
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
    ioapic_mmio_write(&model.vm, 0x10, low);
}

static bool remote_irr(unsigned pin)
{
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
    return (ioapic_mmio_read(&model.vm, 0x10) & 1 << 14) != 0;
}

static bool eoi_exits(uint8_t vector)
{
    return (model.vcpu[0].eoi_exit[vector / 64] >> (vector % 64) & 1) != 0;
}

static void test_level(void **state)
{
    (void)state;
    start(1);
    route(PIN, 0x8000 | VECTOR);
    assert_int_equal(model_enter(0), -1);
    assert_true(eoi_exits(VECTOR));
    ioapic_set_line(&model.vm, PIN, true);
    assert_int_equal(model_evaluate(0), VECTOR);
    assert_true(remote_irr(PIN));
    ioapic_set_line(&model.vm, PIN, false);
    model_eoi(0);
    assert_false(remote_irr(PIN));
}

/* The vector stays away from hardware until its EOI exits; a notification for another is no matter. */
static void test_level_before_its_bitmap(void **state)
{
    (void)state;
    start(1);
    route(PIN, 0x8000 | VECTOR);
    model.vcpu[0].in_guest = true; /* the kick is still on its way */
    ioapic_set_line(&model.vm, PIN, true);
    assert_true(remote_irr(PIN));
    assert_int_equal(model.vcpu[0].pi.pir[VECTOR / 64], 0);
    model.vcpu[0].in_guest = true;
    post(0, OTHER);
    assert_int_equal(model_evaluate(0), OTHER);
    model_eoi(0);
    assert_int_equal(model_evaluate(0), -1);
    leave_guest(0);
    assert_int_equal(model_enter(0), VECTOR);
    assert_true(eoi_exits(VECTOR));
    ioapic_set_line(&model.vm, PIN, false);
    model_eoi(0);
    assert_false(remote_irr(PIN));
}

static void test_level_before_its_bitmap_ends_halt(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    lapic_halt_begins(lapic_of(0));
    route(PIN, 0x8000 | VECTOR);
    ioapic_set_line(&model.vm, PIN, true);
    assert_true(lapic_has_requests(lapic_of(0)));
    assert_true(lapic_may_wake(lapic_of(0)));
    assert_int_equal(model_enter(0), VECTOR);
}

/* Of an old route the bit stays until the EOI, which nobody can look up in ISR, and goes then. */
static void test_level_of_an_old_route(void **state)
{
    (void)state;
    start(1);
    route(PIN, 0x8000 | VECTOR);
    assert_int_equal(model_enter(0), -1);
    ioapic_set_line(&model.vm, PIN, true);
    assert_int_equal(model_evaluate(0), VECTOR);
    route(PIN, 0x8000 | OTHER);
    assert_int_equal(model_enter(0), -1);
    assert_true(eoi_exits(VECTOR));
    assert_true(eoi_exits(OTHER));
    model_eoi(0);
    leave_guest(0);
    model_enter(0);
    assert_false(eoi_exits(VECTOR));
}

/* --- Reset and INIT -------------------------------------------------------------------------- */

static void test_init(void **state)
{
    (void)state;
    start(2);
    struct model_vcpu *vcpu = &model.vcpu[1];
    unsigned pages = vcpu->fresh_pages;
    post(1, VECTOR);
    assert_int_equal(model_evaluate(1), VECTOR);
    leave_guest(1);
    post(1, OTHER);
    lapic_reset(lapic_of(1), true);
    assert_int_equal(vcpu->fresh_pages, pages + 1);
    assert_int_equal(lapic_mode(lapic_of(1)), LAPIC_X2APIC);
    assert_int_equal(msr_get(1, APIC_ID), 1);
    assert_int_equal(msr_get(1, APIC_SVR), 0xFF);
    assert_int_equal(model_enter(1), -1);
    assert_int_equal(vcpu->rvi | vcpu->svi, 0);
    leave_guest(1);
    assert_int_equal(msr_set(1, APIC_SVR, 0x1FF), RIVET_OK);
    post(1, OTHER);
    assert_int_equal(model_enter(1), OTHER);
}

static void test_init_forgets_what_was_held_back(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    route(PIN, 0x8000 | VECTOR);
    ioapic_set_line(&model.vm, PIN, true);
    lapic_reset(lapic_of(0), true);
    assert_int_equal(model_enter(0), -1);
    assert_false(pi_has_posted(&model.vcpu[0].pi));
}

static void test_reset(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    lapic_reset(lapic_of(0), false);
    assert_int_equal(lapic_mode(lapic_of(0)), LAPIC_X2APIC);
    assert_int_equal(model_enter(0), -1);
}

/* --- Always active ---------------------------------------------------------------------------- */

static void test_software_disabled(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    unsigned refreshes = model.vcpu[0].refreshes;
    assert_int_equal(msr_set(0, APIC_SVR, 0xFF), RIVET_OK);
    assert_int_equal(model_enter(0), -1);
    assert_true(lapic_apicv_active(lapic_of(0)));
    assert_int_equal(model.vcpu[0].refreshes, refreshes + 1); /* SELF IPI exits now */
    assert_int_equal(msr_set(0, APIC_SELF_IPI, VECTOR), RIVET_OK);
    assert_false(post(0, VECTOR));
    leave_guest(0);
    assert_int_equal(model_enter(0), -1);
}

static void test_no_inhibition(void **state)
{
    (void)state;
    start(1);
    for (unsigned reason = APICV_INHIBIT_OPTION; reason <= APICV_INHIBIT_MONITOR; reason++) {
        assert_false(apicv_set_inhibit(&model.vm, (enum apicv_inhibit)reason, true));
    }
    leave_guest(0);
    assert_int_equal(msr_set(0, APIC_LVT_LINT0, 0x700), RIVET_OK);
    apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(model.vm.inhibits, 0);
    assert_true(lapic_apicv_active(lapic_of(0)));
}

/* --- What is refused -------------------------------------------------------------------------- */

static void test_state_is_refused(void **state)
{
    (void)state;
    struct lapic_state saved;
    const char *reason = NULL;
    start(1);
    leave_guest(0);
    assert_int_equal(lapic_get_state(lapic_of(0), &saved, &reason), ERR_INVALID);
    assert_string_equal(reason, "the local APIC is protected");
    reason = NULL;
    memset(&saved, 0, sizeof(saved));
    assert_int_equal(lapic_set_state(lapic_of(0), &saved, &reason), ERR_INVALID);
    assert_string_equal(reason, "the local APIC is protected");
    assert_int_equal(lapic_restore_base(lapic_of(0), 0xFEE00D00), ERR_INVALID);
    assert_int_equal(msr_get(0, APIC_SVR), 0x1FF);
}

static void test_shared_memory_is_refused(void **state)
{
    (void)state;
    start(1);
    leave_guest(0);
    assert_int_equal(lapic_write_pv_eoi(lapic_of(0), MODEL_RAM_BASE | PV_EOI_ENABLE), ERR_GP);
    assert_int_equal(lapic_write_pv_eoi(lapic_of(0), 0), ERR_GP);
    assert_int_equal(lapic_set_vapic(lapic_of(0), MODEL_RAM_BASE), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_touch_is_fatal),
        cmocka_unit_test(test_registers_of_hardware),
        cmocka_unit_test(test_registers_of_software),
        cmocka_unit_test(test_born_in_x2apic_mode),
        cmocka_unit_test(test_base_cannot_change),
        cmocka_unit_test(test_posted_in_root_mode),
        cmocka_unit_test(test_posted_in_guest_mode),
        cmocka_unit_test(test_interrupts_off),
        cmocka_unit_test(test_held_by_tpr),
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_ipi),
        cmocka_unit_test(test_lowest_priority_rotates),
        cmocka_unit_test(test_self_ipi_with_illegal_vector),
        cmocka_unit_test(test_halt_ends),
        cmocka_unit_test(test_halt_by_status),
        cmocka_unit_test(test_halt_confirmed),
        cmocka_unit_test(test_error_ends_halt),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_level_before_its_bitmap),
        cmocka_unit_test(test_level_before_its_bitmap_ends_halt),
        cmocka_unit_test(test_level_of_an_old_route),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_init_forgets_what_was_held_back),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_software_disabled),
        cmocka_unit_test(test_no_inhibition),
        cmocka_unit_test(test_state_is_refused),
        cmocka_unit_test(test_shared_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
