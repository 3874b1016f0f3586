/* SPDX-License-Identifier: MIT */
/* Exceptions of Rivet's own code: fixups, NMI, and the dump (SDM volume 3, chapter 6). */
#pragma once

#include <stdint.h>

/* What arch/exception_entry.S pushes, lowest address first. */
struct exception_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector;
    uint64_t error_code; /* 0 for vectors that have none */
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct exception_frame) == 22 * 8, "exception_entry.S pushes 22 words");

/* Fill the IDT that all CPUs share. Boot CPU, once, before the first descriptor_load. */
void exception_init(void);

/* Mnemonic of an exception vector ("#PF"), "vector" when it has none. Any context. */
const char *exception_name(uint64_t vector);

/*
 * Have handler called for each NMI that is not Rivet's own stop request. It runs on the NMI stack
 * and takes no lock. Boot CPU, before the other CPUs start; without one an NMI is counted only.
 */
void exception_set_nmi_handler(void (*handler)(void));

/*
 * Serve an NMI that arrived as a VM exit. Does not return when a panicking CPU has asked this one to
 * stop. Interrupts off.
 */
void exception_nmi(void);

/*
 * Stop all other CPUs by NMI, for panic: returns when they have stopped, or after a bounded wait.
 * Any CPU, any context.
 */
void exception_stop_others(void);

/*
 * Log rip (0: leave it out) and the chain of its callers, from a frame pointer on; stops at anything
 * that is not on a stack of this CPU.
 */
void backtrace_log(uint64_t rip, uint64_t frame_pointer);
