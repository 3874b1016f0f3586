/* SPDX-License-Identifier: MIT */
/*
 * The interrupt command register and self-IPI (SDM volume 3, "Issuing Interprocessor Interrupts").
 *
 * xAPIC mode: two 32-bit registers, a write of the low one sends. x2APIC mode: ONE 64-bit register
 * at offset 300H of the page; 310H does not exist.
 */
#pragma once

#include <stdint.h>

struct lapic;

/* All: owner, root mode. */

/* Write handlers of the xAPIC halves; the low one sends. */
void icr_write_xapic(struct lapic *lapic, uint32_t offset, uint32_t value);
void icr2_write(struct lapic *lapic, uint32_t offset, uint32_t value);

/* Write of the 64-bit register in x2APIC mode (reserved bits are checked already): sends. */
void icr_write_x2apic(struct lapic *lapic, uint64_t value);

/* SELF IPI register: a fixed, edge-triggered interrupt to the sender. */
void icr_send_self(struct lapic *lapic, uint8_t vector);
