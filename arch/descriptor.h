/* SPDX-License-Identifier: MIT */
/* Segments, TSS, GDT and stacks of each CPU (SDM volume 3, "Protected Mode Memory Management"). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "arch/cpu.h"
#include "arch/layout.h"
#include "lib/bits.h"

enum { GDT_ENTRIES = 5 }; /* null, code, data, TSS in two */

/* IST indices in IDT gates (1-based, as in the gate). */
enum { IST_NONE = 0, IST_NMI = 1, IST_DF = 2, IST_MC = 3 };

/* Stacks of one CPU. Each grows down into an unmapped guard page. Page aligned. */
struct cpu_stacks {
    uint8_t main_guard[STACK_GUARD_SIZE];
    uint8_t main[STACK_SIZE];
    uint8_t nmi_guard[STACK_GUARD_SIZE];
    uint8_t nmi[IST_STACK_SIZE];
    uint8_t df_guard[STACK_GUARD_SIZE];
    uint8_t df[IST_STACK_SIZE];
    uint8_t mc_guard[STACK_GUARD_SIZE];
    uint8_t mc[IST_STACK_SIZE];
};
_Static_assert(STACK_GUARD_SIZE == PAGE_SIZE, "a guard is one page");
_Static_assert(sizeof(struct cpu_stacks) % PAGE_SIZE == 0, "guards must be whole pages");
_Static_assert(offsetof(struct cpu_stacks, main) + STACK_SIZE == STACK_MAIN_TOP, "boot/entry.S");

/* 64-bit task-state segment. */
struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_bitmap;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "64-bit TSS, SDM volume 3 section 8.7");

/* Operand of LGDT and LIDT. */
struct descriptor_table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* What arch/ keeps for a CPU; struct cpu points at it. vmx/ reads gdt and tss for the host state. */
struct arch_cpu {
    uint64_t gdt[GDT_ENTRIES];
    struct tss tss;
    struct cpu_stacks *stacks;
};

/*
 * Fill the GDT, TSS and stack pointers of a CPU that has stacks. Touches no register: any CPU may
 * prepare another one's.
 */
void descriptor_prepare(struct cpu *cpu);

/*
 * Load GDT, segment registers, TSS, the common IDT and GS base on this CPU: this_cpu() works from
 * here on. The CPU it belongs to, once, interrupts off, after descriptor_prepare.
 */
void descriptor_load(struct cpu *cpu);

/* Address and limit of the IDT that all CPUs share. Any context after exception_init. */
struct descriptor_table descriptor_idt(void);
