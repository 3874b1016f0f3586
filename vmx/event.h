/* SPDX-License-Identifier: MIT */
/* Events for the guest: exceptions, NMI, external interrupts, re-injection (SDM volume 3, "Event Injection"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/x86.h" /* exception vectors */

struct vcpu;

/*
 * Raise an exception at the guest's current instruction (a fault: RIP stays). Combines with an event
 * whose delivery the exit interrupted as the SDM says (double fault, triple fault kills or resets the
 * VM). Owner, root mode, VMCS current. At most one exception per exit.
 */
void event_raise(struct vcpu *vcpu, uint8_t vector);
void event_raise_code(struct vcpu *vcpu, uint8_t vector, uint32_t error_code);
void event_raise_page_fault(struct vcpu *vcpu, uint64_t address,
                            uint32_t error_code); /* sets CR2 */

/* The exiting instruction is done: RIP past it, STI/MOV-SS shadow cleared, #DB single step pending if RFLAGS.TF. */
void event_instruction_done(struct vcpu *vcpu);

/*
 * The same for an instruction that Rivet decoded itself, of that length in bytes: exits by EPT violation
 * and APIC access report no instruction length.
 */
void event_instruction_skip(struct vcpu *vcpu, unsigned length);
