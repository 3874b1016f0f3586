/* SPDX-License-Identifier: MIT */
/* Power, PCI and test devices of a VM, through the ports that they register. */
/* links: guest/power.c guest/pci.c guest/testdev.c guest/firmware.c guest/ram.c */
/* links: guest/isa_irq.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest/firmware.h"
#include "guest/pci.h"
#include "guest/pic.h"
#include "guest/testdev.h"
#include "lib/bits.h"
#include "lib/error.h"

static struct vm vm;
static struct power power;
static struct pci pci;
static struct testdev testdev;
static unsigned resets, stops, pin_calls;
static enum vm_end end;
static uint32_t end_code;
static unsigned last_pin;
static bool last_level;

static int add(struct io_region *regions, unsigned *count, const struct io_region *region)
{
    for (unsigned i = 0; i < *count; i++) {
        assert_true(region->base >= regions[i].base + regions[i].size ||
                    regions[i].base >= region->base + region->size);
    }
    regions[(*count)++] = *region;
    return RIVET_OK;
}

int vm_add_io(struct vm *to, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    const struct io_region region = { port, count, ops, device };
    return add(to->io, &to->io_count, &region);
}

int vm_add_mmio(struct vm *to, uint64_t gpa, uint64_t size, const struct io_ops *ops, void *device)
{
    const struct io_region region = { gpa, size, ops, device };
    return add(to->mmio, &to->mmio_count, &region);
}

void vm_stop(struct vm *which, enum vm_end how, uint32_t code)
{
    assert_ptr_equal(which, &vm);
    end = how;
    end_code = code;
    stops++;
}

void vm_request_reset(struct vm *which)
{
    assert_ptr_equal(which, &vm);
    resets++;
}

void ioapic_set_line(struct apic_vm *apic, unsigned pin, bool level)
{
    assert_ptr_equal(apic, &vm.apic);
    last_pin = pin;
    last_level = level;
    pin_calls++;
}

void pic_set_line(struct pic *pic, unsigned irq, bool level)
{
    (void)pic;
    fail_msg("line %u to %d of a VM without 8259s", irq, level);
}

static const struct io_region *find(const struct io_region *regions, unsigned count, uint64_t at)
{
    for (unsigned i = 0; i < count; i++) {
        if (at >= regions[i].base && at < regions[i].base + regions[i].size) {
            return &regions[i];
        }
    }
    return NULL;
}

static uint64_t in(uint16_t port, unsigned size)
{
    const struct io_region *region = find(vm.io, vm.io_count, port);
    uint64_t mask = size == 8 ? UINT64_MAX : BIT(8 * size) - 1;

    return region == NULL ? mask
                          : region->ops->read(region->device, port - region->base, size) & mask;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
    const struct io_region *region = find(vm.io, vm.io_count, port);

    if (region != NULL) {
        region->ops->write(region->device, port - region->base, size, value);
    }
}

static int setup(void **state)
{
    struct ram ram;

    (void)state;
    memset(&vm, 0, sizeof(vm));
    vm.vcpu_count = 3;
    resets = stops = pin_calls = 0;
    ram_plan(&ram, GIB(4));
    assert_int_equal(power_init(&power, &vm), RIVET_OK);
    assert_int_equal(pci_init(&pci, &vm, &power), RIVET_OK);
    assert_int_equal(testdev_init(&testdev, &vm, &ram), RIVET_OK);
    return 0;
}

static void test_sleep_control(void **state)
{
    (void)state;
    out(0x600, 1, 5 << 2);
    out(0x600, 1, 1 << 5 | 3 << 2);
    out(0x601, 1, 0x34);
    assert_int_equal(stops, 0);
    assert_int_equal(in(0x601, 1), 0);
    out(0x600, 1, 1 << 5 | 5 << 2);
    assert_int_equal(stops, 1);
    assert_int_equal(end, VM_POWERED_OFF);
}

static void test_resets(void **state)
{
    (void)state;
    out(0xCF9, 1, 0x02);
    assert_int_equal(resets, 0);
    assert_int_equal(in(0xCF9, 1), 0x02);
    out(0xCF9, 1, 0x06);
    assert_int_equal(resets, 1);
    out(0x64, 1, 0xAA);
    out(0x60, 1, 0xFE);
    assert_int_equal(resets, 1);
    out(0x64, 1, 0xFE);
    assert_int_equal(resets, 2);
    out(0x92, 1, 0x02);
    assert_int_equal(resets, 2);
    assert_int_equal(in(0x92, 1), 0x02);
    out(0x92, 1, 0x03);
    assert_int_equal(resets, 3);
    power_reset_state(&power);
    assert_int_equal(in(0xCF9, 1), 0);
}

static void test_no_keyboard_controller(void **state)
{
    (void)state;
    assert_int_equal(in(0x64, 1), 0);
    assert_int_equal(in(0x60, 1), 0);
}

/* Linux's probe of mechanism 1, and its check that a bus is behind it. */
static void test_pci_probe(void **state)
{
    (void)state;
    out(0xCFB, 1, 1);
    out(0xCF8, 4, 0x80000000);
    assert_int_equal(in(0xCF8, 4), 0x80000000);
    assert_int_equal(in(0xCFC, 4), 0x0D578086);
    out(0xCF8, 4, 0x80000008);
    assert_int_equal(in(0xCFE, 2), 0x0600); /* class: host bridge */
    out(0xCF8, 4, 0x8000000C);
    assert_int_equal(in(0xCFE, 1), 0); /* one function, header type 0 */
    for (uint32_t function = 1; function < 256 * 8; function++) {
        out(0xCF8, 4, 0x80000000 | function << 8);
        assert_int_equal(in(0xCFC, 4), 0xFFFFFFFF);
    }
    out(0xCF8, 4, 0);
    assert_int_equal(in(0xCFC, 2), 0xFFFF);
    assert_int_equal(resets, 0);
}

static void test_pci_address_bits(void **state)
{
    (void)state;
    out(0xCF8, 4, 0xFFFFFFFF);
    assert_int_equal(in(0xCF8, 4), 0x80FFFFFC);
    assert_int_equal(in(0xCF8, 1), 0xFF); /* only dword accesses reach the register */
    pci_reset(&pci);
    assert_int_equal(in(0xCF8, 4), 0);
}

static void test_debug_exit(void **state)
{
    (void)state;
    out(0xF4, 4, 7);
    assert_int_equal(stops, 1);
    assert_int_equal(end, VM_DEBUG_EXIT);
    assert_int_equal(end_code, 7);
}

static void test_shutdown_port(void **state)
{
    (void)state;
    for (const char *c = "Shutd-Shutdow"; *c != '\0'; c++) {
        out(0x8900, 1, (uint8_t)*c);
    }
    assert_int_equal(stops, 0);
    out(0x8900, 1, 'n');
    assert_int_equal(stops, 1);
    assert_int_equal(end, VM_POWERED_OFF);
}

static void test_echo_ports(void **state)
{
    (void)state;
    out(0xE0, 4, 0x12345678);
    assert_int_equal(in(0xE0, 4), 0x12345678);
    assert_int_equal(in(0xE1, 1), 0x56);
    out(0xE2, 2, 0xABCD);
    assert_int_equal(in(0xE0, 4), 0xABCD5678);
    out(0xE8, 1, 0x5A);
    assert_int_equal(in(0xEA, 1), 0x5A);
    out(0xE4, 4, 1);
    testdev_reset(&testdev);
    assert_int_equal(in(0xE0, 4), 0);
}

static void test_irq_lines(void **state)
{
    (void)state;
    out(0x2000 + 14, 1, 1);
    assert_int_equal(last_pin, 14);
    assert_true(last_level);
    out(0x2000 + 23, 1, 0);
    assert_int_equal(last_pin, 23);
    assert_false(last_level);
    out(0x2000 + 24, 1, 1); /* nothing there */
    assert_int_equal(pin_calls, 2);
}

static uint64_t fw_cfg(uint16_t item, unsigned bytes)
{
    uint64_t value = 0;

    out(0x510, 2, item);
    for (unsigned i = 0; i < bytes; i++) {
        value |= in(0x511, 1) << (8 * i);
    }
    return value;
}

static void test_fw_cfg(void **state)
{
    (void)state;
    assert_true(fw_cfg(0, 4) == 0x554D4551); /* "QEMU" */
    assert_true(fw_cfg(1, 4) == 1);
    assert_true(fw_cfg(3, 8) == GIB(4));
    assert_true(fw_cfg(5, 2) == 3);
    assert_true(fw_cfg(0xF, 2) == 3);
    assert_true(fw_cfg(0x2B, 8) == 0);
    assert_int_equal(in(0x511, 1), 0); /* behind the end */
}

static void test_memory_window(void **state)
{
    (void)state;
    const struct io_region *window = find(vm.mmio, vm.mmio_count, 0xFF000000);
    assert_non_null(window);
    assert_true(window->base == 0xFF000000 && window->size == 0x10000);
    window->ops->write(window->device, 0xFFF8, 8, 0x1122334455667788);
    assert_true(window->ops->read(window->device, 0xFFFC, 4) == 0x11223344);
    assert_true(window->ops->read(window->device, 0, 8) == 0);
}

/* Byte for byte: mov dx, 0CF9H; mov al, 6; out dx, al; hlt; jmp to the hlt. */
/* IBM's BIOS has the timer's handler at F000:FEA5 and an IRET at F000:FF53. */
static void test_vectors_of_real_mode(void **state)
{
    static uint8_t memory[1 << 20];
    struct ram ram = { .piece_count = 1, .pieces = { { 0, sizeof(memory), memory } } };

    (void)state;
    firmware_write_vectors(&ram);
    for (unsigned vector = 0; vector < 256; vector++) {
        uint32_t expected = vector == 8 ? 0xF000FEA5 : 0xF000FF53;
        uint32_t entry;
        memcpy(&entry, memory + (size_t)vector * 4, sizeof(entry));
        assert_int_equal(entry, expected);
    }
    assert_int_equal(memory[0xFFF53], 0xCF);
    assert_int_equal(memory[0xFFEA5], 0x1E);
}

static void test_reset_vector(void **state)
{
    static uint8_t memory[1 << 20];
    struct ram ram = { .piece_count = 1, .pieces = { { 0, sizeof(memory), memory } } };

    (void)state;
    firmware_write(&ram);
    assert_memory_equal(memory + 0xFFFF0, "\xBA\xF9\x0C\xB0\x06\xEE\xF4\xEB\xFD", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sleep_control, setup),
        cmocka_unit_test_setup(test_resets, setup),
        cmocka_unit_test_setup(test_no_keyboard_controller, setup),
        cmocka_unit_test_setup(test_pci_probe, setup),
        cmocka_unit_test_setup(test_pci_address_bits, setup),
        cmocka_unit_test_setup(test_debug_exit, setup),
        cmocka_unit_test_setup(test_shutdown_port, setup),
        cmocka_unit_test_setup(test_echo_ports, setup),
        cmocka_unit_test_setup(test_irq_lines, setup),
        cmocka_unit_test_setup(test_fw_cfg, setup),
        cmocka_unit_test_setup(test_memory_window, setup),
        cmocka_unit_test(test_reset_vector),
        cmocka_unit_test(test_vectors_of_real_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
