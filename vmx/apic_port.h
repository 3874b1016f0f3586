/* SPDX-License-Identifier: MIT */
/* vmx/'s side of apic/port.h beyond the port itself. */
#pragma once

struct ept;
struct vcpu;

/* Where the APIC-access page is in a guest: the address of an xAPIC that was not moved. */
#define APIC_ACCESS_GPA 0xFEE00000ULL

/*
 * Write to the VMCS what the local APIC has published since the last entry. Owner, VMCS current, right
 * before an entry, after lapic_before_entry.
 */
void apic_port_flush(struct vcpu *vcpu);

/*
 * Let apic_port_tsc stand still on this CPU, or run again: for work on local APICs that is to take no
 * time in their vCPUs' eyes. Root mode, interrupts off.
 */
void apic_port_stop_clock(void);
void apic_port_run_clock(void);

/* The EPT that goes with the mode and place of the vCPU's local APIC. Owner, root mode. */
const struct ept *apic_port_ept(const struct vcpu *vcpu);
