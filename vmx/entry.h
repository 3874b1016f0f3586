/* SPDX-License-Identifier: MIT */
/* The way into the guest and back (SDM volume 3, chapters "VM Entries" and "VM Exits"); entry.S. */
#pragma once

/* Offset of host_rsp in struct vcpu, for entry.S. */
#define VCPU_HOST_RSP 128

#ifndef __ASSEMBLER__

#include <stdbool.h>

struct vcpu;

/*
 * VMLAUNCH (launched false) or VMRESUME with the vCPU's general registers, and back at its next exit
 * with them saved. Returns 0 after an exit; 1 when the instruction failed (VM-instruction error field
 * if there is a current VMCS). Owner, VMCS current, interrupts off.
 */
int vcpu_enter(struct vcpu *vcpu, bool launched);

/* HOST_RIP: where exits arrive, inside vcpu_enter. */
extern char vcpu_exit_point[];

#endif
