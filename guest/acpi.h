/* SPDX-License-Identifier: MIT */
/* The ACPI tables of a VM: hardware-reduced ACPI (docs/guests.md says why). */
#pragma once

#include <stdint.h>

#include "guest/ram.h"

enum { ACPI_TABLES_START = RAM_BIOS_START, ACPI_TABLES_END = RAM_BIOS_START + 0x10000 };

/*
 * Write RSDP, RSDT, XSDT, FADT, MADT and DSDT into the guest's BIOS area, for vcpus local APICs
 * with the ids 0 .. vcpus-1 (at most 255). Returns the guest-physical address of the RSDP, which
 * also lies where a guest that scans the BIOS area finds it. Pure logic.
 */
uint64_t acpi_write_tables(const struct ram *ram, unsigned vcpus);
