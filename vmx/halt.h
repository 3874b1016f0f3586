/* SPDX-License-Identifier: MIT */
/* vCPUs that wait: HLT and wait-for-SIPI (SDM volume 3, "Guest Non-Register State"). */
#pragma once

#include <stdbool.h>

struct vcpu;

/* HLT is done: the vCPU waits for an event from now on. Owner, VMCS current. */
void halt_begin(struct vcpu *vcpu);

/* Whether something has come that ends the waiting; it is over then. Owner, VMCS current. */
bool halt_end(struct vcpu *vcpu);

/*
 * Take a waiting vCPU off its CPU until somebody wakes it. False when something that it must look at
 * came in between; it is in root mode then. Owner, VMCS current, interrupts off.
 */
bool halt_block(struct vcpu *vcpu);
