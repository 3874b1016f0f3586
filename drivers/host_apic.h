/* SPDX-License-Identifier: MIT */
/* The host's own local APIC: x2APIC when the CPU has it, else xAPIC (SDM volume 3, chapter "APIC"). */
#pragma once

#include <stdint.h>

/*
 * Enable this CPU's local APIC, all LVT entries masked, spurious vector set. Every CPU, once; the boot
 * CPU first, which also registers the driver with arch/interrupts.h.
 */
void host_apic_init(void);

/* This CPU's APIC id. */
uint32_t host_apic_id(void);

/* End of interrupt on this CPU. */
void host_apic_eoi(void);

/*
 * Send a fixed interrupt to the CPU with that APIC id. Everything written before is visible to the
 * target when the interrupt arrives there (SDM: x2APIC ICR writes are not serializing; the fence is
 * in here). Any CPU, interrupts off.
 */
void host_apic_send(uint32_t apic_id, uint8_t vector);

/* Send an NMI, or the INIT and start-up IPIs of smp_start, to one CPU. */
void host_apic_send_nmi(uint32_t apic_id);
void host_apic_send_init(uint32_t apic_id);
void host_apic_send_startup(uint32_t apic_id, uint8_t page);

/*
 * Arm this CPU's timer to raise VECTOR_TIMER at that TSC value (a past one: at once), or disarm it.
 * Without TSC-deadline mode it counts bus clocks and may come early when the deadline is very far
 * away: whoever armed it looks at the TSC. After host_apic_timer_init.
 */
void host_apic_timer_arm(uint64_t tsc_deadline);
void host_apic_timer_disarm(void);

/* Choose TSC-deadline mode, or measure the timer's bus clock. Boot CPU, once, after tsc_calibrate. */
void host_apic_timer_init(void);
