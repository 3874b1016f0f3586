/* SPDX-License-Identifier: MIT */
/*
 * Access to the registers of a local APIC: 32-bit registers and the 256-bit vector registers ISR, TMR
 * and IRR (SDM volume 3, "Virtualized APIC Registers" gives the layout). Those that hardware holds are
 * in the virtual-APIC page; of a protected local APIC an access to them faults.
 *
 * All accesses are single machine accesses: other CPUs read the page at any time, and write TMR.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apic/lapic.h"
#include "apic/regs.h"

static inline bool page_is_hardware(uint32_t offset)
{
    uint32_t bank = offset & ~0x7FU;
    return offset == APIC_TPR || offset == APIC_PPR || bank == APIC_ISR || bank == APIC_IRR;
}

static inline void *page_at(const struct lapic *lapic, uint32_t offset)
{
    return (page_is_hardware(offset) ? lapic->virtual_page : lapic->page) + offset;
}

static inline uint32_t page_read(const struct lapic *lapic, uint32_t offset)
{
    return __atomic_load_n((const uint32_t *)page_at(lapic, offset), __ATOMIC_RELAXED);
}

static inline void page_write(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    __atomic_store_n((uint32_t *)page_at(lapic, offset), value, __ATOMIC_RELAXED);
}

/* The x2APIC ICR: 64 bits at offset 300H. */
static inline uint64_t page_read_icr64(const struct lapic *lapic)
{
    return __atomic_load_n((const uint64_t *)page_at(lapic, APIC_ICR), __ATOMIC_RELAXED);
}

static inline void page_write_icr64(struct lapic *lapic, uint64_t value)
{
    __atomic_store_n((uint64_t *)page_at(lapic, APIC_ICR), value, __ATOMIC_RELAXED);
}

/* Offset of the 32-bit register that holds vector's bit; bank is APIC_ISR, APIC_TMR or APIC_IRR. */
static inline uint32_t vector_offset(uint32_t bank, uint8_t vector)
{
    return bank + (vector / 32U) * APIC_REGISTER_STRIDE;
}

static inline bool page_test_vector(const struct lapic *lapic, uint32_t bank, uint8_t vector)
{
    return (page_read(lapic, vector_offset(bank, vector)) & BIT32(vector % 32U)) != 0;
}

/* ISR and IRR: only the owner in root mode writes them, so no locked operation. */
static inline void page_set_vector(struct lapic *lapic, uint32_t bank, uint8_t vector)
{
    uint32_t offset = vector_offset(bank, vector);
    page_write(lapic, offset, page_read(lapic, offset) | BIT32(vector % 32U));
}

static inline void page_clear_vector(struct lapic *lapic, uint32_t bank, uint8_t vector)
{
    uint32_t offset = vector_offset(bank, vector);
    page_write(lapic, offset, page_read(lapic, offset) & ~BIT32(vector % 32U));
}

/* TMR: any CPU that posts an interrupt writes it. A locked operation only when it changes. */
static inline void page_write_tmr(struct lapic *lapic, uint8_t vector, bool level)
{
    uint32_t *word = page_at(lapic, vector_offset(APIC_TMR, vector));
    uint32_t bit = BIT32(vector % 32U);
    if (page_test_vector(lapic, APIC_TMR, vector) == level) {
        return;
    }
    if (level) {
        __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
    } else {
        __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
    }
}

/* Highest vector set in a bank, or -1. */
static inline int page_highest_vector(const struct lapic *lapic, uint32_t bank)
{
    for (int word = 7; word >= 0; word--) {
        uint32_t bits = page_read(lapic, bank + (uint32_t)word * APIC_REGISTER_STRIDE);
        if (bits != 0) {
            return word * 32 + 31 - __builtin_clz(bits);
        }
    }
    return -1;
}

static inline bool lapic_software_enabled(const struct lapic *lapic)
{
    return (page_read(lapic, APIC_SVR) & APIC_SVR_ENABLE) != 0;
}
