/* SPDX-License-Identifier: MIT */
/*
 * The way of cpu_modes.c from 64-bit mode down to real mode and back. It is copied to low memory, so it
 * names its own parts by AT(); what it finds out goes to struct log of cpu_modes.c at 0xC000. EBX holds
 * CR0 without PG, ESI the CR4 to come back with.
 */

#define AT(label) (0xB000 + label - modes_code)

    .globl modes_code, modes_code_end, modes_cr0, modes_cr3
    .globl modes_soft, modes_hard, modes_divide

/* void modes_travel(void): the code is in its place. The GDT is another one afterwards. */
    .text
    .code64
    .globl modes_travel
modes_travel:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, stack
    lgdt AT(modes_gdt_pointer)
    pushq $0x18 /* 32-bit code */
    pushq $AT(modes_code)
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

    .bss
    .balign 8
stack:
    .skip 8

    .section .rodata
    .code32
modes_code: /* compatibility mode */
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0xBFF0, %esp
    pushl $0
    movl $0xBFF0, %eax
    subl %esp, %eax
    movl %eax, 0xC004
    movl $0xC0000080, %ecx
    rdmsr
    movl %eax, 0xC000
    movl %cr0, %ebx /* paging off: protected mode */
    andl $0x7FFFFFFF, %ebx
    movl %ebx, %cr0
    rdmsr
    movl %eax, 0xC008
    andl $~0x100, %eax
    wrmsr
    movl %cr0, %eax
    movl %eax, 0xC00C
    movl %cr4, %esi /* 32-bit paging with 4 MiB pages */
    movl %esi, %eax
    andl $~0x20, %eax
    orl $0x10, %eax
    movl %eax, %cr4
    movl $0xD000, %eax
    movl %eax, %cr3
    movl %ebx, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    movl 0x40C038, %eax
    movl %eax, 0xC010
    movl %ebx, %cr0 /* PAE paging */
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xE000, %eax
    movl %eax, %cr3
    movl %ebx, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    movl 0x20C038, %eax
    movl %eax, 0xC014
    movl %ebx, %cr0
    movl %esi, %cr4
    ljmp $0x20, $AT(modes_16)
    .code16
modes_16: /* 16-bit protected mode */
    movw $0x28, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0xBFF0, %sp
    pushw %ax
    movl $0xBFF0, %eax
    subw %sp, %ax
    movl %eax, 0xC018
    movl %cr0, %eax
    andb $0xFE, %al
    movl %eax, %cr0
    ljmp $0, $AT(modes_real)
modes_real:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0xBFF0, %sp
    movl %cr0, %eax
    movl %eax, 0xC01C
    lidtl AT(modes_ivt_pointer)
    int $0x40
    int $0x40
    sti
    nop
    nop
    cli
    xorw %cx, %cx
    movw $1, %ax
    divb %cl
    xorl %eax, %eax
    cpuid
    movl %ebx, 0xC02C
    movw $0xB00, %ax
    movw %ax, %es
    movl %es:0x1038, %eax
    movl %eax, 0xC03C
    lgdtl AT(modes_gdt_pointer) /* and up again */
    movw $0x31, %ax
    lmsw %ax
    xorl %eax, %eax
    smsw %ax
    movl %eax, 0xC034
    ljmpl $0x18, $AT(modes_32)
modes_soft:
    incl %cs:0xC020
    pushfl
    popl %cs:0xC030
    iretw
modes_hard:
    incl %cs:0xC024
    iretw
modes_divide:
    incl %cs:0xC028
    pushw %bp
    movw %sp, %bp
    addw $2, 2(%bp) /* over the DIV */
    popw %bp
    iretw
    .code32
modes_32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %esi, %cr4
    movl AT(modes_cr3), %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl AT(modes_cr0), %eax
    movl %eax, %cr0
    ljmp $0x08, $back
    .balign 8
/* 08H 64-bit code, 10H data, 18H 32-bit code, 20H 16-bit code, 28H 16-bit data. */
modes_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF
    .quad 0x00009B000000FFFF, 0x000093000000FFFF
modes_gdt_pointer:
    .word 6 * 8 - 1
    .quad AT(modes_gdt)
modes_ivt_pointer:
    .word 0x3FF
    .long 0
modes_cr0: .long 0
modes_cr3: .long 0
modes_code_end:
