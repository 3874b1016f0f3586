/* SPDX-License-Identifier: MIT */
/*
 * APICv as a mode that changes at run time: activation and inhibition of virtual-interrupt delivery
 * (SDM volume 3, chapter "APIC Virtualization and Virtual Interrupts"), and the requests that other
 * CPUs leave for a vCPU's owner. All: owner, root mode, interrupts off, VMCS current.
 */
#pragma once

struct lapic;

/* Do everything in lapic->requests. */
void apicv_handle_requests(struct lapic *lapic);

/*
 * All requests but to apply a change of APICv: raise what is to be raised, make up for missed EOIs.
 * Nothing is under way inside this local APIC afterwards.
 */
void apicv_settle(struct lapic *lapic);

/* Only the error interrupt: it can end HLT, the rest waits for an entry. */
void apicv_handle_error_request(struct lapic *lapic);

/* RVI := highest vIRR, SVI := highest vISR. APICv is active. */
void apicv_publish_status(struct lapic *lapic);
