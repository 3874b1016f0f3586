/* SPDX-License-Identifier: MIT */
/* From a multiboot 1 loader, or a start-up IPI, to C in 64-bit mode (SDM volume 3, chapter "Processor
   Management and Initialization"). */

#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0x00000003 /* modules on page boundaries, memory information */

#define SELECTOR_CODE64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE32 0x18

#define PTE_TABLE 0x003       /* present, writable */
#define PTE_2M 0x083          /* and a large page */
#define PTE_2M_UNCACHED 0x09B /* PCD, PWT: the devices below 4 GiB */

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .text
    .code32
    .globl _start
_start:
    cli
    cld
    movl %ebx, guest_multiboot_info
    lgdt boot_gdt_pointer
    movl $SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $boot_stack_top, %esp
    xorl %edi, %edi /* CPU 0 */

/* 32-bit protected mode, flat data segments, stack in ESP, CPU number in EDI. */
enter_long_mode:
    movl %cr4, %eax
    orl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $guest_pml4, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx /* IA32_EFER */
    rdmsr
    orl $0x100, %eax /* LME */
    wrmsr
    movl %cr0, %eax
    andl $0x9FFFFFFF, %eax /* caches on */
    orl $0x80010021, %eax  /* PG, WP, NE, PE */
    movl %eax, %cr0
    ljmp $SELECTOR_CODE64, $1f

    .code64
1:  movl %esp, %esp
    movl %edi, %edi
    xorl %ebp, %ebp
    call guest_enter
    ud2

/* Copied to the page that the start-up IPI names; knows no address but absolute ones. */
    .code16
    .globl guest_trampoline
    .globl guest_trampoline_end
guest_trampoline:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl 0x8000 + trampoline_gdt_pointer - guest_trampoline
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $SELECTOR_CODE32, $ap_start
    .balign 4
trampoline_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
guest_trampoline_end:

    .code32
ap_start:
    movl $SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl guest_ap_stack, %esp
    movl guest_ap_number, %edi
    jmp enter_long_mode

    .section .data
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF /* 64-bit code */
    .quad 0x00CF93000000FFFF /* data */
    .quad 0x00CF9B000000FFFF /* 32-bit code */
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt

/* Linear = physical for the first 4 GiB. */
    .balign 4096
    .globl guest_pml4
guest_pml4:
    .quad guest_pdpt + PTE_TABLE
    .fill 511, 8, 0
    .globl guest_pdpt
guest_pdpt:
    .quad guest_pd + PTE_TABLE
    .quad guest_pd + 0x1000 + PTE_TABLE
    .quad guest_pd + 0x2000 + PTE_TABLE
    .quad guest_pd + 0x3000 + PTE_TABLE
    .fill 508, 8, 0
    .globl guest_pd
guest_pd:
    .set page, 0
    .rept 3 * 512
    .quad page + PTE_2M
    .set page, page + 0x200000
    .endr
    .rept 512
    .quad page + PTE_2M_UNCACHED
    .set page, page + 0x200000
    .endr

    .bss
    .balign 16
    .skip 16384
boot_stack_top:
