/* SPDX-License-Identifier: MIT */
/* Segments, TSS and GDT of each CPU (SDM volume 3, "Protected Mode Memory Management", 64-bit). */
#include "arch/descriptor.h"

#include "arch/msr.h"

#define GDT_CODE64        0x00AF9B000000FFFFULL
#define GDT_DATA          0x00CF93000000FFFFULL
#define GDT_TSS_AVAILABLE 0x0000890000000000ULL

static uint64_t top_of(uint8_t *stack, uint64_t size)
{
    return (uintptr_t)stack + size;
}

/* A TSS descriptor has two slots: base and limit are scattered (SDM volume 3, figure 8-4). */
static void set_tss_descriptor(uint64_t slots[2], uint64_t base)
{
    slots[0] = GDT_TSS_AVAILABLE | (sizeof(struct tss) - 1) | (base & 0xFFFFFF) << 16 |
               (base >> 24 & 0xFF) << 56;
    slots[1] = base >> 32;
}

void descriptor_prepare(struct cpu *cpu)
{
    struct arch_cpu *arch = cpu->arch;
    struct cpu_stacks *stacks = arch->stacks;
    cpu->self = cpu;
    arch->tss = (struct tss){ .io_bitmap = sizeof(struct tss) };
    arch->tss.ist[IST_NMI - 1] = top_of(stacks->nmi, sizeof(stacks->nmi));
    arch->tss.ist[IST_DF - 1] = top_of(stacks->df, sizeof(stacks->df));
    arch->tss.ist[IST_MC - 1] = top_of(stacks->mc, sizeof(stacks->mc));
    arch->gdt[SELECTOR_NULL / 8] = 0;
    arch->gdt[SELECTOR_CODE / 8] = GDT_CODE64;
    arch->gdt[SELECTOR_DATA / 8] = GDT_DATA;
    set_tss_descriptor(&arch->gdt[SELECTOR_TSS / 8], (uintptr_t)&arch->tss);
}

static void load_segments(void)
{
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1: movw %w1, %%ds\n\t"
                     "movw %w1, %%es\n\t"
                     "movw %w1, %%ss\n\t"
                     "movw %w2, %%fs\n\t"
                     "movw %w2, %%gs\n\t"
                     :
                     : "i"(SELECTOR_CODE), "r"(SELECTOR_DATA), "r"(SELECTOR_NULL)
                     : "rax", "memory");
}

void descriptor_load(struct cpu *cpu)
{
    struct descriptor_table gdt = { sizeof(cpu->arch->gdt) - 1, (uintptr_t)cpu->arch->gdt };
    struct descriptor_table idt = descriptor_idt();
    __asm__ volatile("lgdt %0" : : "m"(gdt) : "memory");
    load_segments();
    __asm__ volatile("lidt %0" : : "m"(idt) : "memory");
    __asm__ volatile("lldt %w0" : : "r"(SELECTOR_NULL) : "memory");
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS) : "memory");
    wrmsr(IA32_FS_BASE, 0);
    wrmsr(IA32_GS_BASE, (uintptr_t)cpu);
}
