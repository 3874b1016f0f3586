/* SPDX-License-Identifier: MIT */
/*
 * First code of every other CPU (SDM volume 3, "Typical AP Initialization Sequence"): smp_start copies
 * it to a page below 1 MiB, whose number is the start-up IPI's vector. Real mode, CS = page << 8.
 */
#include "arch/layout.h"

    .section .rodata
    .code16
    .globl smp_trampoline, smp_trampoline_end
smp_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdt_pointer - smp_trampoline
    movl $0x11, %eax /* CR0.PE, CR0.ET: caches on, paging off */
    movl %eax, %cr0
    ljmpl $SELECTOR_CODE32, $ap_entry32
gdt_pointer:
    .short 4 * 8 - 1
    .long boot_gdt
smp_trampoline_end:

    .section .note.GNU-stack, "", @progbits
