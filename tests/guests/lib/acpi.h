/* SPDX-License-Identifier: MIT */
/* CPUs as the ACPI MADT lists them (ACPI specification, "Multiple APIC Description Table"). */
#pragma once

#include <stdint.h>

/* APIC ids of the enabled CPUs, at most size of them; 0 when there is no MADT. Boot CPU. */
unsigned acpi_list_cpus(uint32_t *apic_ids, unsigned size);
