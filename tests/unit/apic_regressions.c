/* SPDX-License-Identifier: MIT */
/*
 * One test for each entry of the regression list that shows in pure logic; numbers are the list's.
 */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

#include "apic/map.h"
#include "apic/pi.h"

static void toggle(bool inhibit)
{
    apicv_set_inhibit(&model.vm, APICV_INHIBIT_MONITOR, inhibit);
}

static uint64_t page_quad(unsigned index, uint32_t offset)
{
    uint64_t value;
    memcpy(&value, &model.vcpu[index].page[offset], sizeof(value));
    return value;
}

static void test_regression_01_x2apic_icr_is_one_register(void **state)
{
    (void)state;
    start_software(4);
    model_enter_x2apic(0);
    assert_int_equal(msr_set(0, APIC_ICR, 0x0000000300004055), RIVET_OK);
    assert_true(page_quad(0, APIC_ICR) == 0x0000000300004055);
    assert_int_equal(model_read(0, APIC_ICR2), 0);
    assert_true(msr_get(0, APIC_ICR) == 0x0000000300004055);
    assert_int_equal(model_enter(3), 0x55);
    uint64_t value;
    assert_int_equal(lapic_read_msr(lapic_of(0), 0x831, &value), ERR_GP);
    assert_int_equal(lapic_write_msr(lapic_of(0), 0x831, 0), ERR_GP);
    /* An APIC-write exit finds all 64 bits at 300H. */
    uint64_t icr = 0x0000000200004056;
    memcpy(&model.vcpu[0].page[APIC_ICR], &icr, 8);
    lapic_apic_write(lapic_of(0), APIC_ICR);
    assert_int_equal(model_enter(2), 0x56);
}

static void test_regression_03_reserved_icr_bits_fault(void **state)
{
    (void)state;
    start_software(1);
    model_enter_x2apic(0);
    for (unsigned bit = 0; bit < 32; bit++) {
        bool reserved = bit >= 20 || bit == 17 || bit == 16 || bit == 13;
        assert_int_equal(msr_set(0, APIC_ICR, 1ULL << bit), reserved ? ERR_GP : RIVET_OK);
    }
}

static void test_regression_04_high_halves_fault(void **state)
{
    (void)state;
    start_software(1);
    model_enter_x2apic(0);
    for (uint32_t offset = 0; offset < 0x400; offset += 16) {
        if (offset != APIC_ICR) {
            assert_int_equal(msr_set(0, offset, 1ULL << 32), ERR_GP);
        }
    }
}

static void test_regression_05_self_ipi_high_bits_fault(void **state)
{
    (void)state;
    start_software(1);
    model_enter_x2apic(0);
    for (unsigned bit = 8; bit < 64; bit++) {
        assert_int_equal(msr_set(0, APIC_SELF_IPI, 0x40 | 1ULL << bit), ERR_GP);
    }
    assert_int_equal(model_enter(0), -1);
}

static void test_regression_06_x2apic_id_is_read_only(void **state)
{
    (void)state;
    start_software(20);
    mmio_set(18, APIC_ID, 0x33000000);
    model_enter_x2apic(18);
    assert_int_equal(msr_set(18, APIC_ID, 5), ERR_GP);
    assert_int_equal(msr_set(18, APIC_LDR, 5), ERR_GP);
    assert_int_equal(msr_get(18, APIC_ID), 18);
    assert_int_equal(msr_get(18, APIC_LDR), 1 << 16 | 1 << 2);
    struct apic_message message = { .destination = 18, .x2apic_format = true };
    assert_true(apic_map_lookup(&model.vm, &message) == 1ULL << 18);
    message.destination = 0x33;
    assert_true(apic_map_lookup(&model.vm, &message) == 0);
}

static void test_regression_10_svi_is_set_on_activation(void **state)
{
    (void)state;
    start_apicv(1);
    toggle(true);
    model_enter(0);
    post(0, 0x52);
    assert_int_equal(model_enter(0), 0x52);
    toggle(false);
    model_enter(0);
    assert_int_equal(model.vcpu[0].svi, 0x52);
    model_eoi(0);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
    post(0, 0x51); /* the same class: comes only if the EOI counted */
    assert_int_equal(model_evaluate(0), 0x51);
}

/* The same for what hardware had requested before APICv was off, and software has injected since. */
static void test_regression_10_svi_after_an_injection_from_virr(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    vcpu->interrupts_enabled = false;
    post(0, 0x52);
    assert_int_equal(vcpu->rvi, 0x52);
    toggle(true);
    vcpu->interrupts_enabled = true;
    assert_int_equal(model_enter(0), 0x52);
    toggle(false);
    assert_int_equal(model_enter(0), -1);
    assert_int_equal(vcpu->rvi, 0);
    assert_int_equal(vcpu->svi, 0x52);
}

static void test_regression_11_no_stale_isr_after_apicv(void **state)
{
    (void)state;
    start_apicv(1);
    toggle(true);
    model_enter(0);
    post(0, 0x90);
    assert_int_equal(model_enter(0), 0x90);
    toggle(false);
    model_enter(0);
    model_eoi(0); /* by hardware: software does not see it */
    post(0, 0x40);
    assert_int_equal(model_evaluate(0), 0x40);
    toggle(true);
    post(0, 0x50);
    assert_int_equal(model_enter(0), 0x50);
    model_eoi(0);
    model_eoi(0);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
}

static void test_regression_12_pending_after_deactivation(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    vcpu->interrupts_enabled = false;
    post(0, 0x41); /* hardware puts it into vIRR */
    toggle(true);
    vcpu->in_guest = true; /* the kick has not arrived: hardware posts once more */
    post(0, 0x61);
    vcpu->interrupts_enabled = true;
    assert_int_equal(model_enter(0), 0x61);
    model_eoi(0);
    assert_int_equal(model_enter(0), 0x41);
}

static void test_regression_13_posts_while_inactive_are_injected(void **state)
{
    (void)state;
    start_apicv(1);
    toggle(true);
    /* The poster still believes APICv is active: PIR, ON, notification. */
    assert_true(pi_post(&model.vcpu[0].pi, 0x63));
    assert_int_equal(model_enter(0), 0x63);
    assert_false(lapic_apicv_active(lapic_of(0)));
    /* And the other way round. */
    toggle(false);
    assert_true(pi_post(&model.vcpu[0].pi, 0x73));
    assert_int_equal(model_enter(0), 0x73);
    assert_true(lapic_apicv_active(lapic_of(0)));
}

static void test_regression_15_pending_above_ppr_ends_hlt(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    vcpu->interrupts_enabled = false;
    post(0, 0x44); /* in RVI already, PIR empty */
    assert_int_equal(vcpu->rvi, 0x44);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0x44);
    model_write_tpr(0, 0x40);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), -1);
}

static void test_regression_27_old_route_exit_is_dropped_after_its_eoi(void **state)
{
    (void)state;
    start_apicv(1);
    struct model_vcpu *vcpu = &model.vcpu[0];
    ioapic_mmio_write(&model.vm, 0, 0x10);
    ioapic_mmio_write(&model.vm, 0x10, 0x8081);
    model_enter(0);
    ioapic_set_line(&model.vm, 0, true);
    assert_int_equal(model_evaluate(0), 0x81);
    ioapic_set_line(&model.vm, 0, false);
    ioapic_mmio_write(&model.vm, 0x10, 0x0082); /* edge, another vector */
    model_enter(0);
    assert_int_equal(vcpu->eoi_exit[2], 2);
    model_eoi(0);
    model_enter(0);
    assert_int_equal(vcpu->eoi_exit[2], 0);
}

static void test_regression_28_suppressed_eoi_does_not_reach_the_ioapic(void **state)
{
    (void)state;
    start_apicv(1);
    assert_true((mmio_get(0, APIC_VERSION) & APIC_VERSION_EOI_SUPPRESSION) != 0);
    mmio_set(0, APIC_SVR, 0x11FF);
    ioapic_mmio_write(&model.vm, 0, 0x10);
    ioapic_mmio_write(&model.vm, 0x10, 0x8081);
    model_enter(0);
    ioapic_set_line(&model.vm, 0, true);
    assert_int_equal(model_evaluate(0), 0x81);
    model_eoi(0);
    assert_int_equal(model_enter(0), -1); /* not sent again, though the line is up */
    ioapic_set_line(&model.vm, 0, false);
    assert_int_equal(ioapic_mmio_read(&model.vm, 0x10), 0xC081);
    ioapic_mmio_write(&model.vm, 0x40, 0x81);
    assert_int_equal(ioapic_mmio_read(&model.vm, 0x10), 0x8081);
}

static void test_regression_30_sipi_is_dropped_outside_wait_for_sipi(void **state)
{
    (void)state;
    start_software(2);
    struct apic_message sipi = { .delivery_mode = APIC_DELIVERY_SIPI, .vector = 0x10 };
    lapic_accept(lapic_of(1), &sipi);
    assert_int_equal(lapic_take_events(lapic_of(1), false).sipi, -1);
    assert_int_equal(lapic_take_events(lapic_of(1), true).sipi, -1);
}

static void test_regression_32_aliased_ids(void **state)
{
    (void)state;
    start_apicv(3);
    mmio_set(2, APIC_ID, 1 << 24);
    assert_int_equal(model.vm.inhibits, 1 << APICV_INHIBIT_APIC_ID);
    struct apic_message message = { .destination = 1, .vector = 0x80 };
    assert_int_equal(apic_vm_deliver(&model.vm, &message), 2);
    assert_int_equal(model_enter(1), 0x80);
    assert_int_equal(model_enter(2), 0x80);
}

/* 35: SN cleared, then PIR looked at: what hardware posted under SN has no ON. */
static void test_regression_35_posted_under_sn(void **state)
{
    (void)state;
    start_apicv(1);
    struct pi_desc *pi = &model.vcpu[0].pi;
    model.vcpu[0].in_guest = false;
    lapic_put(lapic_of(0));
    pi->pir[1] |= 1ULL << 5; /* a device through the IOMMU: PIR bit, no ON, no notification */
    lapic_load(lapic_of(0), 3, 0xF2);
    assert_int_equal(model_enter(0), 0x45);
}

/*
 * 35: a poster against the owner, for real: every interrupt arrives. The poster goes on in the midst of what
 * the owner does about its first interrupt of a round: its second one finds ON set, or just cleared.
 */
enum { ROUNDS = 20000, PER_ROUND = 3 };

static _Atomic unsigned posted, acknowledged; /* rounds */

/* The two need not have a CPU each. */
static void give_way(unsigned spins)
{
    if (spins % 64 == 63) {
        sched_yield();
    }
}

static void *poster(void *unused)
{
    (void)unused;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (unsigned i = 0; i < PER_ROUND; i++) {
            struct apic_message message = { .vector = (uint8_t)(16 + (round * 5 + i * 64) % 240) };
            lapic_accept(lapic_of(0), &message);
        }
        atomic_store(&posted, round);
        for (unsigned spins = 0; atomic_load(&acknowledged) < round; spins++) {
            give_way(spins);
        }
    }
    return NULL;
}

/* How many arrive in a round, until an entry after the last post of it has none. */
static unsigned take_round(unsigned round)
{
    unsigned taken = 0;
    for (unsigned spins = 0;; spins++) {
        bool all_posted = atomic_load(&posted) == round;
        if (lapic_before_entry(lapic_of(0), true).inject >= 0) {
            mmio_set(0, APIC_EOI, 0);
            taken++;
        } else if (all_posted) {
            return taken;
        }
        give_way(spins);
    }
}

static void test_regression_35_no_interrupt_is_lost(void **state)
{
    (void)state;
    pthread_t thread;
    unsigned lost = 0;
    start_software(1);
    posted = acknowledged = 0;
    assert_int_equal(pthread_create(&thread, NULL, poster, NULL), 0);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        lost += take_round(round) != PER_ROUND;
        atomic_store(&acknowledged, round);
    }
    pthread_join(thread, NULL);
    assert_int_equal(lost, 0);
}

/*
 * 35: the same with a poster that comes between any two instructions of the owner: a signal handler. A bit
 * in PIR always has ON, or nobody would look.
 */
enum { SIGNALS = 3000, SIGNAL_US = 50 };

static volatile sig_atomic_t signals;

static void post_from_signal(int number)
{
    (void)number;
    post(0, 0x91);
    signals++;
}

static void set_timer(int interval_us)
{
    struct itimerval timer = { .it_interval.tv_usec = interval_us,
                               .it_value.tv_usec = interval_us };
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static bool is_stranded(const struct pi_desc *pi)
{
    int before = signals;
    bool on = pi_has_posted(pi);
    uint64_t bits = pi->pir[0] | pi->pir[1] | pi->pir[2] | pi->pir[3];
    return bits != 0 && !on && before == signals;
}

static void test_regression_35_posted_at_any_instruction(void **state)
{
    (void)state;
    unsigned stranded = 0;
    start_software(1);
    signals = 0;
    assert_true(signal(SIGALRM, post_from_signal) != SIG_ERR);
    set_timer(SIGNAL_US);
    while (signals < SIGNALS) {
        post(0, 0x41);
        if (lapic_before_entry(lapic_of(0), true).inject >= 0) {
            mmio_set(0, APIC_EOI, 0);
        }
        stranded += is_stranded(&model.vcpu[0].pi);
    }
    set_timer(0);
    assert_int_equal(stranded, 0);
}

/* 36: TMR belongs to the interrupt accepted last, and EOI goes to the pins of that vector only. */
static void test_regression_36_eoi_goes_to_the_right_pin(void **state)
{
    (void)state;
    start_apicv(1);
    for (unsigned pin = 0; pin < 4; pin++) {
        ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
        ioapic_mmio_write(&model.vm, 0x10, 0x8080 + pin * 0x10);
        model_enter(0);
        ioapic_set_line(&model.vm, pin, true);
        ioapic_set_line(&model.vm, pin, false);
        assert_int_equal(model_evaluate(0), 0x80 + pin * 0x10);
    }
    for (unsigned pin = 4; pin-- > 0;) {
        model_eoi(0);
        for (unsigned other = 0; other < 4; other++) {
            ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * other);
            bool outstanding = (ioapic_mmio_read(&model.vm, 0x10) & 0x4000) != 0;
            assert_int_equal(outstanding, other < pin);
        }
    }
}

/* 37: ON already set does not stop the owner from seeing a new interrupt at its next look. */
static void test_regression_37_second_post_under_on(void **state)
{
    (void)state;
    start_apicv(1);
    model.vcpu[0].in_guest = false;
    post(0, 0x40);
    post(0, 0x90);
    assert_int_equal(lapic_has_interrupt(lapic_of(0)), 0x90);
    assert_int_equal(model_enter(0), 0x90);
}

/* 38: the SIPI vector travels with its pending bit. */
static void test_regression_38_sipi_vector_is_published_with_its_bit(void **state)
{
    (void)state;
    start_software(2);
    for (unsigned vector = 0; vector < 256; vector++) {
        struct apic_message sipi = { .delivery_mode = APIC_DELIVERY_SIPI,
                                     .vector = (uint8_t)vector };
        lapic_accept(lapic_of(1), &sipi);
        assert_int_equal(lapic_take_events(lapic_of(1), true).sipi, vector);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regression_01_x2apic_icr_is_one_register),
        cmocka_unit_test(test_regression_03_reserved_icr_bits_fault),
        cmocka_unit_test(test_regression_04_high_halves_fault),
        cmocka_unit_test(test_regression_05_self_ipi_high_bits_fault),
        cmocka_unit_test(test_regression_06_x2apic_id_is_read_only),
        cmocka_unit_test(test_regression_10_svi_is_set_on_activation),
        cmocka_unit_test(test_regression_10_svi_after_an_injection_from_virr),
        cmocka_unit_test(test_regression_11_no_stale_isr_after_apicv),
        cmocka_unit_test(test_regression_12_pending_after_deactivation),
        cmocka_unit_test(test_regression_13_posts_while_inactive_are_injected),
        cmocka_unit_test(test_regression_15_pending_above_ppr_ends_hlt),
        cmocka_unit_test(test_regression_27_old_route_exit_is_dropped_after_its_eoi),
        cmocka_unit_test(test_regression_28_suppressed_eoi_does_not_reach_the_ioapic),
        cmocka_unit_test(test_regression_30_sipi_is_dropped_outside_wait_for_sipi),
        cmocka_unit_test(test_regression_32_aliased_ids),
        cmocka_unit_test(test_regression_35_posted_under_sn),
        cmocka_unit_test(test_regression_35_no_interrupt_is_lost),
        cmocka_unit_test(test_regression_35_posted_at_any_instruction),
        cmocka_unit_test(test_regression_36_eoi_goes_to_the_right_pin),
        cmocka_unit_test(test_regression_37_second_post_under_on),
        cmocka_unit_test(test_regression_38_sipi_vector_is_published_with_its_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
