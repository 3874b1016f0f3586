/* SPDX-License-Identifier: MIT */
/*
 * All that apic/ needs from the hypervisor it lives in. vmx/ implements it; the unit tests
 * implement it with a model. Another hypervisor could lift apic/ out by writing these functions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lapic;

/* Host TSC now. */
uint64_t apic_port_tsc(void);

/*
 * Any CPU. Make the vCPU pass through lapic_before_entry (and vmx's request loop) soon: it leaves
 * guest mode when it runs on another CPU, is woken when blocked; nothing when it is in root mode on
 * its way to an entry. Requests made before the call are seen by that pass.
 */
void apic_port_kick(struct lapic *lapic);

/*
 * Any CPU. ON of the vCPU's descriptor went 0 -> 1. In guest mode on another CPU with posted
 * interrupts active: send the notification vector there (hardware moves PIR into vIRR with no
 * exit); with posting not available: kick. Blocked: wake. In root mode: nothing, the next entry
 * syncs. Contains the full barrier between the caller's write of ON and the read of the target's
 * mode.
 */
void apic_port_notify(struct lapic *lapic);

/* Any CPU. Latch one NMI for the vCPU and kick it. */
void apic_port_nmi(struct lapic *lapic);

/* The functions below: only the CPU that owns the vCPU, with its VMCS current, interrupts off. */

/* Guest interrupt status: RVI in bits 7:0, SVI in bits 15:8 (SDM volume 3, 25.4.2). */
uint16_t apic_port_read_interrupt_status(struct lapic *lapic);
void apic_port_write_interrupt_status(struct lapic *lapic, uint16_t status);

/* The four EOI-exit bitmap fields; bit v of the 256: EOI of vector v causes an exit. */
void apic_port_write_eoi_exit_bitmap(struct lapic *lapic, const uint64_t bitmap[4]);

/* TPR threshold, 0..15 (used when the TPR shadow is on and VID is off). */
void apic_port_write_tpr_threshold(struct lapic *lapic, uint8_t threshold);

/*
 * The mode of the local APIC or whether APICv is active has changed: rewrite the execution
 * controls, the x2APIC part of the MSR bitmap and the APIC-access mapping to match lapic_mode() and
 * lapic_apicv_active().
 */
void apic_port_refresh_controls(struct lapic *lapic);

/* The two for protected local APICs only. */

/*
 * Something is posted (ON is set), and only hardware may move it into vIRR: send the notification
 * vector to this CPU, where it stays pending until posted-interrupt processing takes it right after
 * the entry.
 */
void apic_port_notify_self(struct lapic *lapic);

/*
 * Give the local APIC an empty virtual-APIC page at lapic->virtual_page, without reading the one
 * there. The vCPU does not run; not only its owner calls it, but whoever resets it.
 */
void apic_port_fresh_page(struct lapic *lapic);

/*
 * INTA cycle: the vector of the 8259 pair's interrupt (7 or 15 of its own when there is none any
 * more), -1 when there is no 8259. It may call lapic_set_lint0 and ioapic_set_line.
 */
int apic_port_acknowledge_extint(struct lapic *lapic);

/*
 * Host pointer to size bytes of guest RAM at a guest-physical address, contiguous; NULL when any of
 * them is no RAM that the guest may write. Good until the VM's memory map changes: not to be kept.
 */
void *apic_port_guest_memory(struct lapic *lapic, uint64_t address, uint64_t size);

/* Log a guest's doing, once per kind where the caller keeps track. Any CPU. */
void apic_port_log(struct lapic *lapic, const char *text, uint64_t value);
