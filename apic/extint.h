/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of an external 8259 pair (SDM volume 3, "Local Vector Table", delivery mode ExtINT).
 *
 * They bypass IRR, ISR and PPR: the processor takes one when it accepts interrupts at all, and only
 * then asks the 8259 for the vector (apic_port_acknowledge_extint). Virtual-interrupt delivery knows
 * nothing of them: APICv is inhibited while one could come.
 */
#pragma once

#include <stdbool.h>

struct lapic;

/* lapic->extint: what asks for an INTA cycle. */
enum lapic_extint {
    LAPIC_EXTINT_LINT0 = 1 << 0,   /* level of the LINT0 pin, whatever LVT0 says */
    LAPIC_EXTINT_MESSAGE = 1 << 1, /* an I/O APIC has sent an ExtINT message */
};

/*
 * An ExtINT message for this local APIC; whether it was accepted. Any CPU; takes no lock of apic/.
 */
bool extint_accept(struct lapic *lapic);

/* The LINT0 pin rose: in modes other than ExtINT it raises LVT0's interrupt. Owner, root mode. */
void extint_handle_lint0(struct lapic *lapic);

/* The INTA cycle: the vector, or -1 when the 8259 has gone. Owner, root mode, ExtINT pending. */
int extint_acknowledge(struct lapic *lapic);

/* Could LVT0 let an ExtINT through? Any CPU. */
bool extint_lvt0_open(const struct lapic *lapic);
