/* SPDX-License-Identifier: MIT */
/* Start of the application processors (SDM volume 3, "Multiple-Processor Management"). */
#pragma once

/*
 * Start every enabled CPU of the MADT by INIT-SIPI-SIPI, each with its own stacks, descriptor tables
 * and struct cpu, and wait until all have arrived; a CPU that does not is named in the log and left
 * out. Boot CPU, once, after acpi_init, memory_init, host_apic_init.
 */
void smp_start(void);

/*
 * Run function on this CPU, then on all others at once, and wait until all have returned. Only
 * before VMs run: the other CPUs serve it from their waiting loop. Boot CPU.
 */
void smp_call_all(void (*function)(void));

/* Make the boot CPU CPU 0: its struct cpu, descriptor tables and GS base. Boot CPU, first thing. */
void smp_init_boot_cpu(void);

/* Unmap the guard pages of the boot CPU's stacks. Boot CPU, once, after paging_init. */
void smp_protect_stacks(void);

/* Release the other CPUs from the waiting loop into function, for good. Boot CPU, once. */
void smp_release(void (*function)(void));
