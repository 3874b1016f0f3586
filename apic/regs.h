/* SPDX-License-Identifier: MIT */
/*
 * Names of the local APIC's registers and their bits, in the order of the SDM's table "Local APIC
 * Register Address Map" (volume 3, chapter "Advanced Programmable Interrupt Controller").
 * An offset is the place in the 4 KiB window and in the virtual-APIC page; the x2APIC MSR of a
 * register is 800H + offset / 16.
 */
#pragma once

#include "lib/bits.h"

enum lapic_offset {
    APIC_ID = 0x020,
    APIC_VERSION = 0x030,
    APIC_TPR = 0x080,
    APIC_APR = 0x090, /* arbitration priority: not on processors with x2APIC, reads 0 */
    APIC_PPR = 0x0A0,
    APIC_EOI = 0x0B0,
    APIC_RRD = 0x0C0, /* remote read: likewise */
    APIC_LDR = 0x0D0,
    APIC_DFR = 0x0E0,
    APIC_SVR = 0x0F0,
    APIC_ISR = 0x100, /* eight registers, 16 bytes apart */
    APIC_TMR = 0x180,
    APIC_IRR = 0x200,
    APIC_ESR = 0x280,
    APIC_LVT_CMCI = 0x2F0,
    APIC_ICR = 0x300,  /* x2APIC mode: one register of 64 bits */
    APIC_ICR2 = 0x310, /* xAPIC mode only */
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_THERMAL = 0x330,
    APIC_LVT_PMI = 0x340,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_INITIAL_COUNT = 0x380,
    APIC_CURRENT_COUNT = 0x390,
    APIC_DIVIDE = 0x3E0,
    APIC_SELF_IPI = 0x3F0, /* x2APIC mode only */
};

enum { APIC_REGISTER_STRIDE = 0x10, APIC_REGISTER_COUNT = 0x40, APIC_PAGE_SIZE = 0x1000 };

/* MSRs. */
#define MSR_APIC_BASE    0x01B
#define MSR_TSC_DEADLINE 0x6E0
#define MSR_X2APIC_FIRST 0x800
#define MSR_X2APIC_LAST  0x8FF

/* IA32_APIC_BASE. Bits 7:0, 9 and those above the physical-address width are reserved. */
#define APIC_BASE_BSP      BIT(8)
#define APIC_BASE_EXTD     BIT(10)
#define APIC_BASE_EN       BIT(11)
#define APIC_BASE_RESERVED (0xFFULL | BIT(9))
#define APIC_BASE_ADDRESS  (~0xFFFULL)
#define APIC_BASE_DEFAULT  0xFEE00000ULL

/* ID, xAPIC mode; x2APIC mode: all 32 bits. */
#define APIC_ID_XAPIC 0xFF000000U

/* Version. */
#define APIC_VERSION_NUMBER          0x14U
#define APIC_VERSION_MAX_LVT_SHIFT   16
#define APIC_VERSION_EOI_SUPPRESSION BIT32(24)

/* TPR and PPR. */
#define APIC_PRIORITY       0xFFU
#define APIC_PRIORITY_CLASS 0xF0U

/* LDR and DFR, xAPIC mode. */
#define APIC_LDR_XAPIC      0xFF000000U
#define APIC_DFR_MODEL      0xF0000000U
#define APIC_DFR_FLAT       0xF0000000U
#define APIC_DFR_CLUSTER    0x00000000U
#define APIC_DFR_FIXED_ONES 0x0FFFFFFFU

/* Spurious-interrupt vector register. */
#define APIC_SVR_VECTOR          0xFFU
#define APIC_SVR_ENABLE          BIT32(8)
#define APIC_SVR_EOI_SUPPRESSION BIT32(12)
#define APIC_SVR_BITS            (APIC_SVR_VECTOR | APIC_SVR_ENABLE | APIC_SVR_EOI_SUPPRESSION)
#define APIC_SVR_RESET           0xFFU

/* Error status register. */
#define APIC_ESR_SEND_ILLEGAL_VECTOR      BIT32(5)
#define APIC_ESR_RECEIVE_ILLEGAL_VECTOR   BIT32(6)
#define APIC_ESR_ILLEGAL_REGISTER_ADDRESS BIT32(7)

/* Vectors below this cannot be delivered by a local APIC ("Valid Interrupt Vectors"). */
enum { APIC_FIRST_VECTOR = 16 };

/* Interrupt command register, low half; delivery modes as in enum apic_delivery_mode. */
#define APIC_ICR_VECTOR          0xFFU
#define APIC_ICR_DELIVERY_MODE   0x700U
#define APIC_ICR_LOGICAL         BIT32(11)
#define APIC_ICR_DELIVERY_STATUS BIT32(12) /* always idle here */
#define APIC_ICR_ASSERT          BIT32(14)
#define APIC_ICR_LEVEL           BIT32(15)
#define APIC_ICR_SHORTHAND       0xC0000U
#define APIC_ICR_BITS                                                                \
    (APIC_ICR_VECTOR | APIC_ICR_DELIVERY_MODE | APIC_ICR_LOGICAL | APIC_ICR_ASSERT | \
     APIC_ICR_LEVEL | APIC_ICR_SHORTHAND)
#define APIC_ICR_X2APIC_RESERVED (0xFFF00000U | 0x30000U | BIT32(13))
#define APIC_ICR2_DESTINATION    0xFF000000U

enum apic_delivery_mode {
    APIC_DELIVERY_FIXED = 0,
    APIC_DELIVERY_LOWEST_PRIORITY = 1,
    APIC_DELIVERY_SMI = 2,
    APIC_DELIVERY_RESERVED = 3,
    APIC_DELIVERY_NMI = 4,
    APIC_DELIVERY_INIT = 5,
    APIC_DELIVERY_SIPI = 6,
    APIC_DELIVERY_EXTINT = 7,
};

enum apic_shorthand {
    APIC_SHORTHAND_NONE = 0,
    APIC_SHORTHAND_SELF = 1,
    APIC_SHORTHAND_ALL = 2,
    APIC_SHORTHAND_OTHERS = 3,
};

/* Local vector table. Delivery status and remote IRR are read-only. */
#define APIC_LVT_VECTOR        0xFFU
#define APIC_LVT_DELIVERY_MODE 0x700U
#define APIC_LVT_STATUS        BIT32(12)
#define APIC_LVT_POLARITY      BIT32(13)
#define APIC_LVT_REMOTE_IRR    BIT32(14)
#define APIC_LVT_LEVEL         BIT32(15)
#define APIC_LVT_MASKED        BIT32(16)
#define APIC_LVT_TIMER_MODE    0x60000U
#define APIC_LVT_RESET         APIC_LVT_MASKED

enum apic_timer_mode {
    APIC_TIMER_ONE_SHOT = 0,
    APIC_TIMER_PERIODIC = 1,
    APIC_TIMER_TSC_DEADLINE = 2,
    APIC_TIMER_RESERVED = 3,
};

/* Divide configuration register: bits 3, 1 and 0. */
#define APIC_DIVIDE_BITS 0xBU
