/* SPDX-License-Identifier: MIT */
/*
 * From the boot loader to C: multiboot2 header, and the way from 32-bit protected mode to 64-bit mode
 * (SDM volume 3, "Initializing IA-32e Mode"), which the other CPUs go too.
 */
#include "arch/layout.h"

#define MULTIBOOT2_HEADER_MAGIC 0xE85250D6
#define MULTIBOOT2_ARCHITECTURE_I386 0
#define MULTIBOOT2_TAG_END 0
#define MULTIBOOT2_TAG_MODULE_ALIGN 6

#define CPUID_80000001_EDX_NX_BIT 20
#define CPUID_80000001_EDX_LM_BIT 29
#define CR0_PE_MP_ET_NE_WP_PG 0x80010033
#define CR4_PAE_MCE 0x60
#define MSR_EFER 0xC0000080
#define EFER_LME_NXE 0x900

#define PAGE_PRESENT_WRITE 0x3
#define PAGE_PRESENT_WRITE_LARGE 0x83
#define PAGE_TABLE_SIZE 0x1000
#define BOOT_DIRECTORIES 4 /* one for each GiB: everything a 32-bit loader can point at */

#define COM1_DATA 0x3F8
#define COM1_LINE_CONTROL 0x3FB
#define LINE_CONTROL_8N1 0x03
#define LINE_CONTROL_DIVISOR 0x80
#define DIVISOR_115200 1
#define COM1_LINE_STATUS 0x3FD
#define LINE_STATUS_THRE 0x20
#define BOCHS_SHUTDOWN_PORT 0x8900
#define QEMU_PM1_CONTROL 0x604
#define PM1_SLP_EN 0x2000

    .section .multiboot2, "a"
    .balign 8
multiboot2_header:
    .long MULTIBOOT2_HEADER_MAGIC
    .long MULTIBOOT2_ARCHITECTURE_I386
    .long multiboot2_header_end - multiboot2_header
    .long -(MULTIBOOT2_HEADER_MAGIC + MULTIBOOT2_ARCHITECTURE_I386 + \
            (multiboot2_header_end - multiboot2_header))
    .short MULTIBOOT2_TAG_MODULE_ALIGN, 0
    .long 8
    .short MULTIBOOT2_TAG_END, 0
    .long 8
multiboot2_header_end:

/*
 * 32-bit protected mode, paging off, EAX = loader's magic, EBX = boot information. Interrupts off.
 */
    .text
    .code32
    .globl entry
entry:
    cli
    cld
    movl $boot_cpu_stacks + STACK_MAIN_TOP, %esp
    movl %eax, %esi
    movl %ebx, %edi
    lgdt boot_gdt_pointer
    call check_cpu
    call build_boot_tables
    movl $boot_tables, %ebx
    movl $entry64, %ebp
    jmp enter_long_mode

/*
 * Another CPU, coming from boot/trampoline.S in 32-bit protected mode on boot_gdt. The tables are
 * already Rivet's own.
 */
    .globl ap_entry32
ap_entry32:
    movw $SELECTOR_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl smp_ap_root, %ebx
    movl $ap_entry64, %ebp
    jmp enter_long_mode

/* EBX = page tables, EBP = 64-bit code to go to. Keeps ESI, EDI. */
enter_long_mode:
    movl $CR4_PAE_MCE, %eax
    movl %eax, %cr4
    movl %ebx, %cr3
    movl $MSR_EFER, %ecx
    movl $EFER_LME_NXE, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0_PE_MP_ET_NE_WP_PG, %eax
    movl %eax, %cr0
    ljmp $SELECTOR_CODE, $long_mode

/* Return when this CPU has 64-bit mode and execute-disable; else say so on COM1 and power off. */
check_cpu:
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    btl $CPUID_80000001_EDX_LM_BIT, %edx
    jnc no_long_mode
    btl $CPUID_80000001_EDX_NX_BIT, %edx
    jnc no_long_mode
    ret
no_long_mode:
    movw $COM1_LINE_CONTROL, %dx
    movb $LINE_CONTROL_DIVISOR, %al
    outb %al, %dx
    movw $COM1_DATA, %dx
    movw $DIVISOR_115200, %ax
    outw %ax, %dx
    movw $COM1_LINE_CONTROL, %dx
    movb $LINE_CONTROL_8N1, %al
    outb %al, %dx
    movl $no_long_mode_text, %esi
1:  lodsb
    testb %al, %al
    jz 3f
    movb %al, %bl
    movw $COM1_LINE_STATUS, %dx
2:  inb %dx, %al
    testb $LINE_STATUS_THRE, %al
    jz 2b
    movb %bl, %al
    movw $COM1_DATA, %dx
    outb %al, %dx
    jmp 1b
3:  movl $shutdown_text, %esi /* as in drivers/power.c, which is 64-bit code */
    movl $shutdown_text_end - shutdown_text, %ecx
    movw $BOCHS_SHUTDOWN_PORT, %dx
    rep outsb
    movw $QEMU_PM1_CONTROL, %dx
    movw $PM1_SLP_EN, %ax
    outw %ax, %dx
4:  hlt
    jmp 4b

/* Identity-map the first 4 GiB by 2 MiB pages, all rights: only until paging_init. Keeps ESI, EDI. */
build_boot_tables:
    movl $boot_tables + PAGE_TABLE_SIZE + PAGE_PRESENT_WRITE, boot_tables
    movl $boot_tables + PAGE_TABLE_SIZE, %ecx
    movl $boot_tables + 2 * PAGE_TABLE_SIZE, %edx
    leal PAGE_PRESENT_WRITE(%edx), %eax
1:  movl %eax, (%ecx)
    addl $8, %ecx
    addl $PAGE_TABLE_SIZE, %eax
    cmpl $boot_tables + (2 + BOOT_DIRECTORIES) * PAGE_TABLE_SIZE, %eax
    jb 1b
    movl $PAGE_PRESENT_WRITE_LARGE, %eax
2:  movl %eax, (%edx)
    addl $8, %edx
    addl $0x200000, %eax
    cmpl $boot_tables + (2 + BOOT_DIRECTORIES) * PAGE_TABLE_SIZE, %edx
    jb 2b
    ret

    .code64
long_mode:
    movw $SELECTOR_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %ebp, %eax
    jmp *%rax

entry64:
    movl $boot_cpu_stacks + STACK_MAIN_TOP, %esp
    xorl %ebp, %ebp /* ends the backtrace */
    xchgl %esi, %edi
    call main
1:  hlt
    jmp 1b

/* The stack of the CPU that smp_start is starting; then C for good. */
ap_entry64:
    movq smp_ap_stack, %rsp
    xorl %ebp, %ebp
    call smp_ap_main
1:  hlt
    jmp 1b

    .section .rodata
no_long_mode_text:
    .ascii "rivet: fatal: this CPU has no 64-bit mode with execute-disable "
    .asciz "(CPUID.80000001H:EDX bits 29, 20)\r\n"

shutdown_text:
    .ascii "Shutdown"
shutdown_text_end:

    .balign 8
    .globl boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF /* SELECTOR_CODE: 64-bit code */
    .quad 0x00CF93000000FFFF /* SELECTOR_DATA */
    .quad 0x00CF9B000000FFFF /* SELECTOR_CODE32 */
boot_gdt_pointer:
    .short boot_gdt_pointer - boot_gdt - 1
    .long boot_gdt

    .bss
    .balign PAGE_TABLE_SIZE
boot_tables:
    .skip (2 + BOOT_DIRECTORIES) * PAGE_TABLE_SIZE

    .section .note.GNU-stack, "", @progbits
