/* SPDX-License-Identifier: MIT */
/* The local APIC of this CPU in whichever mode it is (SDM volume 3, chapter "Advanced Programmable
   Interrupt Controller"), and the I/O APIC (Intel 82093AA datasheet). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Offsets in the xAPIC window; the x2APIC MSR is 800H + offset / 16. */
enum apic_register {
    APIC_ID = 0x020,
    APIC_VERSION = 0x030,
    APIC_TPR = 0x080,
    APIC_PPR = 0x0A0,
    APIC_EOI = 0x0B0,
    APIC_LDR = 0x0D0,
    APIC_DFR = 0x0E0,
    APIC_SVR = 0x0F0,
    APIC_ISR = 0x100, /* eight registers, 10H apart, as TMR and IRR */
    APIC_TMR = 0x180,
    APIC_IRR = 0x200,
    APIC_ESR = 0x280,
    APIC_LVT_CMCI = 0x2F0,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_THERMAL = 0x330,
    APIC_LVT_PMI = 0x340,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_INITIAL_COUNT = 0x380,
    APIC_CURRENT_COUNT = 0x390,
    APIC_DIVIDE = 0x3E0,
    APIC_SELF_IPI = 0x3F0,
};

enum { SVR_ENABLED = 0x100, SVR_RESET = 0xFF };
enum { LVT_MASKED = 0x10000, LVT_TIMER_PERIODIC = 0x20000, LVT_TIMER_TSC_DEADLINE = 0x40000 };
enum { DIVIDE_BY_1 = 0xB };

enum {
    ICR_FIXED = 0x00000,
    ICR_LOWEST_PRIORITY = 0x00100,
    ICR_NMI = 0x00400,
    ICR_INIT = 0x00500,
    ICR_STARTUP = 0x00600,
    ICR_LOGICAL = 0x00800,
    ICR_PENDING = 0x01000,
    ICR_ASSERT = 0x04000,
    ICR_LEVEL = 0x08000,
    ICR_SELF = 0x40000,
    ICR_ALL = 0x80000,
    ICR_OTHERS = 0xC0000,
};

/* The mode, from IA32_APIC_BASE. Any CPU. */
bool apic_is_x2apic(void);

/* From xAPIC to x2APIC mode. Any CPU, CPUID says that it can. */
void apic_enter_x2apic(void);

/*
 * To xAPIC mode in the state after reset, from any mode, by disabling it in between (SDM, "x2APIC
 * State Transitions"). Any CPU.
 */
void apic_reset_to_xapic(void);

/* Whether CPUID offers x2APIC mode. Any CPU. */
bool apic_has_x2apic(void);

/*
 * The guest's tests "xapic" and "x2apic" (guest_run_tests): run_all in xAPIC mode, then in x2APIC mode,
 * which a machine without it skips. mode: the name of the mode, for reports. Boot CPU, in xAPIC mode.
 */
void apic_run_both_modes(void (*run_all)(const char *mode));

/* Software-enable with that spurious-interrupt vector and TPR 0. Any CPU. */
void apic_enable(uint8_t spurious_vector);

/* A 32-bit register (ICR and ICR_HIGH: see apic_send_ipi). Any CPU, APIC not disabled. */
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t value);

uint32_t apic_id(void);

/* Interrupt command: low is ICR bits 31:0. Returns when it was sent. Any CPU. */
void apic_send_ipi(uint32_t destination, uint32_t low);

/* Fixed interrupt to this CPU. */
void apic_self_ipi(uint8_t vector);

void apic_eoi(void);

/* Whether bit vector of the eight registers from base (APIC_ISR, APIC_TMR, APIC_IRR) is set. */
bool apic_vector_bit(unsigned base, uint8_t vector);

/* I/O APIC registers by index. Any CPU, one at a time. */
uint32_t ioapic_read(unsigned index);
void ioapic_write(unsigned index, uint32_t value);

/* I/O APIC redirection entry of a pin, low and high half. Any CPU, one at a time. */
enum {
    RTE_LOGICAL = 0x00800,
    RTE_PENDING = 0x01000,
    RTE_ACTIVE_LOW = 0x02000,
    RTE_REMOTE_IRR = 0x04000,
    RTE_LEVEL = 0x08000,
    RTE_MASKED = 0x10000,
};
uint64_t ioapic_read_entry(unsigned pin);
void ioapic_write_entry(unsigned pin, uint64_t entry);
