/* SPDX-License-Identifier: MIT */
/* The local vector table (SDM volume 3, "Local Vector Table"). */
#pragma once

#include <stdint.h>

#include "apic/regs.h"

struct lapic;

/*
 * Bits that exist in each entry. Delivery status, always idle here, and remote IRR are read-only: writing
 * them is ignored, in x2APIC mode too.
 */
#define LVT_BITS_COMMON  (APIC_LVT_VECTOR | APIC_LVT_STATUS | APIC_LVT_MASKED)
#define LVT_BITS_CMCI    (LVT_BITS_COMMON | APIC_LVT_DELIVERY_MODE)
#define LVT_BITS_TIMER   (LVT_BITS_COMMON | APIC_LVT_TIMER_MODE)
#define LVT_BITS_THERMAL (LVT_BITS_COMMON | APIC_LVT_DELIVERY_MODE)
#define LVT_BITS_PMI     (LVT_BITS_COMMON | APIC_LVT_DELIVERY_MODE)
#define LVT_BITS_LINT                                                                     \
    (LVT_BITS_COMMON | APIC_LVT_DELIVERY_MODE | APIC_LVT_POLARITY | APIC_LVT_REMOTE_IRR | \
     APIC_LVT_LEVEL)
#define LVT_BITS_ERROR LVT_BITS_COMMON

/* All: owner, root mode. */

/* Write handler of every LVT register. */
void lvt_write(struct lapic *lapic, uint32_t offset, uint32_t value);

/* The local APIC was disabled by software: set every mask bit. */
void lvt_mask_all(struct lapic *lapic);

/* EOI of a vector: remote IRR of LINT0 ends if it was for LINT0's level, and a high pin asks again. */
void lvt_eoi(struct lapic *lapic, uint8_t vector);

/*
 * LVT0 as saved, in which remote IRR counts if the vector accepted from LINT0 (0: the one in LVT0) is
 * pending or in service. The page has LVT0 without it, vIRR and vISR already.
 */
void lvt_restore_lint0(struct lapic *lapic, uint32_t value, uint8_t accepted);

/* Every entry to its value after reset: masked, nothing else. */
void lvt_reset(struct lapic *lapic);
