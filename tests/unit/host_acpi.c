/* SPDX-License-Identifier: MIT */
/* The host's ACPI tables: built here below 4 GiB, read, damaged, and read again. */
/* links: */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "arch/acpi.c" /* whole, to start each test with empty state */

enum { ARENA_SIZE = 1 << 16 };

static uint8_t *arena;
static size_t used;
static char warning[256];
static jmp_buf stopped;
static struct boot_info info;

void log_info(const char *format, ...)
{
    (void)format;
}

void log_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(warning, sizeof(warning), format, args);
    va_end(args);
}

void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(warning, sizeof(warning), format, args);
    va_end(args);
    longjmp(stopped, 1);
}

bool paging_is_mapped(uint64_t start, uint64_t size)
{
    return start >= (uintptr_t)arena && start + size <= (uintptr_t)arena + ARENA_SIZE;
}

static int setup(void **state)
{
    (void)state;
    memset(&result, 0, sizeof(result));
    memset(&info, 0, sizeof(info));
    memset(arena, 0, ARENA_SIZE);
    used = 0;
    warning[0] = '\0';
    return 0;
}

static void put(uint8_t *at, uint64_t value, unsigned size)
{
    memcpy(at, &value, size);
}

static void fix_checksum(uint8_t *table, size_t size, size_t field)
{
    uint8_t sum = 0;
    table[field] = 0;
    for (size_t i = 0; i < size; i++) {
        sum += table[i];
    }
    table[field] = (uint8_t)-sum;
}

/* A table of that size with a good header; call seal when its contents are there. */
static uint8_t *table(const char *signature, uint32_t size)
{
    uint8_t *new = arena + used;
    used += (size + 15) & ~15U;
    memcpy(new, signature, 4);
    put(new + 4, size, 4);
    return new;
}

static void seal(uint8_t *table)
{
    fix_checksum(table, read32(table + 4), 9);
}

static uint8_t *madt;
static uint32_t madt_used;

static void start_madt(uint32_t size)
{
    madt = table("APIC", size);
    put(madt + 36, 0xFEE00000, 4);
    put(madt + 40, 1, 4);
    madt_used = 44;
}

static void add_entry(const uint8_t *entry, size_t size)
{
    memcpy(madt + madt_used, entry, size);
    madt_used += (uint32_t)size;
}

#define ENTRY(...) add_entry((const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

static void finish_madt(void)
{
    put(madt + 4, madt_used, 4);
    seal(madt);
}

static void root(const char *signature, unsigned entry_size, uint8_t *const *tables, unsigned count)
{
    uint8_t *root = table(signature, 36 + entry_size * count);
    for (unsigned i = 0; i < count; i++) {
        put(root + 36 + i * entry_size, (uintptr_t)tables[i], entry_size);
    }
    seal(root);
    memcpy(info.rsdp, "RSD PTR ", 8);
    info.rsdp[15] = entry_size == 8 ? 2 : 0;
    put(info.rsdp + (entry_size == 8 ? 24 : 16), (uintptr_t)root, entry_size);
    info.rsdp_size = entry_size == 8 ? 36 : 20;
    fix_checksum(info.rsdp, 20, 8);
    if (entry_size == 8) {
        fix_checksum(info.rsdp, 36, 32);
    }
}

static int init(void)
{
    int how = setjmp(stopped);
    if (how == 0) {
        acpi_init(&info);
    }
    return how;
}

static void one_cpu(void)
{
    start_madt(100);
    ENTRY(0, 8, 0, 7, 1, 0, 0, 0);
    finish_madt();
}

static void reads_the_madt(void **state)
{
    (void)state;
    start_madt(300);
    ENTRY(0, 8, 0, 2, 1, 0, 0, 0);                                /* CPU with id 2 */
    ENTRY(0, 8, 1, 3, 0, 0, 0, 0);                                /* not enabled */
    ENTRY(9, 16, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);       /* id 2 again, as x2APIC */
    ENTRY(9, 16, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0); /* id 1234H */
    ENTRY(1, 12, 9, 0, 0, 0, 0xC0, 0xFE, 0x18, 0, 0, 0);          /* I/O APIC 9 from GSI 24 */
    ENTRY(2, 10, 0, 0, 2, 0, 0, 0, 0, 0);                         /* IRQ 0 -> 2, as ISA */
    ENTRY(2, 10, 0, 9, 9, 0, 0, 0, 0xF, 0);                       /* IRQ 9 level, active low */
    ENTRY(2, 10, 0, 5, 20, 0, 0, 0, 5, 0);                        /* edge, active high, said so */
    ENTRY(4, 6, 0xFF, 0, 0, 1);                                   /* NMI: not used */
    ENTRY(5, 12, 0, 0, 0, 0, 0xE0, 0xFE, 1, 0, 0, 0);             /* local APIC above 4 GiB */
    ENTRY(0, 7, 2, 9, 1, 0, 0);                                   /* too short for its type */
    finish_madt();
    root("XSDT", 8, &madt, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->cpu_count, 2);
    assert_int_equal(acpi()->apic_ids[0], 2);
    assert_int_equal(acpi()->apic_ids[1], 0x1234);
    assert_int_equal(acpi()->lapic_address, 0x1FEE00000);
    assert_true(acpi()->has_8259);
    assert_int_equal(acpi()->ioapic_count, 1);
    assert_int_equal(acpi()->ioapics[0].id, 9);
    assert_int_equal(acpi()->ioapics[0].address, 0xFEC00000);
    assert_int_equal(acpi()->ioapics[0].gsi_base, 24);
    assert_int_equal(acpi_isa_interrupt(0).gsi, 2);
    assert_true(acpi_isa_interrupt(9).level && acpi_isa_interrupt(9).active_low);
    assert_false(acpi_isa_interrupt(5).level || acpi_isa_interrupt(5).active_low);
    assert_int_equal(acpi_isa_interrupt(5).gsi, 20);
    assert_int_equal(acpi_isa_interrupt(4).gsi, 4);
    assert_string_equal(warning, "");
}

static void goes_by_the_rsdt_when_there_is_no_xsdt(void **state)
{
    (void)state;
    one_cpu();
    root("RSDT", 4, &madt, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->apic_ids[0], 7);
}

static void refuses_bad_checksums(void **state)
{
    (void)state;
    one_cpu();
    root("XSDT", 8, &madt, 1);
    madt[47] ^= 1;
    assert_int_equal(init(), 1);
    assert_string_equal(warning, "ACPI: no MADT with an enabled CPU");
    setup(NULL);
    one_cpu();
    root("XSDT", 8, &madt, 1);
    info.rsdp[30] ^= 1; /* the XSDT's address is not to be trusted, and there is no RSDT */
    assert_int_equal(init(), 1);
}

static void refuses_bad_lengths(void **state)
{
    (void)state;
    static const uint32_t lengths[] = { 0, 35, 0x7FFFFFFF, 0xFFFFFFFF, ARENA_SIZE };
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        setup(NULL);
        one_cpu();
        root("XSDT", 8, &madt, 1);
        put(madt + 4, lengths[i], 4);
        assert_int_equal(init(), 1);
    }
}

static void survives_a_table_that_is_nowhere(void **state)
{
    (void)state;
    one_cpu();
    uint8_t *tables[] = { (uint8_t *)0x123456789000, madt, NULL };
    root("XSDT", 8, tables, 3);
    assert_int_equal(init(), 0);
    assert_string_equal(warning, "ACPI: no memory at 0x123456789000, where a table should be");
    assert_int_equal(acpi()->cpu_count, 1);
}

static void stops_at_a_malformed_madt_entry(void **state)
{
    (void)state;
    start_madt(100);
    ENTRY(0, 8, 0, 1, 1, 0, 0, 0);
    ENTRY(0, 0, 0, 2, 1, 0, 0, 0); /* length 0 would never end */
    finish_madt();
    root("XSDT", 8, &madt, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->cpu_count, 1);
    assert_string_equal(warning,
                        "ACPI: MADT entry at offset 0x34 has length 0; the rest is not used");
    setup(NULL);
    start_madt(100);
    ENTRY(0, 8, 0, 1, 1, 0, 0, 0);
    ENTRY(0, 9, 0, 2, 1, 0, 0, 0); /* reaches beyond the table */
    finish_madt();
    root("XSDT", 8, &madt, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->cpu_count, 1);
}

static void more_cpus_than_we_have_room_for(void **state)
{
    (void)state;
    start_madt(44 + 8 * (MAX_CPUS + 2));
    for (unsigned i = 0; i < MAX_CPUS + 2; i++) {
        ENTRY(0, 8, 0, (uint8_t)i, 1, 0, 0, 0);
    }
    finish_madt();
    root("XSDT", 8, &madt, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->cpu_count, MAX_CPUS);
    assert_string_equal(warning, "ACPI: CPU with APIC id 65 not used: more than 64 CPUs");
}

/* A FADT of that size with the old port fields, a DSDT with that AML, and a MADT. */
static uint8_t *fadt_with(uint32_t size, const uint8_t *aml, uint32_t aml_size)
{
    uint8_t *dsdt = table("DSDT", 36 + aml_size);
    memcpy(dsdt + 36, aml, aml_size);
    seal(dsdt);
    uint8_t *fadt = table("FACP", size);
    put(fadt + 40, (uintptr_t)dsdt, 4);
    put(fadt + 48, 0xB2, 4);
    fadt[52] = 0xF1;
    put(fadt + 64, 0x604, 4);
    put(fadt + 76, 0x608, 4);
    seal(fadt);
    one_cpu();
    uint8_t *tables[] = { fadt, madt };
    root("XSDT", 8, tables, 2);
    return fadt;
}

/* Scope junk, then Name (_S5_, Package (4) { 5, 7, Zero, Zero }). */
static const uint8_t s5[] = { 0x10, 0x20, 0x5C, 0x08, '_',  'S',  '5',  '_', 0x12,
                              0x08, 0x04, 0x0A, 0x05, 0x0A, 0x07, 0x00, 0x00 };

static void reads_an_old_fadt(void **state)
{
    (void)state;
    fadt_with(116, s5, sizeof(s5));
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->pm_timer.address, 0x608);
    assert_int_equal(acpi()->pm_timer.space, ACPI_SPACE_IO);
    assert_int_equal(acpi()->pm1a_control.address, 0x604);
    assert_int_equal(acpi()->pm1b_control.address, 0);
    assert_int_equal(acpi()->smi_command, 0xB2);
    assert_int_equal(acpi()->acpi_enable, 0xF1);
    assert_int_equal(acpi()->reset.address, 0);
    assert_true(acpi()->has_s5);
    assert_int_equal(acpi()->s5_type_a, 5);
    assert_int_equal(acpi()->s5_type_b, 7);
}

static void new_fields_win(void **state)
{
    (void)state;
    uint8_t *fadt = fadt_with(276, s5, sizeof(s5));
    put(fadt + 112, 1 << 10 | 1 << 8, 4);
    fadt[116] = 1; /* reset register: port CF9H */
    fadt[117] = 8;
    put(fadt + 120, 0xCF9, 8);
    fadt[128] = 6;
    fadt[172] = 0; /* PM1a control: memory */
    fadt[173] = 16;
    put(fadt + 176, 0xFED40004, 8);
    seal(fadt);
    assert_int_equal(init(), 0);
    assert_int_equal(acpi()->pm1a_control.address, 0xFED40004);
    assert_int_equal(acpi()->pm1a_control.space, ACPI_SPACE_MEMORY);
    assert_int_equal(acpi()->pm_timer.address, 0x608);
    assert_true(acpi()->pm_timer_32bit);
    assert_int_equal(acpi()->reset.address, 0xCF9);
    assert_int_equal(acpi()->reset_value, 6);
}

static void s5_forms(void **state)
{
    (void)state;
    static const struct {
        uint8_t aml[24];
        uint8_t size;
        bool found;
        uint8_t a;
        uint8_t b;
    } forms[] = {
        /* \_S5 at the root prefix, constants One and Zero, two-byte package length */
        { { 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x46, 0x00, 0x02, 0x01, 0x00 }, 12, true, 1, 0 },
        /* word and dword */
        { { 0x08, '_', 'S', '5', '_', 0x12, 9, 2, 0x0B, 3, 0, 0x0C, 4, 0, 0, 0 }, 16, true, 3, 4 },
        /* one element only */
        { { 0x08, '_', 'S', '5', '_', 0x12, 4, 1, 0x0A, 6 }, 10, true, 6, 0 },
        /* a mention that is not a definition, and a definition that is not a package */
        { { 0x00, '_', 'S', '5', '_', 0x12, 4, 1, 0x0A, 6 }, 10, false, 0, 0 },
        { { 0x08, '_', 'S', '5', '_', 0x0A, 4, 1, 0x0A, 6 }, 10, false, 0, 0 },
        /* empty, and elements that are no integers */
        { { 0x08, '_', 'S', '5', '_', 0x12, 2, 0, 0, 0 }, 10, false, 0, 0 },
        { { 0x08, '_', 'S', '5', '_', 0x12, 4, 1, 0x0D, 'a', 0 }, 11, false, 0, 0 },
        /* cut by the end of the table */
        { { 0x08, '_', 'S', '5', '_', 0x12, 6, 2, 0x0A }, 9, false, 0, 0 },
        { { 0x08, '_', 'S', '5', '_', 0x12, 0xC6, 0 }, 8, false, 0, 0 },
        { { 0x08, '_', 'S', '5', '_' }, 5, false, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        setup(NULL);
        fadt_with(116, forms[i].aml, forms[i].size);
        assert_int_equal(init(), 0);
        assert_int_equal(acpi()->has_s5, forms[i].found);
        assert_int_equal(acpi()->s5_type_a, forms[i].a);
        assert_int_equal(acpi()->s5_type_b, forms[i].b);
    }
}

static void s5_may_be_in_an_ssdt(void **state)
{
    (void)state;
    uint8_t *ssdt = table("SSDT", 36 + sizeof(s5));
    memcpy(ssdt + 36, s5, sizeof(s5));
    seal(ssdt);
    one_cpu();
    uint8_t *tables[] = { madt, ssdt };
    root("XSDT", 8, tables, 2);
    assert_int_equal(init(), 0);
    assert_true(acpi()->has_s5);
    assert_int_equal(acpi()->s5_type_a, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_the_madt, setup),
        cmocka_unit_test_setup(goes_by_the_rsdt_when_there_is_no_xsdt, setup),
        cmocka_unit_test_setup(refuses_bad_checksums, setup),
        cmocka_unit_test_setup(refuses_bad_lengths, setup),
        cmocka_unit_test_setup(survives_a_table_that_is_nowhere, setup),
        cmocka_unit_test_setup(stops_at_a_malformed_madt_entry, setup),
        cmocka_unit_test_setup(more_cpus_than_we_have_room_for, setup),
        cmocka_unit_test_setup(reads_an_old_fadt, setup),
        cmocka_unit_test_setup(new_fields_win, setup),
        cmocka_unit_test_setup(s5_forms, setup),
        cmocka_unit_test_setup(s5_may_be_in_an_ssdt, setup),
    };
    arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
                 -1, 0);
    if (arena == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
