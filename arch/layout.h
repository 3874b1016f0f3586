/* SPDX-License-Identifier: MIT */
/* Selectors and stack sizes that C and assembly share. */
#pragma once

/* Selectors, the same on every CPU. */
#define SELECTOR_NULL   0x00
#define SELECTOR_CODE   0x08 /* 64-bit code */
#define SELECTOR_DATA   0x10 /* SS, DS, ES; FS and GS are null with bases from MSRs */
#define SELECTOR_TSS    0x18 /* two slots in a CPU's own GDT */
#define SELECTOR_CODE32 0x18 /* 32-bit code; only in boot_gdt, on the way to 64-bit mode */

/* Bytes. Offsets within struct cpu_stacks (arch/descriptor.h). */
#define STACK_GUARD_SIZE 0x1000
#define STACK_SIZE       0x8000
#define IST_STACK_SIZE   0x2000
#define STACK_MAIN_TOP   (STACK_GUARD_SIZE + STACK_SIZE)
