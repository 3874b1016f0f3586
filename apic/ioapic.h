/* SPDX-License-Identifier: MIT */
/* The guest's I/O APIC (82093AA data sheet, version 20H register set). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/spinlock.h"

enum { IOAPIC_PINS = 24, IOAPIC_DEFAULT_BASE = 0xFEC00000 };

struct apic_vm;

struct ioapic {
    struct spinlock lock;
    uint32_t select; /* IOREGSEL */
    uint32_t id;
    uint64_t redirection[IOAPIC_PINS];
    uint32_t line_state; /* bit per pin: level at the pin now */
};

/*
 * Lock order: the I/O APIC's lock is held while its messages are delivered, so that remote IRR and
 * the acceptance by a local APIC are one step. Delivery takes no other lock of apic/; what the
 * port's kick and notify take comes after it. Functions named _locked: the caller holds it.
 */

/* Reset state: every entry masked. */
void ioapic_init(struct ioapic *ioapic);

/*
 * Guest access to the window; offset from the base; 32-bit accesses, others as hardware does. Any
 * vCPU.
 */
uint32_t ioapic_mmio_read(struct apic_vm *vm, uint32_t offset);
void ioapic_mmio_write(struct apic_vm *vm, uint32_t offset, uint32_t value);

/*
 * Drive input pin to a level (true = asserted; polarity is not modelled). Edge entries fire on
 * false->true. Any CPU.
 */
void ioapic_set_line(struct apic_vm *vm, unsigned pin, bool level);

/*
 * EOI broadcast of a vector from a local APIC: clears remote IRR, re-evaluates asserted level pins.
 * Any CPU.
 */
void ioapic_eoi(struct apic_vm *vm, uint8_t vector);

/* ioapic_eoi with the lock held. */
void ioapic_eoi_locked(struct apic_vm *vm, uint8_t vector);

/*
 * A local APIC was enabled, or its id, LDR, DFR or mode changed by its guest: offer the level interrupts
 * that nobody accepted again. Any CPU.
 */
void ioapic_retry(struct apic_vm *vm);

/* Set the bit of every vector that an unmasked level-triggered entry sends to the vCPU of that id. */
void ioapic_level_routes_locked(struct apic_vm *vm, uint32_t id, uint64_t routes[4]);

/* Is an unmasked entry in ExtINT mode? Any CPU, takes the lock. */
bool ioapic_has_extint(struct apic_vm *vm);
