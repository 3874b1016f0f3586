/* SPDX-License-Identifier: MIT */
/* Host interrupt vectors 32-255 and their handlers. */
#pragma once

#include <stdint.h>

/*
 * What arch/ needs of the local APIC driver above it; drivers/host_apic.c registers itself. Each is
 * callable on any CPU after host_apic_init there, with interrupts off; meanings as in
 * drivers/host_apic.h.
 */
struct interrupt_controller {
    void (*init_cpu)(void);
    uint32_t (*id)(void);
    void (*eoi)(void);
    void (*send_nmi)(uint32_t apic_id);
    void (*send_init)(uint32_t apic_id);
    void (*send_startup)(uint32_t apic_id, uint8_t page);
};

/* Boot CPU, once, before smp_start and before interrupts are first enabled. */
void interrupts_set_controller(const struct interrupt_controller *controller);

/* The registered controller; NULL before. Any context. */
const struct interrupt_controller *interrupts_controller(void);

/*
 * Have handler called for the vector: from the IDT while a CPU idles with interrupts on, or from
 * interrupts_dispatch after an external-interrupt VM exit with acknowledge-on-exit. The dispatcher
 * sends the EOI (not for VECTOR_SPURIOUS) BEFORE calling the handler. Handlers run with interrupts
 * off and must be short. Boot CPU, before interrupts are first enabled.
 */
void interrupts_set_handler(uint8_t vector, void (*handler)(void));

/* Serve an interrupt whose vector the CPU has already acknowledged. Interrupts off. */
void interrupts_dispatch(uint8_t vector);

/* Enable interrupts and halt until one has been served, then disable them again (STI;HLT;CLI). */
void interrupts_wait(void);
