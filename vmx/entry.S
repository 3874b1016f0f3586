/* SPDX-License-Identifier: MIT */
/*
 * VM entry and exit: switches the general registers, nothing else (SDM volume 3, chapters "VM Entries"
 * and "VM Exits"). The host's RSP goes to the VMCS only when it differs from what is there.
 */
#include "vmx/entry.h"

#define HOST_RSP_FIELD 0x6C14 /* VMCS_HOST_RSP */

/* General registers in struct vcpu, in ModRM order; RSP's slot is unused. */
#define RAX_SLOT 0x00
#define RCX_SLOT 0x08
#define RDX_SLOT 0x10
#define RBX_SLOT 0x18
#define RBP_SLOT 0x28
#define RSI_SLOT 0x30
#define RDI_SLOT 0x38
#define R8_SLOT  0x40
#define R9_SLOT  0x48
#define R10_SLOT 0x50
#define R11_SLOT 0x58
#define R12_SLOT 0x60
#define R13_SLOT 0x68
#define R14_SLOT 0x70
#define R15_SLOT 0x78

    .text
    .globl vcpu_enter
    .globl vcpu_exit_point
    .type vcpu_enter, @function
vcpu_enter:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    cmpq VCPU_HOST_RSP(%rdi), %rsp
    je 1f
    movl $HOST_RSP_FIELD, %eax
    vmwrite %rsp, %rax
    jbe .Lfailed
    movq %rsp, VCPU_HOST_RSP(%rdi)
1:
    testb %sil, %sil /* MOV leaves the flags alone */
    movq RAX_SLOT(%rdi), %rax
    movq RCX_SLOT(%rdi), %rcx
    movq RDX_SLOT(%rdi), %rdx
    movq RBX_SLOT(%rdi), %rbx
    movq RBP_SLOT(%rdi), %rbp
    movq RSI_SLOT(%rdi), %rsi
    movq R8_SLOT(%rdi), %r8
    movq R9_SLOT(%rdi), %r9
    movq R10_SLOT(%rdi), %r10
    movq R11_SLOT(%rdi), %r11
    movq R12_SLOT(%rdi), %r12
    movq R13_SLOT(%rdi), %r13
    movq R14_SLOT(%rdi), %r14
    movq R15_SLOT(%rdi), %r15
    movq RDI_SLOT(%rdi), %rdi
    jnz 2f
    vmlaunch
    jmp .Lfailed
2:
    vmresume
.Lfailed:
    movl $1, %eax
    jmp .Lreturn

vcpu_exit_point:
    pushq %rdi
    movq 8(%rsp), %rdi
    movq %rax, RAX_SLOT(%rdi)
    movq %rcx, RCX_SLOT(%rdi)
    movq %rdx, RDX_SLOT(%rdi)
    movq %rbx, RBX_SLOT(%rdi)
    movq %rbp, RBP_SLOT(%rdi)
    movq %rsi, RSI_SLOT(%rdi)
    movq %r8, R8_SLOT(%rdi)
    movq %r9, R9_SLOT(%rdi)
    movq %r10, R10_SLOT(%rdi)
    movq %r11, R11_SLOT(%rdi)
    movq %r12, R12_SLOT(%rdi)
    movq %r13, R13_SLOT(%rdi)
    movq %r14, R14_SLOT(%rdi)
    movq %r15, R15_SLOT(%rdi)
    popq RDI_SLOT(%rdi)
    /* No guest value stays in a register that speculation in Rivet might use. */
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
.Lreturn:
    popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size vcpu_enter, . - vcpu_enter
    .section .note.GNU-stack, "", @progbits
