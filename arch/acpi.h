/* SPDX-License-Identifier: MIT */
/* What Rivet needs of the host's ACPI tables (ACPI 6.5, chapter 5): MADT, FADT, _S5. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/boot_info.h"
#include "arch/cpu.h"

enum { ACPI_MAX_IOAPICS = 16, ACPI_MAX_OVERRIDES = 32 };

enum acpi_space { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1 };

/* A register of the FADT; address 0 means there is none. */
struct acpi_register {
    uint64_t address;
    uint8_t space; /* enum acpi_space, or another space that Rivet does not use */
    uint8_t width; /* bits */
};

struct acpi_ioapic {
    uint32_t id;
    uint64_t address;
    uint32_t gsi_base;
};

/* Interrupt source override: ISA interrupt irq is global system interrupt gsi. */
struct acpi_override {
    uint8_t irq;
    uint32_t gsi;
    bool active_low;
    bool level;
};

struct acpi_info {
    unsigned cpu_count; /* enabled CPUs, in MADT order; those beyond MAX_CPUS are left out */
    uint32_t apic_ids[MAX_CPUS];
    uint64_t lapic_address;
    bool has_8259;
    unsigned ioapic_count;
    struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
    unsigned override_count;
    struct acpi_override overrides[ACPI_MAX_OVERRIDES];
    struct acpi_register pm_timer;
    bool pm_timer_32bit;
    struct acpi_register pm1a_control;
    struct acpi_register pm1b_control;
    uint16_t smi_command; /* port; 0: the machine is always in ACPI mode */
    uint8_t acpi_enable;  /* value for smi_command that turns ACPI on */
    struct acpi_register reset;
    uint8_t reset_value;
    bool has_s5;
    uint8_t s5_type_a; /* SLP_TYPa and SLP_TYPb of \_S5 */
    uint8_t s5_type_b;
};

/*
 * Find and read the tables: RSDP from the loader, else from BIOS memory. Tables with a wrong checksum
 * or length are warned of and not used. fatal when there is no MADT with an enabled CPU. Boot CPU,
 * once, after paging_init.
 */
void acpi_init(const struct boot_info *info);

/* The result; all zero before acpi_init. Any CPU. */
const struct acpi_info *acpi(void);

/*
 * Global system interrupt, polarity and trigger of an ISA interrupt, after overrides (edge, active
 * high when there is none). Any CPU after acpi_init.
 */
struct acpi_override acpi_isa_interrupt(uint8_t irq);
