/* SPDX-License-Identifier: MIT */
/*
 * CR0, CR4 and IA32_EFER of guests: what they may set, and how that maps to the VMCS (SDM volume 3,
 * "Control Registers", "Guest/Host Masks and Read Shadows for CR0 and CR4").
 */
#pragma once

#include <stdint.h>

struct vcpu;

/*
 * Set the guest's CR0, CR4 and IA32_EFER as they are after reset or at a boot protocol's start: guest
 * fields, masks, read shadows and the "IA-32e mode guest" entry control; EFER.LMA follows LME and
 * CR0.PG. No checks. VMCS current.
 */
void cr_set(struct vcpu *vcpu, uint64_t cr0, uint64_t cr4, uint64_t efer);

/* CR0 and CR4 as the guest reads them. VMCS current. */
uint64_t cr0_read(void);
uint64_t cr4_read(void);

/*
 * MOV to CR0 and WRMSR of IA32_EFER with the SDM's checks and consequences (LMA, PDPTEs): 0, or ERR_GP
 * with nothing changed. Owner, root mode, VMCS current.
 */
int cr0_write(struct vcpu *vcpu, uint64_t value);

/*
 * CR3 as a task switch loads it: ERR_GP for PDPTEs that no MOV to CR3 would take, CR3 has the new value
 * all the same. Outside IA-32e mode. Owner, root mode, VMCS current.
 */
int cr3_switch(struct vcpu *vcpu, uint64_t value);
int efer_write(struct vcpu *vcpu, uint64_t value);
