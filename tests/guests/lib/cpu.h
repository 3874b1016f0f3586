/* SPDX-License-Identifier: MIT */
/* The CPUs of the machine: segment tables, start by INIT-SIPI-SIPI, giving them work (SDM volume 3,
   chapter "Multiple-Processor Management"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GUEST_MAX_CPUS = 32 };
enum { SELECTOR_CODE = 0x08, SELECTOR_DATA = 0x10, SELECTOR_TSS = 0x20 };
enum { TRAMPOLINE_PAGE = 0x8000 };

/* Own GDT, TSS and the common IDT on this CPU. The library calls it for every CPU. */
void cpu_load_tables(unsigned cpu);

/* For ever: run what cpu_run_async gives to this CPU, interrupts off in between. */
_Noreturn void cpu_serve(unsigned cpu);

/*
 * Number of CPUs: `cpus=N` of the command line (with APIC ids 0 .. N-1), else what the MADT lists, else 1.
 * CPU 0 is the boot CPU. Any CPU.
 */
unsigned cpu_count(void);

/* Local APIC id of a CPU. Any CPU, after the first cpu_count(). */
uint32_t cpu_apic_id(unsigned cpu);

/* Start all others and wait until they serve. Boot CPU, interrupts off. Returns cpu_count(). */
unsigned cpu_start_all(void);

/*
 * INIT, then start-up IPIs to one CPU; does not wait. What it ran is forgotten. Boot CPU, which gives
 * work only after cpu_wait_started. cpu_started: whether it serves since its last start.
 */
void cpu_send_init(unsigned cpu);
void cpu_send_startup(unsigned cpu);
bool cpu_started(unsigned cpu);
void cpu_wait_started(unsigned cpu);

/*
 * For a guest that sends start-up IPIs of its own: after this a CPU that gets to 0:8000H in real mode
 * becomes this one. Boot CPU.
 */
void cpu_prepare_startup(unsigned cpu);

/* Let another CPU call function(argument); cpu_wait waits until that has returned. Boot CPU. */
void cpu_run_async(unsigned cpu, void (*function)(void *), void *argument);
void cpu_wait(unsigned cpu);

/* Both in one: call function(argument) on another CPU and wait for it. Boot CPU. */
void cpu_run(unsigned cpu, void (*function)(void *), void *argument);

/* Number of the CPU that executes this, by its task register. Any CPU, any context. */
unsigned cpu_number(void);

/* Segment bases: for the host and guest state of a VMX guest. */
uint64_t cpu_gdt_base(unsigned cpu);
uint64_t cpu_tss_base(unsigned cpu);
