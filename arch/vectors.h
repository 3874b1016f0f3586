/* SPDX-License-Identifier: MIT */
/* Interrupt vectors of the host, one list. Guests never see these. */
#pragma once

enum {
    VECTOR_UART = 0x30,   /* host UART through the host I/O APIC, to the boot CPU */
    VECTOR_TIMER = 0x40,  /* host local APIC timer: ends an idle CPU's sleep */
    VECTOR_KICK = 0xF0,   /* leave guest mode or idle and look at requests; handler does nothing */
    VECTOR_POSTED = 0xF2, /* posted-interrupt notification of a vCPU's own descriptor */
    VECTOR_POSTED_NESTED = 0xF3, /* the same for an L2's descriptor on behalf of L1 */
    VECTOR_POSTED_WAKEUP = 0xF4, /* notification for a blocked vCPU's descriptor */
    VECTOR_SPURIOUS = 0xFF,      /* the local APIC's spurious vector: no EOI */
};
