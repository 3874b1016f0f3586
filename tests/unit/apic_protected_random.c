/* SPDX-License-Identifier: MIT */
/*
 * A protected local APIC under random load, against a list of what must be pending: each interrupt is
 * delivered once, the highest first and none too early, and no level-triggered one keeps its remote IRR.
 */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

enum { PINS = 4, SEEDS = 40, STEPS = 4000, RTE_MASKED = 0x10000, RTE_LEVEL = 0x8000 };

/* Edge-triggered vectors are even, those of the pins odd. */
static const uint8_t vector_of_pin[PINS] = { 0x31, 0x51, 0x53, 0x91 };

static uint64_t seed;
static bool pending[256], in_service[256];
static uint8_t tpr;
static bool line[PINS], masked[PINS];

static unsigned below(unsigned limit)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % limit;
}

static int highest(const bool *vectors)
{
    int vector = 255;
    while (vector >= 0 && !vectors[vector]) {
        vector--;
    }
    return vector;
}

static bool remote_irr(unsigned pin)
{
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
    return (ioapic_mmio_read(&model.vm, 0x10) & 1 << 14) != 0;
}

/* The I/O APIC's own rule, apart from what happens to the message. */
static void note_level(void)
{
    for (unsigned pin = 0; pin < PINS; pin++) {
        uint8_t vector = vector_of_pin[pin];
        if (remote_irr(pin) && !in_service[vector]) {
            pending[vector] = true;
        }
    }
}

static void set_entry(unsigned pin)
{
    ioapic_mmio_write(&model.vm, 0, 0x10 + 2 * pin);
    ioapic_mmio_write(&model.vm, 0x10,
                      RTE_LEVEL | vector_of_pin[pin] | (masked[pin] ? RTE_MASKED : 0));
    note_level();
}

static void set_line(unsigned pin, bool level)
{
    line[pin] = level;
    ioapic_set_line(&model.vm, pin, level);
    note_level();
}

/* Without the vectors that wait for the EOI-exit bitmap. */
static int highest_visible(void)
{
    bool visible[256];
    for (unsigned vector = 0; vector < 256; vector++) {
        uint64_t held = atomic_load(&lapic_of(0)->held_back[vector / 64]);
        visible[vector] = pending[vector] && (held >> (vector % 64) & 1) == 0;
    }
    return highest(visible);
}

static void expect_delivery(int got)
{
    int next = highest_visible();
    int serving = highest(in_service);
    unsigned class = serving < 0 ? 0 : (unsigned)serving & 0xF0;
    class = (tpr & 0xF0U) > class ? tpr & 0xF0U : class;
    bool deliverable = next >= 0 && ((unsigned)next & 0xF0) > class;
    assert_int_equal(got, deliverable ? next : -1);
    if (got >= 0) {
        pending[got] = false;
        in_service[got] = true;
    }
}

static void enter(void)
{
    expect_delivery(model_enter(0));
}

static void end_of_interrupt(void)
{
    int vector = highest(in_service);
    if (vector >= 0) {
        in_service[vector] = false;
        model_eoi(0);
        note_level();
    }
}

/* The guest may run on for a while before a kick arrives; the entry after that serves it. */
static void delay_kick(void)
{
    model.vcpu[0].in_guest = below(2) == 0;
}

static void write_tpr(uint8_t value)
{
    tpr = value;
    model_write_tpr(0, value);
}

static void post_edge(uint8_t vector)
{
    pending[vector] = true;
    assert_true(post(0, vector));
}

/* In guest mode: what the guest does, and what comes from outside meanwhile. */
static void step(void)
{
    unsigned pin = below(PINS);
    if (!model.vcpu[0].in_guest) {
        enter();
    }
    switch (below(8)) {
    case 0:
    case 1:
        post_edge((uint8_t)(0x20 + 2 * below(112)));
        break;
    case 2:
        end_of_interrupt();
        break;
    case 3:
        write_tpr((uint8_t)(below(4) == 0 ? below(256) : 0));
        break;
    case 4:
        model.vcpu[0].in_guest = false;
        break;
    case 5:
        set_line(pin, !line[pin]);
        delay_kick();
        break;
    case 6:
        masked[pin] = !masked[pin];
        set_entry(pin);
        delay_kick();
        break;
    default:
        expect_delivery(model_evaluate(0));
        break;
    }
}

static void finish(void)
{
    for (unsigned pin = 0; pin < PINS; pin++) {
        set_line(pin, false);
    }
    enter();
    write_tpr(0);
    for (unsigned i = 0; i < 1000 && (highest(pending) >= 0 || highest(in_service) >= 0); i++) {
        end_of_interrupt();
        enter();
    }
    assert_int_equal(highest(pending), -1);
    assert_int_equal(model_highest(0, APIC_IRR), -1);
    assert_int_equal(model_highest(0, APIC_ISR), -1);
    for (unsigned pin = 0; pin < PINS; pin++) {
        assert_false(remote_irr(pin));
    }
}

static void test_random(void **state)
{
    (void)state;
    struct apic_features features = model_all_features;
    features.protected = true;
    for (uint64_t first = 1; first <= SEEDS; first++) {
        seed = first;
        tpr = 0;
        memset(pending, 0, sizeof(pending));
        memset(in_service, 0, sizeof(in_service));
        memset(line, 0, sizeof(line));
        memset(masked, 0, sizeof(masked));
        model_start(&features, 1);
        assert_int_equal(msr_set(0, APIC_SVR, 0x1FF), RIVET_OK);
        for (unsigned pin = 0; pin < PINS; pin++) {
            set_entry(pin);
        }
        for (unsigned i = 0; i < STEPS; i++) {
            step();
        }
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
