/* SPDX-License-Identifier: MIT */
/* The 8259 pair of a VM, against the 8259A data sheet, through its ports. */
/* links: guest/pic.c guest/isa_irq.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "apic/lapic.h"
#include "guest/isa_irq.h"
#include "guest/pic.h"
#include "lib/error.h"

enum { FIRST = 0x20, SECOND = 0xA0, ELCR = 0x4D0 };
enum { EOI = 0x20, READ_IRR = 0x0A, READ_ISR = 0x0B, POLL = 0x0C, SMM_ON = 0x68, SMM_OFF = 0x48 };

static struct vm vm;
static struct lapic lapic;
static struct pic pic;
static bool intr, pin_0;
static unsigned pins_up, rises;
static enum apic_extint_source source;

int vm_add_io(struct vm *to, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    assert_ptr_equal(to, &vm);
    vm.io[vm.io_count++] = (struct io_region){ port, count, ops, device };
    return RIVET_OK;
}

void lapic_set_lint0(struct lapic *to, bool level)
{
    assert_ptr_equal(to, &lapic);
    rises += level && !intr;
    intr = level;
    assert_true(!level || source == APIC_EXTINT_LIVE); /* told before */
}

void ioapic_set_line(struct apic_vm *apic, unsigned pin, bool level)
{
    assert_ptr_equal(apic, &vm.apic);
    if (pin == 0) {
        pin_0 = level;
        assert_int_equal(intr, level);
    } else {
        pins_up = level ? pins_up | 1U << pin : pins_up & ~(1U << pin);
    }
}

void apic_vm_set_extint_source(struct apic_vm *apic, enum apic_extint_source what)
{
    assert_ptr_equal(apic, &vm.apic);
    source = what;
}

static const struct io_region *region(uint16_t port)
{
    for (unsigned i = 0; i < vm.io_count; i++) {
        if (port >= vm.io[i].base && port < vm.io[i].base + vm.io[i].size) {
            return &vm.io[i];
        }
    }
    fail_msg("port %x", port);
    return NULL;
}

static void out(uint16_t port, uint8_t value)
{
    const struct io_region *at = region(port);
    at->ops->write(at->device, port - at->base, 1, value);
}

static uint8_t in(uint16_t port)
{
    const struct io_region *at = region(port);
    return (uint8_t)at->ops->read(at->device, port - at->base, 1);
}

static uint8_t status(uint16_t port, uint8_t which)
{
    out(port, which);
    return in(port);
}

static void init_chip(uint16_t port, uint8_t icw1, uint8_t vector, uint8_t icw3, uint8_t icw4)
{
    out(port, icw1);
    out(port + 1, vector);
    out(port + 1, icw3);
    out(port + 1, icw4);
}

static void init_pair(uint8_t icw4)
{
    init_chip(FIRST, 0x11, 0x20, 4, icw4);
    init_chip(SECOND, 0x11, 0x28, 2, icw4);
}

static void pulse_high(unsigned irq)
{
    isa_irq_set(&vm, irq, false);
    isa_irq_set(&vm, irq, true);
}

static int ack(void)
{
    return vm.acknowledge_extint(&vm);
}

static int setup(void **state)
{
    (void)state;
    vm = (struct vm){ .apic.lapics = { &lapic } };
    intr = pin_0 = false;
    pins_up = rises = 0;
    assert_int_equal(pic_init(&pic, &vm), RIVET_OK);
    pic_reset(&pic, false);
    init_pair(1);
    return 0;
}

static void test_power_up_and_firmware(void **state)
{
    (void)state;
    pic_reset(&pic, false);
    assert_int_equal(source, APIC_EXTINT_QUIET);
    assert_int_equal(in(FIRST + 1), 0xFF);
    out(FIRST + 1, 0); /* not initialized: asks for nothing */
    isa_irq_set(&vm, 4, true);
    assert_false(intr);
    pic_reset(&pic, true);
    assert_int_equal(source, APIC_EXTINT_LIVE);
    assert_int_equal(in(FIRST + 1), 0xFA);
    assert_int_equal(in(SECOND + 1), 0xFF);
    pulse_high(0);
    assert_true(intr && pin_0);
    assert_int_equal(ack(), 0x08);
    out(FIRST, EOI);
    out(SECOND + 1, 0);
    pulse_high(11);
    assert_int_equal(ack(), 0x73);
}

static void test_edge(void **state)
{
    (void)state;
    isa_irq_set(&vm, 4, true);
    assert_true(intr);
    assert_int_equal(status(FIRST, READ_IRR), 0x10);
    assert_int_equal(ack(), 0x24);
    assert_false(intr);
    assert_int_equal(status(FIRST, READ_IRR), 0);
    assert_int_equal(status(FIRST, READ_ISR), 0x10);
    out(FIRST, EOI);
    assert_int_equal(in(FIRST), 0);
    assert_false(intr); /* the line stays up: no new edge */
    pulse_high(4);
    assert_true(intr);
    assert_int_equal(pins_up, 1 << 4);
}

static void test_level(void **state)
{
    (void)state;
    out(ELCR, 0xFF);
    out(ELCR + 1, 0xFF);
    assert_int_equal(in(ELCR), 0xF8);
    assert_int_equal(in(ELCR + 1), 0xDE);
    isa_irq_set(&vm, 5, true);
    assert_int_equal(ack(), 0x25);
    assert_int_equal(status(FIRST, READ_IRR), 0x20);
    assert_false(intr);
    out(FIRST, EOI);
    assert_true(intr); /* still up */
    assert_int_equal(ack(), 0x25);
    isa_irq_set(&vm, 5, false);
    out(FIRST, EOI);
    assert_false(intr);
    isa_irq_set(&vm, 6, true);
    out(ELCR, 0); /* the latched request stays */
    assert_int_equal(ack(), 0x26);
    out(FIRST, EOI);
    assert_false(intr);
    out(ELCR, 0x40); /* a level again */
    assert_true(intr);
}

static void test_priorities(void **state)
{
    (void)state;
    pulse_high(5);
    assert_int_equal(ack(), 0x25);
    pulse_high(6);
    assert_false(intr);
    pulse_high(5);
    assert_false(intr);
    pulse_high(3);
    assert_true(intr);
    assert_int_equal(ack(), 0x23);
    assert_int_equal(status(FIRST, READ_ISR), 0x28);
    out(FIRST, EOI); /* the highest: 3 */
    assert_int_equal(in(FIRST), 0x20);
    assert_false(intr);
    out(FIRST, EOI);
    assert_int_equal(ack(), 0x25);
    out(FIRST, EOI);
    assert_int_equal(ack(), 0x26);
}

static void test_highest_wins_at_the_acknowledge(void **state)
{
    (void)state;
    pulse_high(6);
    pulse_high(1);
    assert_int_equal(ack(), 0x21);
    assert_int_equal(rises, 1);
    out(FIRST, EOI);
    assert_int_equal(rises, 2);
    assert_int_equal(ack(), 0x26);
}

static void test_masks(void **state)
{
    (void)state;
    out(FIRST + 1, 0x10);
    pulse_high(4);
    assert_false(intr);
    assert_int_equal(status(FIRST, READ_IRR), 0x10);
    out(FIRST + 1, 0);
    assert_true(intr);
    out(FIRST + 1, 0x10);
    assert_false(intr);
    assert_int_equal(in(FIRST + 1), 0x10);
}

static void test_source(void **state)
{
    (void)state;
    assert_int_equal(source, APIC_EXTINT_LIVE);
    out(FIRST + 1, 0xFF);
    assert_int_equal(source, APIC_EXTINT_QUIET);
    out(FIRST + 1, 0xFB);
    assert_int_equal(source, APIC_EXTINT_LIVE); /* by the second */
    out(SECOND + 1, 0xFF);
    assert_int_equal(source, APIC_EXTINT_QUIET);
    out(SECOND + 1, 0xF7);
    assert_int_equal(source, APIC_EXTINT_LIVE);
    pulse_high(11);
    assert_int_equal(ack(), 0x2B);
    out(FIRST, 0x11);
    assert_int_equal(source, APIC_EXTINT_QUIET);
}

static void test_specific_eoi(void **state)
{
    (void)state;
    pulse_high(5);
    ack();
    pulse_high(3);
    ack();
    out(FIRST, 0x65);
    assert_int_equal(status(FIRST, READ_ISR), 0x08);
    out(FIRST, 0x40); /* no operation */
    assert_int_equal(in(FIRST), 0x08);
    out(FIRST, 0x63);
    assert_int_equal(in(FIRST), 0);
    out(FIRST, EOI); /* nothing in service */
    assert_int_equal(in(FIRST), 0);
}

static void test_rotation(void **state)
{
    (void)state;
    out(FIRST, 0xC3); /* 3 has the lowest priority, 4 the highest */
    pulse_high(3);
    pulse_high(4);
    assert_int_equal(ack(), 0x24);
    out(FIRST, 0xA0); /* rotate on non-specific EOI: 4 the lowest */
    assert_int_equal(ack(), 0x23);
    pulse_high(4);
    assert_false(intr);
    pulse_high(5);
    assert_true(intr);
    ack();
    out(FIRST, 0xE3); /* rotate on specific EOI: 3 the lowest */
    out(FIRST, 0x65);
    pulse_high(3);
    assert_int_equal(ack(), 0x24);
}

static void test_automatic_eoi(void **state)
{
    (void)state;
    init_pair(3);
    pulse_high(4);
    assert_int_equal(ack(), 0x24);
    assert_int_equal(status(FIRST, READ_ISR), 0);
    out(FIRST, 0x80); /* rotate in automatic EOI mode */
    pulse_high(4);
    assert_int_equal(ack(), 0x24);
    pulse_high(4);
    pulse_high(5);
    assert_int_equal(ack(), 0x25);
    assert_true(intr);
    assert_int_equal(ack(), 0x24);
    out(FIRST, 0x00);
    pulse_high(3);
    assert_int_equal(ack(), 0x23);
    pulse_high(5); /* 4 has stayed the lowest */
    pulse_high(6);
    assert_int_equal(ack(), 0x25);
}

static void test_cascade(void **state)
{
    (void)state;
    pulse_high(8);
    pulse_high(9);
    assert_int_equal(ack(), 0x28);
    assert_int_equal(status(FIRST, READ_ISR), 0x04);
    assert_int_equal(status(SECOND, READ_ISR), 0x01);
    assert_false(intr);
    pulse_high(1);
    assert_int_equal(ack(), 0x21);
    out(FIRST, EOI);
    out(SECOND, EOI);
    assert_false(intr); /* the first one still serves the second */
    out(FIRST, EOI);
    assert_true(intr);
    assert_int_equal(ack(), 0x29);
    isa_irq_set(&vm, 2, true); /* no line of an ISA device */
    assert_int_equal(pins_up & 4, 0);
}

/* A higher one of the second chip gets through its own one in service. */
static void test_special_fully_nested(void **state)
{
    (void)state;
    init_chip(FIRST, 0x11, 0x20, 4, 0x11);
    init_chip(SECOND, 0x11, 0x28, 2, 0x11);
    pulse_high(12);
    assert_int_equal(ack(), 0x2C);
    pulse_high(13);
    assert_false(intr);
    pulse_high(9);
    assert_true(intr);
    assert_int_equal(ack(), 0x29);
    out(FIRST + 1, 0);
    init_chip(SECOND, 0x11, 0x28, 2, 0x11);
    pulse_high(10);
    assert_int_equal(ack(), 0x2A);
    pulse_high(10); /* of no use on the second chip */
    assert_false(intr);
}

static void test_special_mask(void **state)
{
    (void)state;
    pulse_high(3);
    assert_int_equal(ack(), 0x23);
    pulse_high(6);
    out(FIRST + 1, 0x08);
    assert_false(intr);
    out(FIRST, SMM_ON);
    assert_true(intr);
    assert_int_equal(ack(), 0x26);
    out(FIRST, EOI); /* does not see 3 */
    assert_int_equal(status(FIRST, READ_ISR), 0x08);
    out(FIRST, EOI);
    assert_int_equal(in(FIRST), 0x08);
    out(FIRST, SMM_OFF);
    pulse_high(6);
    assert_false(intr);
    out(FIRST, 0x63);
    assert_true(intr);
}

static void test_poll(void **state)
{
    (void)state;
    out(FIRST, POLL);
    assert_int_equal(in(FIRST), 0);
    pulse_high(4);
    out(FIRST, POLL);
    assert_int_equal(in(FIRST), 0x84);
    assert_false(intr);
    assert_int_equal(status(FIRST, READ_ISR), 0x10);
    out(FIRST, EOI);
    pulse_high(10);
    assert_true(intr);
    out(SECOND, POLL);
    assert_int_equal(in(SECOND + 1), 0x82);
    assert_false(intr);
    assert_int_equal(status(SECOND, READ_ISR), 0x04);
}

static void test_spurious(void **state)
{
    (void)state;
    isa_irq_set(&vm, 4, true);
    isa_irq_set(&vm, 4, false);
    assert_true(intr);
    assert_int_equal(ack(), 0x27);
    assert_int_equal(status(FIRST, READ_ISR), 0);
    assert_false(intr);
    isa_irq_set(&vm, 12, true);
    isa_irq_set(&vm, 12, false);
    assert_int_equal(ack(), 0x2F);
    assert_int_equal(status(FIRST, READ_ISR), 0x04);
    assert_int_equal(status(SECOND, READ_ISR), 0);
    assert_int_equal(ack(), 0x27); /* nobody asked */
}

static void test_initialization(void **state)
{
    (void)state;
    pulse_high(4);
    ack();
    pulse_high(3);
    out(FIRST + 1, 0x55);
    out(FIRST, SMM_ON);
    init_chip(FIRST, 0x11, 0x47, 4, 1);
    assert_int_equal(in(FIRST + 1), 0);
    assert_int_equal(in(FIRST), 0); /* IRR: the edges are forgotten */
    assert_int_equal(status(FIRST, READ_ISR), 0);
    assert_false(intr);
    pulse_high(7);
    assert_int_equal(ack(), 0x47); /* the low bits of ICW2 are the input */
    out(FIRST, 0x12);              /* single, no ICW4 */
    out(FIRST + 1, 0x50);
    out(FIRST + 1, 0xFE); /* so this is the mask */
    assert_int_equal(in(FIRST + 1), 0xFE);
    out(FIRST, 0x18); /* level-triggered, cascaded, no ICW4 */
    isa_irq_set(&vm, 0, true);
    assert_false(intr);
    out(FIRST + 1, 0x60);
    out(FIRST + 1, 4);
    assert_true(intr);
    assert_int_equal(ack(), 0x60);
    assert_int_equal(in(FIRST), 0x99); /* 0, and 3, 4 and 7 from above: levels */
}

static void test_wide_accesses(void **state)
{
    (void)state;
    const struct io_region *first = region(FIRST), *elcr = region(ELCR);

    first->ops->write(first->device, 0, 2, 0x5500 | READ_ISR);
    assert_int_equal(in(FIRST + 1), 0x55);
    assert_int_equal(first->ops->read(first->device, 0, 2), 0x5500);
    elcr->ops->write(elcr->device, 0, 2, 0x0C20);
    assert_int_equal(elcr->ops->read(elcr->device, 0, 2), 0x0C20);
}

static void test_lines_without_pic(void **state)
{
    (void)state;
    isa_irq_set(&vm, 0, true);
    assert_int_equal(pins_up, 1 << 2); /* as on a PC */
    isa_irq_set(&vm, 20, true);
    assert_int_equal(pins_up, 1 << 2 | 1 << 20);
    vm.pic = NULL;
    isa_irq_set(&vm, 2, false);
    isa_irq_set(&vm, 3, true);
    assert_int_equal(pins_up, 1 << 3 | 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_power_up_and_firmware, setup),
        cmocka_unit_test_setup(test_edge, setup),
        cmocka_unit_test_setup(test_level, setup),
        cmocka_unit_test_setup(test_priorities, setup),
        cmocka_unit_test_setup(test_highest_wins_at_the_acknowledge, setup),
        cmocka_unit_test_setup(test_masks, setup),
        cmocka_unit_test_setup(test_source, setup),
        cmocka_unit_test_setup(test_specific_eoi, setup),
        cmocka_unit_test_setup(test_rotation, setup),
        cmocka_unit_test_setup(test_automatic_eoi, setup),
        cmocka_unit_test_setup(test_cascade, setup),
        cmocka_unit_test_setup(test_special_fully_nested, setup),
        cmocka_unit_test_setup(test_special_mask, setup),
        cmocka_unit_test_setup(test_poll, setup),
        cmocka_unit_test_setup(test_spurious, setup),
        cmocka_unit_test_setup(test_initialization, setup),
        cmocka_unit_test_setup(test_wide_accesses, setup),
        cmocka_unit_test_setup(test_lines_without_pic, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
