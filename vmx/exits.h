/* SPDX-License-Identifier: MIT */
/*
 * Handlers of VM exits, one per basic exit reason, called through the table in exits.c with the vCPU's
 * VMCS current and interrupts off. Each finishes its exit whole: emulates and advances RIP
 * (event_instruction_done), or raises an exception, or stops the VM.
 */
#pragma once

struct vcpu;

void exit_cpuid(struct vcpu *vcpu);            /* cpuid.c */
void exit_rdmsr(struct vcpu *vcpu);            /* msr.c */
void exit_wrmsr(struct vcpu *vcpu);            /* msr.c */
void exit_cr_access(struct vcpu *vcpu);        /* cr.c */
void exit_xsetbv(struct vcpu *vcpu);           /* xstate.c */
void exit_wbinvd(struct vcpu *vcpu);           /* instructions.c */
void exit_invd(struct vcpu *vcpu);             /* instructions.c */
void exit_vmcall(struct vcpu *vcpu);           /* hypercall.c */
void exit_descriptor_table(struct vcpu *vcpu); /* umip.c */
void exit_io(struct vcpu *vcpu);               /* io.c */
void exit_ept_violation(struct vcpu *vcpu);    /* mmio.c */
void exit_apic_access(struct vcpu *vcpu);      /* mmio.c */

/* Read the exit reason, count it and call its handler; an entry failure kills the VM. Owner, VMCS current. */
void exit_dispatch(struct vcpu *vcpu);
