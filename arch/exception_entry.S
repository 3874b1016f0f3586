/* SPDX-License-Identifier: MIT */
/*
 * Entry from the IDT: 256 stubs that lead to exception_entry with struct exception_frame on the stack
 * (SDM volume 3, "Exception and Interrupt Handling in 64-bit Mode").
 */
#define HAS_ERROR_CODE 0x60227D00 /* vectors 8, 10-14, 17, 21, 29, 30 */
#define STUB_SIZE 16

    .text
    .balign STUB_SIZE
    .globl exception_stubs
exception_stubs:
    .set vector, 0
    .rept 256
    .balign STUB_SIZE
    .if vector >= 32
    pushq $0
    .elseif !((HAS_ERROR_CODE >> vector) & 1)
    pushq $0
    .endif
    pushq $vector
    jmp exception_common
    .set vector, vector + 1
    .endr

exception_common:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call exception_entry /* the CPU aligned the stack to 16, 22 words keep it so */
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp /* vector, error code */
    iretq

    .section .note.GNU-stack, "", @progbits
