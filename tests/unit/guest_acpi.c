/* SPDX-License-Identifier: MIT */
/* The guests' ACPI tables, read as an operating system reads them. */
/* links: guest/acpi.c guest/dsdt.c guest/ram.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/acpi.h"
#include "guest/fields.h"

enum { MEMORY = 2 << 20 };

static uint8_t *memory;
static struct ram ram;

static int setup(void **state)
{
    (void)state;
    memory = calloc(1, MEMORY);
    ram_plan(&ram, MEMORY);
    ram.piece_count = 1;
    ram.pieces[0] = (struct ram_piece){ 0, MEMORY, memory };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

static uint8_t sum(const uint8_t *data, unsigned size)
{
    uint8_t total = 0;

    for (unsigned i = 0; i < size; i++) {
        total = (uint8_t)(total + data[i]);
    }
    return total;
}

/* A table whose signature and checksum are right, inside the area that e820 reserves. */
static const uint8_t *table(uint64_t address, const char *signature)
{
    assert_true(address >= 0xE0000 && address + 36 <= 0x100000);
    const uint8_t *at = memory + address;
    assert_memory_equal(at, signature, 4);
    assert_true(address + get32(at + 4) <= 0x100000);
    assert_int_equal(sum(at, get32(at + 4)), 0);
    return at;
}

/* Scan for the RSDP as a BIOS guest does. */
static const uint8_t *find_rsdp(void)
{
    for (unsigned at = 0xE0000; at < 0x100000; at += 16) {
        if (memcmp(memory + at, "RSD PTR ", 8) == 0 && sum(memory + at, 20) == 0) {
            return memory + at;
        }
    }
    return NULL;
}

static const uint8_t *xsdt_entry(unsigned index, const char *signature)
{
    const uint8_t *xsdt = table(get64(find_rsdp() + 24), "XSDT");
    return table(get64(xsdt + 36 + index * 8), signature);
}

static void test_root_tables(void **state)
{
    (void)state;
    uint64_t address = acpi_write_tables(&ram, 1);
    const uint8_t *rsdp = find_rsdp();
    assert_ptr_equal(rsdp, memory + address);
    assert_int_equal(rsdp[15], 2);
    assert_int_equal(get32(rsdp + 20), 36);
    assert_int_equal(sum(rsdp, 36), 0);
    const uint8_t *rsdt = table(get32(rsdp + 16), "RSDT");
    const uint8_t *xsdt = table(get64(rsdp + 24), "XSDT");
    assert_int_equal(get32(rsdt + 4), 36 + 2 * 4);
    assert_int_equal(get32(xsdt + 4), 36 + 2 * 8);
    assert_true(get32(rsdt + 36) == get64(xsdt + 36));
    assert_true(get32(rsdt + 40) == get64(xsdt + 44));
}

static void test_fadt(void **state)
{
    (void)state;
    acpi_write_tables(&ram, 1);
    const uint8_t *fadt = xsdt_entry(0, "FACP");
    assert_int_equal(get32(fadt + 4), 276);
    assert_int_equal(fadt[8], 6);
    uint32_t flags = get32(fadt + 112);
    assert_true((flags & 1 << 20) != 0);             /* hardware-reduced */
    assert_true((flags & 1 << 10) != 0);             /* reset register */
    assert_int_equal(get16(fadt + 109) & 1 << 1, 0); /* no 8042 */
    assert_int_equal(get16(fadt + 109) & 1 << 5, 0); /* there is a CMOS clock */
    assert_int_equal(fadt[108], 0x32);
    assert_memory_equal(fadt + 116, "\1\x08\0\1\xF9\x0C\0\0\0\0\0\0", 12);
    assert_int_equal(fadt[128], 6);
    assert_memory_equal(fadt + 244, "\1\x08\0\1\0\6\0\0\0\0\0\0", 12);
    assert_memory_equal(fadt + 256, "\1\x08\0\1\1\6\0\0\0\0\0\0", 12);
    assert_true(get32(fadt + 40) == get64(fadt + 140));
    const uint8_t *dsdt = table(get64(fadt + 140), "DSDT");
    assert_int_equal(dsdt[8], 2);
}

static void test_madt(void **state)
{
    (void)state;
    acpi_write_tables(&ram, 3);
    const uint8_t *madt = xsdt_entry(1, "APIC");
    assert_true(get32(madt + 36) == 0xFEE00000);
    assert_int_equal(get32(madt + 40), 0); /* no 8259 */
    const uint8_t *entry = madt + 44;
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t expected[] = { 0, 8, (uint8_t)i, (uint8_t)i, 1, 0, 0, 0 };
        assert_memory_equal(entry, expected, 8);
        entry += 8;
    }
    assert_memory_equal(entry, "\1\x0C\0\0\0\0\xC0\xFE\0\0\0\0", 12);
    assert_ptr_equal(entry + 12, madt + get32(madt + 4));
}

static void test_most_vcpus_fit(void **state)
{
    (void)state;
    acpi_write_tables(&ram, 255);
    assert_int_equal(get32(xsdt_entry(1, "APIC") + 4), 44 + 255 * 8 + 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_root_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fadt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_madt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_most_vcpus_fit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
