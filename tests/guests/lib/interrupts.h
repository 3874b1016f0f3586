/* SPDX-License-Identifier: MIT */
/* The guest's IDT and who handles what (SDM volume 3, chapter "Interrupt and Exception Handling"). */
#pragma once

#include <stdint.h>

#include "arch/fixup.h"

struct interrupt_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector;
    uint64_t error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

typedef void (*interrupt_handler)(struct interrupt_frame *frame);

/* Build the IDT. Boot CPU, once; the library does it. */
void interrupts_init(void);

/* Load it on this CPU. Any CPU. */
void interrupts_load(void);

/*
 * Handle a vector from now on; NULL for the default: an exception continues at its fixup
 * (arch/fixup.h) or ends the guest with a failure, so does an unexpected interrupt. The handler runs
 * with interrupts off on the CPU that got the interrupt; EOI is its business. Any CPU.
 */
void interrupt_set_handler(unsigned vector, interrupt_handler handler);

/*
 * Execute one instruction (a string; operands and clobbers follow, as in an asm statement) and tell
 * what it raised: the vector of the exception, or NO_FAULT. Its error code: guest_fault.error_code.
 * The registers are as they were before an instruction that faulted. One CPU at a time, no handler
 * set for the exceptions.
 */
enum { NO_FAULT = 256 };
struct guest_fault {
    unsigned vector;
    uint64_t error_code;
};
extern volatile struct guest_fault guest_fault;
#define FAULT_OF(instruction, ...)                                                            \
    ({                                                                                        \
        guest_fault.vector = NO_FAULT;                                                        \
        __asm__ volatile("1: " instruction "\n2:\n" EXCEPTION_FIXUP("1b", "2b") __VA_ARGS__); \
        guest_fault.vector;                                                                   \
    })

/* Base and limit of the IDT: for the state of a VMX guest. */
uint64_t interrupts_idt_base(void);
enum { INTERRUPTS_IDT_LIMIT = 256 * 16 - 1 };
