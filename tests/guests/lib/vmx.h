/* SPDX-License-Identifier: MIT */
/*
 * A small VMX harness: one nested guest that shares the page tables, IDT and GDT of the CPU that enters
 * it (SDM volume 3, chapters "Introduction to Virtual Machine Extensions" to "VM Exits").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/bits.h"
#include "vmx/controls.h"
#include "vmx/exit_reasons.h"
#include "vmx/vmcs.h"

/* What vmx_enter returns when no VM exit happened: this plus the VM-instruction error number. */
enum { VMX_ENTRY_FAILED = 0x10000 };

/* Guest activity states. */
enum { ACTIVITY_ACTIVE = 0, ACTIVITY_HLT = 1, ACTIVITY_SHUTDOWN = 2, ACTIVITY_WAIT_FOR_SIPI = 3 };

/* General registers of the guest while it is not running; RSP and RIP are in the VMCS. */
struct vmx_registers {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};

/* A guest of the guest: all zero, except the controls that it shall have. */
struct vmx_guest {
    uint8_t vmcs[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
    uint8_t virtual_apic[PAGE_SIZE]; /* in use with the TPR shadow */
    uint8_t stack[PAGE_SIZE];
    uint32_t pin;
    uint32_t primary;
    uint32_t secondary;
    uint32_t exit_controls;
    struct vmx_registers registers;
    bool launched;
};

/* Whether CPUID and IA32_FEATURE_CONTROL let this CPU enter VMX operation. */
bool vmx_usable(void);

/* Whether this CPU can set these controls to 1. */
bool vmx_offers(uint32_t pin, uint32_t primary, uint32_t secondary);

/* VMXON with a region of this CPU; VMXOFF. */
void vmx_on(void);
void vmx_off(void);

/*
 * Make the VMCS of this guest, with the controls it names, and make it current: 64-bit, same address
 * space, starts at code with IF=0 on its own stack, active, RVI and SVI 0, TPR 0. The CPU must be in
 * VMX root operation and stay the one that enters the guest.
 */
void vmx_prepare(struct vmx_guest *guest, void (*code)(void));

/* Enter; returns the basic exit reason, or VMX_ENTRY_FAILED + error. */
unsigned vmx_enter(struct vmx_guest *guest);

/* Let the guest run at most that many TSC ticks per entry: exit
 * EXIT_REASON_PREEMPTION_TIMER. */
void vmx_limit(uint32_t ticks);

/* RVI and SVI. */
void vmx_set_interrupt_status(uint8_t rvi, uint8_t svi);
uint8_t vmx_rvi(void);

/* Set a bit of VIRR in the virtual-APIC page, as software does before it raises RVI. */
void vmx_set_virr(struct vmx_guest *guest, uint8_t vector);

/* For the code of the guest: exit with EXIT_REASON_VMCALL. */
static inline void vmx_vmcall(void)
{
    __asm__ volatile("vmcall" : : : "memory");
}
