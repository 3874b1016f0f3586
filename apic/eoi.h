/* SPDX-License-Identifier: MIT */
/*
 * End of interrupt: in software, after hardware's EOI virtualization, and the EOI-exit bitmap that
 * decides which of them hardware reports (SDM volume 3, "Signaling Interrupt Servicing Completion"
 * and "EOI Virtualization").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lapic;

/* The guest wrote EOI and hardware did not virtualize it. Owner, root mode. */
void eoi_signal(struct lapic *lapic);

/*
 * Compute the EOI-exit bitmap from the I/O APIC's level-triggered routes and from the
 * level-triggered vectors still pending or in service here (of a route that has changed since), and
 * publish it. An EOI that hardware did not report because the bitmap was older than the interrupt
 * is made up for. Owner, root mode, VMCS current, APICv active; takes the I/O APIC's lock.
 */
void eoi_publish_exits(struct lapic *lapic);

/* A level-triggered vector is about to be posted; whether its EOI exits already. Any CPU. */
bool eoi_note_level(struct lapic *lapic, uint8_t vector);

/* An edge-triggered vector is about to be posted: an EOI concerns nobody else. Any CPU. */
void eoi_note_edge(struct lapic *lapic, uint8_t vector);
