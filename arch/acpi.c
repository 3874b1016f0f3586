/* SPDX-License-Identifier: MIT */
/* Finds and checks the host's ACPI tables, reads MADT, FADT and _S5 (ACPI 6.5, chapter 5). */
#include "arch/acpi.h"

#include <stddef.h>

#include "arch/paging.h"
#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

/* RSDP (ACPI 6.5, 5.2.5.3). */
enum {
    RSDP_V1_SIZE = 20,
    RSDP_V2_SIZE = 36,
    RSDP_REVISION = 15,
    RSDP_RSDT = 16,
    RSDP_XSDT = 24,
    RSDP_ALIGN = 16,
};

/* Table header (5.2.6). */
enum { HEADER_LENGTH = 4, HEADER_SIZE = 36, TABLE_MAX = 16 << 20 };

/* MADT (5.2.12). */
enum {
    MADT_LAPIC_ADDRESS = 36,
    MADT_FLAGS = 40,
    MADT_ENTRIES = 44,
    MADT_FLAGS_PCAT_COMPAT = 1,
    MADT_LAPIC = 0,
    MADT_LAPIC_SIZE = 8,
    MADT_IOAPIC = 1,
    MADT_IOAPIC_SIZE = 12,
    MADT_OVERRIDE = 2,
    MADT_OVERRIDE_SIZE = 10,
    MADT_LAPIC_ADDRESS_OVERRIDE = 5,
    MADT_LAPIC_ADDRESS_OVERRIDE_SIZE = 12,
    MADT_X2APIC = 9,
    MADT_X2APIC_SIZE = 16,
    MADT_CPU_ENABLED = 1,
    MADT_POLARITY = 3,
    MADT_POLARITY_LOW = 3,
    MADT_TRIGGER = 3 << 2,
    MADT_TRIGGER_LEVEL = 3 << 2,
};

/* FADT (5.2.9). The X_ fields are generic address structures of 12 bytes. */
enum {
    FADT_DSDT = 40,
    FADT_SMI_CMD = 48,
    FADT_ACPI_ENABLE = 52,
    FADT_PM1A_CNT_BLK = 64,
    FADT_PM1B_CNT_BLK = 68,
    FADT_PM_TMR_BLK = 76,
    FADT_FLAGS = 112,
    FADT_FLAGS_RESET_REG_SUP = 1 << 10,
    FADT_FLAGS_TMR_VAL_EXT = 1 << 8,
    FADT_V1_SIZE = 116,
    FADT_RESET_REG = 116,
    FADT_RESET_VALUE = 128,
    FADT_X_DSDT = 140,
    FADT_X_PM1A_CNT_BLK = 172,
    FADT_X_PM1B_CNT_BLK = 184,
    FADT_X_PM_TMR_BLK = 208,
    GAS_SIZE = 12,
};

static struct acpi_info result;

const struct acpi_info *acpi(void)
{
    return &result;
}

static uint16_t read16(const uint8_t *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

static uint32_t read32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

static uint64_t read64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

static bool sums_to_zero(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += bytes[i];
    }
    return sum == 0;
}

static uint32_t length_of(const uint8_t *table)
{
    return read32(table + HEADER_LENGTH);
}

static bool has_signature(const uint8_t *table, const char *signature)
{
    return memcmp(table, signature, 4) == 0;
}

/* The table at that address, or NULL with a warning when it cannot be trusted. */
static const uint8_t *table_at(uint64_t address)
{
    const uint8_t *table = (const uint8_t *)(uintptr_t)address;
    if (address == 0 || !paging_is_mapped(address, HEADER_SIZE)) {
        log_warn("ACPI: no memory at 0x%lx, where a table should be", address);
        return NULL;
    }
    uint32_t length = length_of(table);
    if (length < HEADER_SIZE || length > TABLE_MAX || !paging_is_mapped(address, length)) {
        log_warn("ACPI: table %.4s at 0x%lx not used: its length is 0x%x", (const char *)table,
                 address, length);
        return NULL;
    }
    if (!sums_to_zero(table, length)) {
        log_warn("ACPI: table %.4s at 0x%lx not used: wrong checksum", (const char *)table,
                 address);
        return NULL;
    }
    return table;
}

/* --- MADT ------------------------------------------------------------------------------------ */

static void add_cpu(uint32_t apic_id, uint32_t flags)
{
    if (!(flags & MADT_CPU_ENABLED)) {
        return;
    }
    for (unsigned i = 0; i < result.cpu_count; i++) {
        if (result.apic_ids[i] == apic_id) {
            return; /* the same CPU as local APIC and as x2APIC entry */
        }
    }
    if (result.cpu_count == MAX_CPUS) {
        log_warn("ACPI: CPU with APIC id %u not used: more than %u CPUs", apic_id, MAX_CPUS);
        return;
    }
    result.apic_ids[result.cpu_count++] = apic_id;
}

static void add_ioapic(const uint8_t *entry)
{
    if (result.ioapic_count == ACPI_MAX_IOAPICS) {
        log_warn("ACPI: I/O APIC %u not used: more than %u", entry[2], ACPI_MAX_IOAPICS);
        return;
    }
    result.ioapics[result.ioapic_count++] = (struct acpi_ioapic){
        .id = entry[2],
        .address = read32(entry + 4),
        .gsi_base = read32(entry + 8),
    };
}

static void add_override(const uint8_t *entry)
{
    uint16_t flags = read16(entry + 8);
    if (result.override_count == ACPI_MAX_OVERRIDES) {
        log_warn("ACPI: override of IRQ %u not used: more than %u", entry[3], ACPI_MAX_OVERRIDES);
        return;
    }
    result.overrides[result.override_count++] = (struct acpi_override){
        .irq = entry[3],
        .gsi = read32(entry + 4),
        .active_low = (flags & MADT_POLARITY) == MADT_POLARITY_LOW,
        .level = (flags & MADT_TRIGGER) == MADT_TRIGGER_LEVEL,
    };
}

static void read_madt_entry(const uint8_t *entry, uint8_t size)
{
    if (entry[0] == MADT_LAPIC && size >= MADT_LAPIC_SIZE) {
        add_cpu(entry[3], read32(entry + 4));
    } else if (entry[0] == MADT_X2APIC && size >= MADT_X2APIC_SIZE) {
        add_cpu(read32(entry + 4), read32(entry + 8));
    } else if (entry[0] == MADT_IOAPIC && size >= MADT_IOAPIC_SIZE) {
        add_ioapic(entry);
    } else if (entry[0] == MADT_OVERRIDE && size >= MADT_OVERRIDE_SIZE) {
        add_override(entry);
    } else if (entry[0] == MADT_LAPIC_ADDRESS_OVERRIDE &&
               size >= MADT_LAPIC_ADDRESS_OVERRIDE_SIZE) {
        result.lapic_address = read64(entry + 4);
    }
}

static void read_madt(const uint8_t *madt)
{
    uint32_t length = length_of(madt);
    if (length < MADT_ENTRIES) {
        log_warn("ACPI: MADT not used: only 0x%x bytes", length);
        return;
    }
    result.lapic_address = read32(madt + MADT_LAPIC_ADDRESS);
    result.has_8259 = read32(madt + MADT_FLAGS) & MADT_FLAGS_PCAT_COMPAT;
    for (uint32_t at = MADT_ENTRIES; at + 2 <= length;) {
        uint8_t size = madt[at + 1];
        if (size < 2 || at + size > length) {
            log_warn("ACPI: MADT entry at offset 0x%x has length %u; the rest is not used", at,
                     size);
            return;
        }
        read_madt_entry(madt + at, size);
        at += size;
    }
}

/* --- _S5 ------------------------------------------------------------------------------------- */

enum {
    AML_ZERO = 0x00,
    AML_ONE = 0x01,
    AML_NAME = 0x08,
    AML_BYTE_PREFIX = 0x0A,
    AML_WORD_PREFIX = 0x0B,
    AML_DWORD_PREFIX = 0x0C,
    AML_PACKAGE = 0x12,
    AML_ROOT = '\\',
    AML_ONES = 0xFF,
};

/* A small integer at *at (AML, ACPI 6.5 20.2.3), *at moving behind it; false when it is none. */
static bool read_aml_integer(const uint8_t **at, const uint8_t *end, uint8_t *value)
{
    const uint8_t *p = *at;
    if (p >= end) {
        return false;
    }
    size_t size;
    switch (*p) {
    case AML_ZERO:
    case AML_ONE:
    case AML_ONES:
        *value = *p;
        *at = p + 1;
        return true;
    case AML_BYTE_PREFIX:
        size = 1;
        break;
    case AML_WORD_PREFIX:
        size = 2;
        break;
    case AML_DWORD_PREFIX:
        size = 4;
        break;
    default:
        return false;
    }
    if ((size_t)(end - p) < 1 + size) {
        return false;
    }
    *value = p[1];
    *at = p + 1 + size;
    return true;
}

/* "Package () { SLP_TYPa, SLP_TYPb, ... }" at p: DefPackage, ACPI 6.5 20.2.5.4. */
static bool read_s5_package(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 4 || *p != AML_PACKAGE) {
        return false;
    }
    p += 1 + 1 + (p[1] >> 6); /* opcode; PkgLength: its first byte says how many follow */
    if (p >= end || *p++ < 1) {
        return false; /* no elements */
    }
    uint8_t a;
    uint8_t b = 0;
    if (!read_aml_integer(&p, end, &a)) {
        return false;
    }
    read_aml_integer(&p, end, &b); /* a package of one element is seen in the wild: no PM1b */
    result.s5_type_a = a & 7;
    result.s5_type_b = b & 7;
    return true;
}

/* Look through AML for Name (_S5_, Package ...); running it needs an interpreter, this does not. */
static bool find_s5(const uint8_t *table)
{
    const uint8_t *end = table + length_of(table);
    for (const uint8_t *p = table + HEADER_SIZE + 1; end - p >= 5; p++) {
        bool is_named = p[-1] == AML_NAME || (p[-1] == AML_ROOT && p[-2] == AML_NAME);
        if (is_named && memcmp(p, "_S5_", 4) == 0 && read_s5_package(p + 4, end)) {
            return true;
        }
    }
    return false;
}

/* --- FADT ------------------------------------------------------------------------------------ */

/* The generic address structure at offset x, or where the table has none, the old port field. */
static struct acpi_register read_register(const uint8_t *fadt, uint32_t x, uint32_t old)
{
    const uint8_t *gas = fadt + x;
    if (x + GAS_SIZE <= length_of(fadt) && read64(gas + 4) != 0) {
        return (struct acpi_register){
            .address = read64(gas + 4),
            .space = gas[0],
            .width = gas[1],
        };
    }
    return (struct acpi_register){
        .address = old == 0 ? 0 : read32(fadt + old),
        .space = ACPI_SPACE_IO,
    };
}

static uint64_t dsdt_address(const uint8_t *fadt)
{
    if (FADT_X_DSDT + 8 <= length_of(fadt) && read64(fadt + FADT_X_DSDT) != 0) {
        return read64(fadt + FADT_X_DSDT);
    }
    return read32(fadt + FADT_DSDT);
}

static void read_fadt(const uint8_t *fadt)
{
    if (length_of(fadt) < FADT_V1_SIZE) {
        log_warn("ACPI: FADT not used: only 0x%x bytes", length_of(fadt));
        return;
    }
    uint32_t flags = read32(fadt + FADT_FLAGS);
    result.pm_timer = read_register(fadt, FADT_X_PM_TMR_BLK, FADT_PM_TMR_BLK);
    result.pm_timer_32bit = flags & FADT_FLAGS_TMR_VAL_EXT;
    result.pm1a_control = read_register(fadt, FADT_X_PM1A_CNT_BLK, FADT_PM1A_CNT_BLK);
    result.pm1b_control = read_register(fadt, FADT_X_PM1B_CNT_BLK, FADT_PM1B_CNT_BLK);
    result.smi_command = (uint16_t)read32(fadt + FADT_SMI_CMD);
    result.acpi_enable = fadt[FADT_ACPI_ENABLE];
    if ((flags & FADT_FLAGS_RESET_REG_SUP) && length_of(fadt) > FADT_RESET_VALUE) {
        result.reset = read_register(fadt, FADT_RESET_REG, 0);
        result.reset_value = fadt[FADT_RESET_VALUE];
    }
    const uint8_t *dsdt = table_at(dsdt_address(fadt));
    result.has_s5 = result.has_s5 || (dsdt != NULL && find_s5(dsdt));
}

/* --- Root ------------------------------------------------------------------------------------ */

static void read_table(const uint8_t *table)
{
    if (has_signature(table, "APIC")) {
        read_madt(table);
    } else if (has_signature(table, "FACP")) {
        read_fadt(table);
    } else if (has_signature(table, "SSDT") && !result.has_s5) {
        result.has_s5 = find_s5(table);
    }
}

static void read_root(const uint8_t *root, unsigned entry_size)
{
    for (uint32_t at = HEADER_SIZE; at + entry_size <= length_of(root); at += entry_size) {
        uint64_t address = entry_size == 8 ? read64(root + at) : read32(root + at);
        const uint8_t *table = address == 0 ? NULL : table_at(address);
        if (table != NULL) {
            read_table(table);
        }
    }
}

static bool is_rsdp(const uint8_t *p)
{
    return memcmp(p, "RSD PTR ", 8) == 0 && sums_to_zero(p, RSDP_V1_SIZE);
}

static const uint8_t *scan(uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end; at += RSDP_ALIGN) {
        const uint8_t *p = (const uint8_t *)(uintptr_t)at;
        if (is_rsdp(p)) {
            return p;
        }
    }
    return NULL;
}

/* The loader's copy; else where BIOSes keep it: the EBDA below 640 KiB, or the BIOS area (5.2.5.1). */
static const uint8_t *find_rsdp(const struct boot_info *info)
{
    if (info->rsdp_size >= RSDP_V1_SIZE && is_rsdp(info->rsdp)) {
        return info->rsdp;
    }
    const uint8_t *rsdp = scan(0x80000, 0xA0000);
    return rsdp != NULL ? rsdp : scan(0xE0000, 0x100000);
}

static void read_tables(const uint8_t *rsdp, bool is_v2)
{
    const uint8_t *root = NULL;
    if (is_v2 && read64(rsdp + RSDP_XSDT) != 0) {
        root = table_at(read64(rsdp + RSDP_XSDT));
    }
    if (root != NULL && has_signature(root, "XSDT")) {
        read_root(root, 8);
        return;
    }
    root = table_at(read32(rsdp + RSDP_RSDT));
    if (root != NULL && has_signature(root, "RSDT")) {
        read_root(root, 4);
    }
}

void acpi_init(const struct boot_info *info)
{
    const uint8_t *rsdp = find_rsdp(info);
    if (rsdp == NULL) {
        fatal("ACPI: no RSDP from the boot loader nor in BIOS memory");
    }
    bool whole = rsdp != info->rsdp || info->rsdp_size >= RSDP_V2_SIZE;
    bool is_v2 = rsdp[RSDP_REVISION] >= 2 && whole && sums_to_zero(rsdp, RSDP_V2_SIZE);
    read_tables(rsdp, is_v2);
    if (result.cpu_count == 0) {
        fatal("ACPI: no MADT with an enabled CPU");
    }
    log_info("ACPI: %u CPUs, %u I/O APICs, PM timer at 0x%lx, %s", result.cpu_count,
             result.ioapic_count, result.pm_timer.address,
             result.has_s5 ? "power off by _S5" : "no _S5");
}

struct acpi_override acpi_isa_interrupt(uint8_t irq)
{
    for (unsigned i = 0; i < result.override_count; i++) {
        if (result.overrides[i].irq == irq) {
            return result.overrides[i];
        }
    }
    return (struct acpi_override){ .irq = irq, .gsi = irq };
}
