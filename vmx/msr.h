/* SPDX-License-Identifier: MIT */
/*
 * MSRs of guests: which exist, what reads return, what writes accept (SDM volume 4), and the MSRs that
 * live in the CPU while a vCPU is loaded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/mtrr.h"

struct vcpu;
struct vm;

/* MSRs of one vCPU that have no field in the VMCS. */
struct msr_state {
    /* In the CPU's own MSRs while the vCPU is loaded there: valid here only when it is not. */
    uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, spec_ctrl;

    uint64_t tsc_adjust;
    struct mtrr mtrr;
    uint64_t misc_enable;
    uint64_t mcg_status;
};

/*
 * Read the host's MSRs that policy depends on, and give the syscall MSRs of this CPU known values.
 * Every CPU, before vCPUs are created.
 */
void msr_enable_cpu(void);

/* Allocate the state of a vCPU, as after power-up. NULL when out of memory. */
struct msr_state *msr_create(void);

/* Power-up reset of the MSRs in msr_state (INIT leaves them alone). The vCPU is not loaded on a CPU. */
void msr_reset(struct msr_state *msrs);

/*
 * Which MSRs a guest reaches without an exit: fill a 4 KiB MSR bitmap. The part of the x2APIC registers
 * (800H-8FFH) is left "all exit"; apic_port.c changes it with the local APIC's mode (msr_bitmap.h).
 */
void msr_bitmap_init(uint8_t *bitmap);

/*
 * Load the MSRs that the guest reaches directly into this CPU / save them. When a CPU changes vCPU, and
 * before a vCPU moves to another CPU. Root mode, interrupts off.
 */
void msr_load(struct msr_state *msrs);
void msr_save(struct msr_state *msrs);

/*
 * RDMSR/WRMSR as the guest would do it: 0 or ERR_GP. Owner, root mode, VMCS current, state loaded.
 * nested/ uses them for the MSR lists of L1 too.
 */
int msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
int msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);
