/* SPDX-License-Identifier: MIT */
/* vCPUs that wait: HLT and wait-for-SIPI (SDM volume 3, "Guest Non-Register State"). */
#pragma once

#include <stdbool.h>

#include "vmx/vcpu.h"

/* HLT is done: the vCPU waits for an event from now on. Owner, VMCS current. */
void halt_begin(struct vcpu *vcpu);

/*
 * Whether to enter the vCPU: something has come that ends the waiting, which is over then. A protected
 * one may also have to be entered as it is, in HLT, because only hardware knows whether an interrupt
 * is deliverable. Owner, VMCS current.
 */
bool halt_end(struct vcpu *vcpu);

/*
 * Take a waiting vCPU off its CPU until somebody wakes it. False when something that it must look at
 * came in between; it is in root mode then. Owner, VMCS current, interrupts off.
 */
bool halt_block(struct vcpu *vcpu);

/*
 * The two around a VM entry of a vCPU that is in HLT there, or was: halt_concerns. Before it:
 * interrupts off; after each exit: before it is handled. Owner, VMCS current.
 */
void halt_before_entry(struct vcpu *vcpu);
void halt_after_exit(struct vcpu *vcpu);

static inline bool halt_concerns(const struct vcpu *vcpu)
{
    return vcpu->halt_in_vmcs || vcpu->activity == VCPU_HLT;
}
