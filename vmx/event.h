/* SPDX-License-Identifier: MIT */
/* Events for the guest: exceptions, NMI, external interrupts, re-injection (SDM volume 3, "Event Injection"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/x86.h" /* exception vectors */
#include "lib/bits.h"

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

/*
 * Delivering an exception ends the blocking by STI and MOV SS that the instruction before it began. VM
 * entry would refuse a shadow with RFLAGS.TF set and no single step pending. Owner, VMCS current.
 */
void event_end_shadow(void);

/* One iteration of a repeated instruction is done, RIP stays: #DB single step pending if RFLAGS.TF. */
void event_iteration_done(struct vcpu *vcpu);

/* Three faults in a row: what the VM says about that. Any CPU's exit path. */
void event_triple_fault(struct vcpu *vcpu);

/*
 * For run.c. collect: after an exit during which the delivery of an event may have been cut short,
 * take that event for re-injection. nmi_deliverable: would an NMI be delivered at this instruction?
 * prepare: choose what the next entry injects, open or close the windows; vcpu->mode is GUEST already.
 * Owner, VMCS current.
 */
void event_collect(struct vcpu *vcpu);
bool event_nmi_deliverable(const struct vcpu *vcpu);
void event_prepare(struct vcpu *vcpu);

/*
 * An NMI for the vCPU. A running CPU takes an NMI at once and latches one more until its handler's IRET,
 * so up to two wait here, one while the guest is in its handler; more are lost. Any CPU; then kick.
 */
void event_post_nmi(struct vcpu *vcpu);

/* VM-entry interruption-information field, and the same format elsewhere. */
#define EVENT_VECTOR                             0xFFU
#define EVENT_TYPE                               0x700U
#define EVENT_ERROR_CODE                         BIT32(11)
#define EVENT_VALID                              BIT32(31)
#define EVENT_TYPE_EXTERNAL_INTERRUPT            0x000U
#define EVENT_TYPE_NMI                           0x200U
#define EVENT_TYPE_HARDWARE_EXCEPTION            0x300U
#define EVENT_TYPE_SOFTWARE_INTERRUPT            0x400U
#define EVENT_TYPE_PRIVILEGED_SOFTWARE_EXCEPTION 0x500U
#define EVENT_TYPE_SOFTWARE_EXCEPTION            0x600U
#define EVENT_NMI_UNBLOCKING_IRET                BIT32(12) /* VM-exit interruption information */

/* Interruptibility state */
#define INTERRUPTIBILITY_STI    BIT(0)
#define INTERRUPTIBILITY_MOV_SS BIT(1)
#define INTERRUPTIBILITY_NMI    BIT(3)

/* Pending debug exceptions */
#define PENDING_DEBUG_BS BIT(14) /* single step */
