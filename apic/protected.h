/* SPDX-License-Identifier: MIT */
/*
 * Protected local APICs (docs/interrupts.md): TPR, PPR, ISR and IRR are in a virtual-APIC page that
 * only hardware touches. All other registers are in lapic->page, which is software's own.
 *
 * All: owner, root mode, interrupts off, VMCS current.
 */
#pragma once

#include <stdint.h>

struct lapic;

/*
 * What an entry needs: after a reset the guest interrupt status that goes with an empty page, and
 * when something is posted a notification, by which hardware takes it over right after the entry.
 */
void protected_before_entry(struct lapic *lapic);

/*
 * A level-triggered vector whose EOI does not exit yet is kept back from PIR: the EOI would be lost,
 * and nothing could find that out. hold_back: any CPU; then ask the owner for its EOI-exit bitmap.
 * release: after that was computed.
 */
void protected_hold_back(struct lapic *lapic, uint8_t vector);
void protected_release(struct lapic *lapic);

/* Reset: a fresh virtual-APIC page, and nothing kept back. */
void protected_reset(struct lapic *lapic);
