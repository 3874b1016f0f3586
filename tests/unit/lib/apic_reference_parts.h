/* SPDX-License-Identifier: MIT */
/* What the files of the slow reference share with each other. */
#pragma once

#include "tests/unit/lib/apic_reference.h"

enum { OFF, XAPIC, X2APIC };
enum { CMCI, TIMER, THERMAL, PMI, LINT0, LINT1, ERROR };

static inline int mode(const struct ref_lapic *apic)
{
    if ((apic->base & 0x800) == 0) {
        return OFF;
    }
    return (apic->base & 0x400) != 0 ? X2APIC : XAPIC;
}

static inline bool enabled(const struct ref_lapic *apic)
{
    return mode(apic) != OFF && (apic->svr & 0x100) != 0;
}

uint32_t ref_ppr(const struct ref_lapic *apic);
unsigned ref_timer_mode(const struct ref_lapic *apic);

/* A register that both modes have; the index of an LVT entry, -1 for another offset; what a WRMSR must not set. */
uint32_t ref_read_common(const struct ref_lapic *apic, uint32_t offset);
int ref_lvt_at(uint32_t offset);
bool ref_exists(uint32_t offset);
int64_t ref_reserved(uint32_t msr);
uint32_t ref_divisor(uint32_t value);

/* LINT0: its entry was written or a level from it had its EOI. */
void ref_look_at_lint0(struct ref_lapic *apic);
void ref_lint0_eoi(struct ref_lapic *apic, unsigned vector);

/* A fixed interrupt arrives: whether it was accepted. An error is detected. */
bool ref_accept(struct ref_lapic *apic, unsigned vector, bool level);
void ref_error(struct ref_lapic *apic, uint32_t bit);

/* ICR was written. */
void ref_ipi(struct ref *ref, unsigned from, uint32_t icr, uint32_t destination);

/* A level-triggered vector had its EOI; levels that nobody took can be taken now. */
void ref_ioapic_eoi(struct ref *ref, unsigned vector);
void ref_look_at_all(struct ref *ref);
