/* SPDX-License-Identifier: MIT */
/*
 * Pieces of the modes of a local APIC that its guest's way (lapic.c) and restoring (state.c) share.
 * All: owner, root mode.
 */
#pragma once

#include <stdint.h>

struct lapic;

/* Bits of IA32_APIC_BASE that must be 0 in this VM. Pure. */
uint64_t lapic_base_reserved(const struct lapic *lapic);

/* Set IA32_APIC_BASE, nothing else. */
void lapic_set_base(struct lapic *lapic, uint64_t base);

/* ID and LDR as x2APIC mode has them. */
void lapic_set_x2apic_ids(struct lapic *lapic);

/*
 * The mode, base or all registers changed: tell the VM, and the owner's next entry. No lock held.
 */
void lapic_mode_changed(struct lapic *lapic);
