/* SPDX-License-Identifier: MIT */
/*
 * Saving and restoring a local APIC: its registers in the layout of Linux's struct kvm_lapic_state,
 * and beside them IA32_APIC_BASE, the TSC offset, IA32_TSC_DEADLINE, what is pending without a
 * register, and the paravirtual areas (apic/paravirt.h). The pieces can be restored in any order;
 * nothing fires before the vCPU runs.
 *
 * In the layout ICR is two 32-bit registers in both modes (300H low, 310H high half), and the id is
 * 32 bits at 20H in x2APIC mode, bits 31:24 in xAPIC mode. At 394H, where Linux leaves 0, is what a
 * count-down needs to end on the same tick: how many TSC ticks of the current count are over; at 354H the
 * vector for which LVT0's remote IRR is set, as LVT0 may name another one by now.
 */
#pragma once

#include <stdint.h>

#include "apic/lapic.h"

enum { LAPIC_STATE_SIZE = 0x400, LAPIC_STATE_FRACTION = 0x394, LAPIC_STATE_LINT0 = 0x354 };

struct lapic_state {
    uint8_t regs[LAPIC_STATE_SIZE];
};
_Static_assert(sizeof(struct lapic_state) == 1024, "the layout of struct kvm_lapic_state");

/* What waits for the vCPU and has no register. */
struct lapic_pending {
    uint32_t events; /* enum lapic_event: INIT, SIPI with its vector */
    uint32_t errors; /* detected since ESR was last written */
    bool extint;     /* ExtINT by message, not yet acknowledged */
};

/*
 * All: owner, root mode, VMCS current or the vCPU loaded nowhere; the restoring ones before the vCPU
 * runs. What posts to it from elsewhere, other vCPUs and devices, is stopped from the first piece saved
 * to the last one restored, or what it posts is lost; after the last one, a state from elsewhere needs
 * ioapic_retry. A protected local APIC (docs/interrupts.md) can be
 * neither saved nor restored: all that return an error refuse it.
 */

/*
 * The registers now: what is still in PIR is in IRR, the current count is computed, a count-down
 * that has ended has raised its interrupt. A TSC deadline that has passed has not: restoring it
 * raises it. ERR_INVALID, with *reason saying why, for a protected local APIC.
 */
int lapic_get_state(struct lapic *lapic, struct lapic_state *state, const char **reason);

/* After lapic_get_state, which can find errors and messages on their way. */
struct lapic_pending lapic_get_pending(const struct lapic *lapic);
void lapic_restore_pending(struct lapic *lapic, const struct lapic_pending *pending);

/* IA32_TSC_DEADLINE as set, whether it has passed or not. */
uint64_t lapic_get_deadline(const struct lapic *lapic);

/*
 * Replace the registers and re-arm the timer from the current count. ERR_INVALID for a state that
 * no local APIC of this VM can be in, with *reason saying why; nothing has changed then. The
 * version is not taken over; the x2APIC id cannot change, the x2APIC LDR follows from it.
 */
int lapic_set_state(struct lapic *lapic, const struct lapic_state *state, const char **reason);

/*
 * IA32_APIC_BASE without the rules for transitions; ERR_INVALID for reserved bits, EXTD without EN,
 * and a protected local APIC.
 */
int lapic_restore_base(struct lapic *lapic, uint64_t base);

/* Guest TSC - host TSC. */
void lapic_restore_tsc_offset(struct lapic *lapic, int64_t offset);

/* IA32_TSC_DEADLINE; kept until the LVT timer register says that it is in use. */
void lapic_restore_deadline(struct lapic *lapic, uint64_t deadline);
