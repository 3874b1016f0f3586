/* SPDX-License-Identifier: MIT */
/* Per-CPU data of the host, reached through GS. */
#pragma once

#include <stdint.h>

enum { MAX_CPUS = 64 };

struct vmx_cpu;

struct cpu {
    struct cpu *self;      /* at GS:0 */
    uint32_t index;        /* 0 .. cpu_count()-1; 0 is the boot CPU */
    uint32_t apic_id;      /* host (x2)APIC id */
    struct vmx_cpu *vmx;   /* owned by vmx/: VMXON region, current vCPU, run queue */
    struct arch_cpu *arch; /* owned by arch/: GDT, TSS, stacks */
};

/* The CPU this code runs on. Any context after cpu_init of that CPU. */
static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;
    __asm__("movq %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

/* CPUs that were started, and the index-th of them. After smp_start. Any context. */
unsigned cpu_count(void);
struct cpu *cpu_by_index(unsigned index);
