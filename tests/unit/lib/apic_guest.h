/* SPDX-License-Identifier: MIT */
/*
 * Guest accesses to the local APIC as the CPU carries them out: virtualized by the model's hardware
 * where the controls in force say so (SDM volume 3, "Virtualizing Reads/Writes", "Virtualizing
 * MSR-Based APIC Accesses"), by an exit to apic/ otherwise. The vCPU is in guest mode.
 */
#pragma once

#include <stdint.h>

uint32_t guest_mmio_read(unsigned index, uint32_t offset);
void guest_mmio_write(unsigned index, uint32_t offset, uint32_t value);

/* 0 or ERR_GP. */
int guest_read_msr(unsigned index, uint32_t msr, uint64_t *value);
int guest_write_msr(unsigned index, uint32_t msr, uint64_t value);
