/* SPDX-License-Identifier: MIT */
/* VM entry and exit of the VMX harness (SDM volume 3, chapters "VM Entries" and "VM Exits"). */

#define VMCS_HOST_RSP 0x6C14
#define VMCS_HOST_RIP 0x6C16

/* Offsets in struct vmx_registers. */
#define RAX 0
#define RCX 8
#define RDX 16
#define RBX 24
#define RBP 32
#define RSI 40
#define RDI 48
#define R8 56
#define R9 64
#define R10 72
#define R11 80
#define R12 88
#define R13 96
#define R14 104
#define R15 112

    .text
/* bool vmx_run(struct vmx_registers *registers, bool resume): true if the guest was entered. */
    .globl vmx_run
vmx_run:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    movq $VMCS_HOST_RSP, %rax
    vmwrite %rsp, %rax
    movq $VMCS_HOST_RIP, %rax
    movq $exited, %rcx
    vmwrite %rcx, %rax
    testb %sil, %sil
    movq RAX(%rdi), %rax
    movq RCX(%rdi), %rcx
    movq RDX(%rdi), %rdx
    movq RBX(%rdi), %rbx
    movq RBP(%rdi), %rbp
    movq RSI(%rdi), %rsi
    movq R8(%rdi), %r8
    movq R9(%rdi), %r9
    movq R10(%rdi), %r10
    movq R11(%rdi), %r11
    movq R12(%rdi), %r12
    movq R13(%rdi), %r13
    movq R14(%rdi), %r14
    movq R15(%rdi), %r15
    movq RDI(%rdi), %rdi
    jnz 1f
    vmlaunch
    jmp 2f
1:  vmresume
2:  popq %rdi
    xorl %eax, %eax
    jmp 3f

exited:
    pushq %rdi
    movq 8(%rsp), %rdi
    movq %rax, RAX(%rdi)
    movq %rcx, RCX(%rdi)
    movq %rdx, RDX(%rdi)
    movq %rbx, RBX(%rdi)
    movq %rbp, RBP(%rdi)
    movq %rsi, RSI(%rdi)
    movq %r8, R8(%rdi)
    movq %r9, R9(%rdi)
    movq %r10, R10(%rdi)
    movq %r11, R11(%rdi)
    movq %r12, R12(%rdi)
    movq %r13, R13(%rdi)
    movq %r14, R14(%rdi)
    movq %r15, R15(%rdi)
    popq %rax
    movq %rax, RDI(%rdi)
    popq %rdi
    movl $1, %eax
3:  popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
