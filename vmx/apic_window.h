/* SPDX-License-Identifier: MIT */
/*
 * A local APIC's window over memory: the guest has moved its base to where it has RAM or a ROM. The
 * window hides that memory from this vCPU, and from no other (SDM volume 3, "Relocating the Local APIC
 * Registers").
 */
#pragma once

#include <stdint.h>

struct ept;
struct vcpu;

/* A view of the VM's memory without the window's page. */
struct apic_window;

/* The window of a new vCPU. NULL when out of memory. Boot CPU before VMs run. */
struct apic_window *apic_window_create(void);

/* The base or the mode has changed. Owner, root mode. */
void apic_window_update(struct vcpu *vcpu);

/* What the vCPU sees instead of the VM's memory, or NULL: the window hides none of that. Owner. */
const struct ept *apic_window_view(const struct vcpu *vcpu);
