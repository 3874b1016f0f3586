/* SPDX-License-Identifier: MIT */
/* Counters per vCPU; written by the CPU that owns the vCPU, read by anybody (may be a little old). */
#pragma once

#include <stdint.h>

enum { EXIT_REASON_COUNT = 80 };

struct vcpu_stats {
    uint64_t exits[EXIT_REASON_COUNT]; /* by basic exit reason */
    uint64_t injected;                 /* external interrupts injected by VM entry */
    uint64_t posted;        /* notifications sent to this vCPU in guest mode by posted interrupt */
    uint64_t synced;        /* entries that found ON set and moved PIR into vIRR */
    uint64_t eoi_exits;     /* EOI-induced exits */
    uint64_t timer_expired; /* local APIC timer interrupts */
    uint64_t halts;         /* times it blocked in HLT */
    uint64_t guest_ticks;   /* TSC ticks in guest mode */
};

/* SDM name of a basic exit reason, e.g. "EXTERNAL INTERRUPT" as "external interrupt"; "?" if unknown. */
const char *exit_reason_name(unsigned reason);
