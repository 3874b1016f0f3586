/* SPDX-License-Identifier: MIT */
/* The host's I/O APICs and its two 8259 PICs, which are only silenced (82093AA data sheet). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Mask both PICs and every pin of every I/O APIC. Boot CPU, once, after acpi_init and paging_init. */
void host_ioapic_init(void);

/*
 * Send an ISA interrupt to the boot CPU as that vector, with polarity and trigger from ACPI. False
 * when no I/O APIC has its pin, or the boot CPU's APIC id does not fit. Boot CPU.
 */
bool host_ioapic_route_isa(uint8_t irq, uint8_t vector);
