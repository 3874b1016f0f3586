/* SPDX-License-Identifier: MIT */
/* A virtual CPU: registers, VMCS, local APIC, scheduling state. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apic/lapic.h"
#include "arch/paging.h"
#include "lib/bits.h"
#include "vmx/entry.h"
#include "vmx/stats.h"

struct cpu;
struct vm;
struct xstate;    /* xstate.h: x87/SSE/AVX state, XCR0, IA32_XSS */
struct step;      /* step.h: an instruction under way */
struct msr_state; /* msr.h: MSRs without a VMCS field */

/*
 * General registers in the order of their encoding in ModRM and exit qualifications. gpr[RSP] is
 * unused: RSP, RIP and RFLAGS live in the VMCS.
 */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPR_COUNT };

/*
 * How a boot protocol wants the boot vCPU to start. long_mode: 64-bit with paging on cr3 (page tables
 * in guest memory), flat segments; else 32-bit protected mode, paging off, flat segments.
 */
struct vcpu_boot_state {
    bool long_mode;
    uint64_t rip, rsp;
    uint64_t cr3;            /* long_mode only */
    uint64_t gpr[GPR_COUNT]; /* RSP slot unused */
    uint64_t gdt_base;       /* guest-physical GDT that the selectors below come from */
    uint16_t gdt_limit;
    uint16_t cs, ds;   /* selectors; cached descriptors are flat */
    bool virtual_wire; /* the local APIC as a PC's firmware leaves it, for a VM with an 8259 pair */
};

/*
 * Where a vCPU is, for those who want its attention (memory order: apic_port.c). BLOCKED: its CPU
 * does not run it until somebody moves it to ROOT. GUEST is entered before the last look at requests.
 */
enum vcpu_mode { VCPU_ROOT, VCPU_GUEST, VCPU_BLOCKED };

/* Why a vCPU executes nothing (SDM volume 3, "Guest Non-Register State", activity state). */
enum vcpu_activity { VCPU_ACTIVE, VCPU_HLT, VCPU_WAIT_FOR_SIPI };

/* VMCS fields whose value is held here and written before the next entry. */
enum vcpu_stale {
    STALE_APIC_CONTROLS = 1 << 0, /* all that follows from the local APIC's mode */
    STALE_EOI_EXIT_BITMAP = 1 << 1,
    STALE_TPR_THRESHOLD = 1 << 2,
    STALE_INTERRUPT_STATUS = 1 << 3,
    STALE_START = 1 << 4, /* all guest state: boot state, or waiting for SIPI */
};

/* An event for the next entry, in the format of the VM-entry fields; bit 31 of info: there is one. */
struct vcpu_event {
    uint32_t info;
    uint32_t error_code;
    uint32_t instruction_length;
};

struct vcpu {
    uint64_t gpr[GPR_COUNT]; /* guest's; RSP lives in the VMCS. First: entry.S counts on it */
    uint64_t host_rsp;       /* VMCS_HOST_RSP; entry.S */
    struct vm *vm;
    unsigned index; /* in the VM; also its x2APIC id */
    struct lapic lapic;
    struct vcpu_stats stats;

    /* Any CPU. */
    _Atomic uint32_t mode;        /* enum vcpu_mode */
    _Atomic uint32_t nmi_pending; /* NMIs that wait: 0 to 2 (event_post_nmi) */
    _Atomic bool parked;          /* counted as stopped for the end or a reset of its VM */
    struct cpu *home;             /* the CPU that runs it; fixed by vm_start */

    struct paging_hole hole; /* its virtual-APIC page, when protected */

    /* The rest: the home CPU only. */
    enum vcpu_activity activity;
    bool halt_in_vmcs;     /* the activity state in the VMCS is HLT; halt.c */
    unsigned halt_entries; /* VM entries in HLT since the guest executed it */

    /* The exit being handled. */
    uint32_t exit_reason;      /* basic exit reason */
    struct vcpu_event event;   /* what the next entry delivers: re-injected or raised */
    bool delivery_interrupted; /* event was being delivered when the exit happened */

    /* VMCS, and what is known to be in it so that only changes are written. */
    void *vmcs;
    uint16_t vpid;   /* 0: the CPU has no VPIDs */
    bool vmcs_ready; /* initialized, by its home CPU */
    bool launched;
    uint32_t pin_controls, primary_controls, secondary_controls;
    uint8_t *msr_bitmap;  /* 4 KiB; msr.c fills it, apic_port.c the part of the x2APIC registers */
    uint32_t timer_value; /* VMX-preemption timer */
    int64_t tsc_offset;
    uint32_t stale; /* enum vcpu_stale */
    uint64_t eoi_exit_bitmap[4];
    uint8_t tpr_threshold;
    uint16_t interrupt_status;   /* when interrupt_status_known */
    bool interrupt_status_known; /* read since the last exit */
    struct vcpu_boot_state boot; /* of vCPU 0 */

    struct step *step;               /* step.c */
    struct apic_window *apic_window; /* apic_window.c */

    /* State that is in the CPU's registers while this was the last vCPU loaded there, else here. */
    struct xstate *xstate;  /* xstate.c */
    struct msr_state *msrs; /* msr.c */
    uint64_t cr2;
    uint64_t dr[4];
    uint64_t dr6;
};

_Static_assert(offsetof(struct vcpu, host_rsp) == VCPU_HOST_RSP, "entry.S counts on it");

static inline struct vcpu *vcpu_of_lapic(struct lapic *lapic)
{
    return CONTAINER_OF(lapic, struct vcpu, lapic);
}

/*
 * Create the index-th vCPU of vm with that home CPU. vCPU 0 needs vcpu_set_boot_state before it runs;
 * the others wait for SIPI. NULL when out of memory. Boot CPU before VMs run.
 */
struct vcpu *vcpu_create(struct vm *vm, unsigned index, unsigned home_cpu);

/* Put a vCPU to a boot protocol's start. Not while it runs. */
void vcpu_set_boot_state(struct vcpu *vcpu, const struct vcpu_boot_state *state);

/* Hand the VM's vCPUs to their home CPUs' run queues. Boot CPU, after everything is configured. */
void vm_start(struct vm *vm);

/* The scheduling loop of a CPU: run vCPUs, idle, for good. Every CPU, at the end of start-up. */
_Noreturn void vcpu_scheduler_run(void);

/*
 * Power-up reset: vCPU 0 to its boot state, the others wait for SIPI. The caller owns the vCPU: it is
 * parked, or new.
 */
void vcpu_reset(struct vcpu *vcpu);

/*
 * Make this the vCPU whose VMCS is current and whose state is in this CPU's registers, saving the last
 * one's. Home CPU, root mode, interrupts off.
 */
void vcpu_load(struct vcpu *vcpu);

/* Save the state of the vCPU that is loaded here, if any; none is afterwards. Root mode, interrupts off. */
void vcpu_unload(void);
