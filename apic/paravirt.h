/* SPDX-License-Identifier: MIT */
/*
 * Memory shared with the guest that saves exits, PV EOI while APICv is inactive, as KVM defines it (Linux,
 * Documentation/virt/kvm/x86/msr.rst and .../virt/kvm/api.rst):
 *
 * PV EOI: bit 0 of a byte says that the interrupt in service needs no EOI register write: the guest
 * clears the bit instead, and the owner does the EOI when it finds it clear after the next exit.
 *
 * The vapic page: TPR, the class of the highest vector in service and the highest vector requested
 * in 32 bits; the guest may write TPR there. It works the same with APICv active, since the guest
 * cannot know.
 *
 * The address comes from the guest: it is looked up anew at each use. Both areas are aligned to
 * their size, so that none crosses a page.
 */
#pragma once

#include <stdint.h>

#include "apic/lapic.h"

/* MSR_KVM_PV_EOI_EN. */
#define MSR_PV_EOI        0x4B564D04
#define PV_EOI_ENABLE     BIT(0)
#define PV_EOI_RESERVED   BIT(1)
#define PV_EOI_NOT_NEEDED 1U

/* All: owner, root mode. */

/*
 * WRMSR and RDMSR of MSR_KVM_PV_EOI_EN; ERR_GP for a reserved bit, an address that is no
 * RAM, and a protected local APIC.
 */
int lapic_write_pv_eoi(struct lapic *lapic, uint64_t value);
uint64_t lapic_read_pv_eoi(const struct lapic *lapic);

/* Set the address of the 32-bit word, 0 for none; ERR_INVALID when unaligned, no RAM, or protected. */
int lapic_set_vapic(struct lapic *lapic, uint64_t address);
uint64_t lapic_read_vapic(const struct lapic *lapic);

/* Tell the guest what it may skip in the coming stretch; vectors as in the page, -1 for none. */
void paravirt_before_entry(struct lapic *lapic, int pending, int in_service);

/* Forget both areas: the local APIC is reset. */
void paravirt_reset(struct lapic *lapic);
