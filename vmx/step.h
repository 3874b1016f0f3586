/* SPDX-License-Identifier: MIT */
/*
 * Stepping: the CPU itself executes one instruction of the guest under other conditions than usual, and
 * the monitor trap flag brings it back (SDM volume 3, "Monitor Trap Flag"). That is how an access to a
 * device is done by an instruction that Rivet does not emulate: a page of RAM stands where the device
 * is, holding what the device answered, and what the instruction wrote there goes to the device.
 *
 * Nothing is delivered to the guest before the instruction: blocking by MOV SS keeps interrupts and
 * NMIs away. Other vCPUs do not see the page: the EPT it is in belongs to this vCPU.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/ept.h"

struct vcpu;

/* The guest-physical bytes of an access: one part, or two where it crosses a page. */
struct step_access {
    uint64_t gpa[2];
    unsigned size[2];  /* 0: no such part */
    bool write;        /* the instruction writes them (it may read them too) */
    uint64_t next_rip; /* where the instruction ends, so that it can be told from a fault */
};

#define STEP_NO_PAGE (~0ULL)

struct step {
    bool active;
    struct ept_overlay overlay;
    uint8_t *page; /* stands where the device is */
    struct ept view;
    uint64_t base;    /* guest-physical address of page; STEP_NO_PAGE */
    uint32_t without; /* secondary controls that are off meanwhile */
    struct step_access access;
};

/* Allocate what a vCPU needs for stepping. NULL when out of memory. Boot CPU. */
struct step *step_create(void);

/*
 * Execute the instruction at RIP by the CPU, with RAM at the 4 KiB page base. Those parts of the access
 * that lie there are read from their device now, and written to it when the instruction has done so.
 * Ends the handling of the exit. Owner, root mode, VMCS current, no event to deliver.
 */
void step_begin(struct vcpu *vcpu, uint64_t base, const struct step_access *access);

/*
 * Execute the instruction at RIP by the CPU with these secondary controls off, which made it exit. Same
 * conditions.
 */
void step_begin_without(struct vcpu *vcpu, uint32_t controls);

/*
 * Around VM entries, while a step is active. prepare: right before one, after apic_port_flush. exited: for
 * each exit before it is handled; any exit but one that came from outside ends a step. Owner, root mode, VMCS current.
 */
void step_prepare(struct vcpu *vcpu);
void step_exited(struct vcpu *vcpu);

/* Forget a step under way: the vCPU starts anew. Owner, root mode, VMCS current. */
void step_cancel(struct vcpu *vcpu);
