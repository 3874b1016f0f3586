/* SPDX-License-Identifier: MIT */
/*
 * The way of task_switch.c: from 64-bit mode to 32-bit protected mode without paging, where tasks switch
 * to each other, and back. Each notes what it sees; task_switch.c knows the order.
 */
    .globl tasks_travel, tasks_gdt_pointer, tasks_idt_pointer, tasks_saved_cr0
    .globl task_jumped, task_called, task_fault, task_16, task_trapped, task_bad, task_refused
    .globl tasks_debug, tasks_after_fault, tasks_after_jump, tasks_after_bad
    .globl tasks_notes, tasks_count

    .set SELECTOR_MAIN, 0x30
    .set SELECTOR_JUMPED, 0x38
    .set SELECTOR_CALLED, 0x40
    .set SELECTOR_16, 0x50
    .set SELECTOR_TRAPPED, 0x58
    .set SELECTOR_BAD, 0x60
    .set SELECTOR_BEYOND, 0xF8

    .text
    .code64
tasks_travel:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, stack
    lgdt tasks_gdt_pointer
    pushq $0x18
    pushq $down
    lretq
back:
    movq stack, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

    .code32
/* Append EAX to the notes. */
note:
    pushl %ecx
    movl tasks_count, %ecx
    movl %eax, tasks_notes(, %ecx, 4)
    incl tasks_count
    popl %ecx
    ret

/* What each task notes at its start: TR, NT, CR0.TS, busy bytes of MAIN's descriptor and of its own. */
note_task:
    pushl %edx
    xorl %eax, %eax
    str %ax
    movl %eax, %edx
    call note
    pushfl
    popl %eax
    andl $0x4000, %eax
    call note
    movl %cr0, %eax
    andl $8, %eax
    call note
    clts
    movl tasks_gdt_pointer + 2, %eax
    movzbl SELECTOR_MAIN + 5(%eax), %eax
    call note
    addl tasks_gdt_pointer + 2, %edx
    movzbl 5(%edx), %eax
    call note
    popl %edx
    ret

down:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $main_stack, %esp
    movl %cr0, %eax
    movl %eax, tasks_saved_cr0
    andl $0x7FFFFFFF, %eax
    movl %eax, %cr0
    movl $0xC0000080, %ecx
    rdmsr
    andl $~0x100, %eax
    wrmsr
    lidt tasks_idt_pointer
    movw $SELECTOR_MAIN, %ax
    ltr %ax

    movl $0x11223344, %ebx
    ljmp $SELECTOR_JUMPED, $0
tasks_after_jump:
    movl %ebx, %eax
    call note
    call note_task

    lcall $SELECTOR_CALLED, $0
    call note_task
    int $0x50
    call note_task

    movw $SELECTOR_BEYOND, %ax
    movw %ax, %fs /* #GP through a task gate */
tasks_after_fault:
    call note_task

    movl $0xABCD1234, %ecx
    lcall $SELECTOR_16, $0
    call note_task

    lcall $SELECTOR_TRAPPED, $0
    call note_task

    ljmp $SELECTOR_BAD, $0 /* #TS in the new task */
tasks_after_bad:
    call note_task

    movl $0xC0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl tasks_saved_cr0, %eax
    movl %eax, %cr0
    ljmp $0x08, $back

task_jumped:
    call note_task
    movl %esi, %eax
    call note
    xorl %eax, %eax
    movw %fs, %ax
    call note
    ljmp $SELECTOR_MAIN, $0

/* By CALL, then by INT: each IRET returns, the next switch goes on after it. */
task_called:
    call note_task
    iretl
    call note_task
    iretl

/* The error code is on the stack; the faulting task goes on behind its instruction. */
task_fault:
    popl %eax
    call note
    movl tasks_main, %eax
    movl $tasks_after_fault, 0x20(%eax)
    call note_task
    iretl

    .code16
/* It cannot call 32-bit code: notes ECX, TR and NT itself. */
task_16:
    movl $tasks_count, %ebx
    movl (%ebx), %esi
    addl $3, (%ebx)
    movl $tasks_notes, %edi
    movl %ecx, (%edi, %esi, 4) /* the upper half too */
    xorl %eax, %eax
    str %ax
    movl %eax, 4(%edi, %esi, 4)
    pushfl
    popl %eax
    andl $0x4000, %eax
    movl %eax, 8(%edi, %esi, 4)
    clts
    iretw
    .code32

task_trapped:
    call note_task
    iretl

/* #DB in the task that it trapped, before its first instruction. */
tasks_debug:
    pushl %eax
    movl %dr6, %eax
    andl $0xE00F, %eax
    call note
    movl 4(%esp), %eax
    subl $task_trapped, %eax
    call note
    xorl %eax, %eax
    movl %eax, %dr6
    popl %eax
    iretl

task_bad:
    call note_task /* not reached */
    ljmp $SELECTOR_MAIN, $0

task_refused:
    popl %eax
    call note
    call note_task
    pushfl /* NT away: MAIN is not what it returns to */
    andl $~0x4000, (%esp)
    popfl
    ljmp $SELECTOR_MAIN, $0

    .data
    .balign 8
tasks_gdt_pointer: .skip 10
    .balign 8
tasks_idt_pointer: .skip 10
    .globl tasks_main
    .balign 8
tasks_main: .long 0
tasks_saved_cr0: .long 0
tasks_count: .long 0
tasks_notes: .skip 4 * 128

    .bss
    .balign 16
stack: .skip 8
    .skip 512
main_stack:
