/* SPDX-License-Identifier: MIT */
/* The ACPI tables of a VM (ACPI 6.5, chapter 5; hardware-reduced: chapters 3.11.1 and 4.1). */
#include "guest/acpi.h"

#include "apic/ioapic.h"
#include "guest/dsdt.h"
#include "guest/fields.h"
#include "guest/power.h"
#include "guest/rtc.h"
#include "lib/bits.h"

enum { RSDP_SIZE = 36, RSDP_V1_SIZE = 20, HEADER_SIZE = 36, FADT_SIZE = 276, TABLE_ALIGN = 64 };

/* System description table header. */
enum { H_LENGTH = 4, H_REVISION = 8, H_CHECKSUM = 9, H_OEM_ID = 10, H_OEM_TABLE_ID = 16 };
enum { H_OEM_REVISION = 24, H_CREATOR_ID = 28, H_CREATOR_REVISION = 32 };

/* FADT fields that are not zero. */
enum {
    FADT_DSDT = 40,
    FADT_CENTURY = 108,
    FADT_BOOT_ARCH = 109,
    FADT_FLAGS = 112,
    FADT_RESET_REG = 116,
    FADT_RESET_VALUE = 128,
    FADT_X_DSDT = 140,
    FADT_SLEEP_CONTROL = 244,
    FADT_SLEEP_STATUS = 256,
};

/* IAPC_BOOT_ARCH: legacy devices (COM1); no 8042 keyboard controller, no VGA; there is an RTC. */
enum { BOOT_ARCH_LEGACY_DEVICES = 1 << 0, BOOT_ARCH_NO_VGA = 1 << 2 };

/* FADT flags. Without fixed power and sleep buttons, which the two button bits say. */
enum {
    FLAG_WBINVD = 1 << 0,
    FLAG_PWR_BUTTON = 1 << 4,
    FLAG_SLP_BUTTON = 1 << 5,
    FLAG_RESET_REG = 1 << 10,
    FLAG_HW_REDUCED = 1 << 20,
};

/* MADT entries. */
enum { MADT_LAPIC_BASE = 0xFEE00000, MADT_ENTRIES = 44 };
enum { MADT_LAPIC = 0, MADT_LAPIC_SIZE = 8, MADT_IOAPIC = 1, MADT_IOAPIC_SIZE = 12 };

static uint8_t checksum(const uint8_t *data, unsigned size)
{
    uint8_t sum = 0;

    for (unsigned i = 0; i < size; i++) {
        sum = (uint8_t)(sum + data[i]);
    }
    return (uint8_t)-sum;
}

/* Text of a fixed width, without an end. */
static void put_text(uint8_t *at, const char *text, size_t length)
{
    memcpy(at, text, length);
}

static void begin_table(uint8_t *table, const char *signature, uint8_t revision)
{
    put_text(table, signature, 4);
    table[H_REVISION] = revision;
    put_text(table + H_OEM_ID, "RIVET ", 6);
    put_text(table + H_OEM_TABLE_ID, "RIVETVM ", 8);
    put32(table + H_OEM_REVISION, 1);
    put_text(table + H_CREATOR_ID, "RIVT", 4);
    put32(table + H_CREATOR_REVISION, 1);
}

static void end_table(uint8_t *table, uint32_t size)
{
    put32(table + H_LENGTH, size);
    table[H_CHECKSUM] = 0;
    table[H_CHECKSUM] = checksum(table, size);
}

/* A generic address structure for an 8-bit I/O port. */
static void put_port(uint8_t *at, uint16_t port)
{
    at[0] = 1; /* system I/O */
    at[1] = 8; /* bits */
    at[3] = 1; /* byte access */
    put64(at + 4, port);
}

static uint32_t write_fadt(uint8_t *table, uint64_t dsdt)
{
    begin_table(table, "FACP", 6);
    put32(table + FADT_DSDT, (uint32_t)dsdt);
    put64(table + FADT_X_DSDT, dsdt);
    table[FADT_CENTURY] = RTC_CENTURY;
    put16(table + FADT_BOOT_ARCH, BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA);
    put32(table + FADT_FLAGS,
          FLAG_WBINVD | FLAG_PWR_BUTTON | FLAG_SLP_BUTTON | FLAG_RESET_REG | FLAG_HW_REDUCED);
    put_port(table + FADT_RESET_REG, RESET_CONTROL_PORT);
    table[FADT_RESET_VALUE] = RESET_CONTROL_FULL;
    put_port(table + FADT_SLEEP_CONTROL, SLEEP_CONTROL_PORT);
    put_port(table + FADT_SLEEP_STATUS, SLEEP_STATUS_PORT);
    end_table(table, FADT_SIZE);
    return FADT_SIZE;
}

static uint32_t write_madt(uint8_t *table, unsigned vcpus)
{
    uint8_t *entry = table + MADT_ENTRIES;

    begin_table(table, "APIC", 4);
    put32(table + HEADER_SIZE, MADT_LAPIC_BASE); /* the flags behind it stay 0: no 8259 */
    for (unsigned i = 0; i < vcpus; i++) {
        const uint8_t lapic[MADT_LAPIC_SIZE] = { MADT_LAPIC, MADT_LAPIC_SIZE, (uint8_t)i,
                                                 (uint8_t)i, 1 /* enabled */ };
        memcpy(entry, lapic, sizeof(lapic));
        entry += sizeof(lapic);
    }
    entry[0] = MADT_IOAPIC;
    entry[1] = MADT_IOAPIC_SIZE;
    put32(entry + 4, IOAPIC_DEFAULT_BASE); /* id 0 and first interrupt 0, as it is after reset */
    entry += MADT_IOAPIC_SIZE;
    end_table(table, (uint32_t)(entry - table));
    return (uint32_t)(entry - table);
}

/* RSDT or XSDT: entries of 4 or 8 bytes. */
static uint32_t write_root(uint8_t *table, const char *signature, unsigned entry_size,
                           const uint64_t tables[2])
{
    begin_table(table, signature, 1);
    for (unsigned i = 0; i < 2; i++) {
        memcpy(table + HEADER_SIZE + (size_t)i * entry_size, &tables[i], entry_size);
    }
    end_table(table, HEADER_SIZE + 2 * entry_size);
    return HEADER_SIZE + 2 * entry_size;
}

static void write_rsdp(uint8_t *rsdp, uint64_t rsdt, uint64_t xsdt)
{
    put_text(rsdp, "RSD PTR ", 8);
    put_text(rsdp + 9, "RIVET ", 6);
    rsdp[15] = 2; /* revision */
    put32(rsdp + 16, (uint32_t)rsdt);
    put32(rsdp + 20, RSDP_SIZE);
    put64(rsdp + 24, xsdt);
    rsdp[8] = checksum(rsdp, RSDP_V1_SIZE);
    rsdp[32] = checksum(rsdp, RSDP_SIZE);
}

uint64_t acpi_write_tables(const struct ram *ram, unsigned vcpus)
{
    uint8_t *base = ram_at(ram, ACPI_TABLES_START, ACPI_TABLES_END - ACPI_TABLES_START);
    uint64_t dsdt = align_up(RSDP_SIZE, TABLE_ALIGN);
    uint64_t tables[2]; /* FADT, MADT: guest-physical */

    memcpy(base + dsdt, dsdt_table, dsdt_size);
    uint64_t fadt = align_up(dsdt + dsdt_size, TABLE_ALIGN);
    uint64_t madt = align_up(fadt + write_fadt(base + fadt, ACPI_TABLES_START + dsdt), TABLE_ALIGN);
    uint64_t rsdt = align_up(madt + write_madt(base + madt, vcpus), TABLE_ALIGN);
    tables[0] = ACPI_TABLES_START + fadt;
    tables[1] = ACPI_TABLES_START + madt;
    uint64_t xsdt = align_up(rsdt + write_root(base + rsdt, "RSDT", 4, tables), TABLE_ALIGN);
    write_root(base + xsdt, "XSDT", 8, tables);
    write_rsdp(base, ACPI_TABLES_START + rsdt, ACPI_TABLES_START + xsdt);
    return ACPI_TABLES_START;
}
