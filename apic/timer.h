/* SPDX-License-Identifier: MIT */
/*
 * The local APIC timer: one-shot, periodic and TSC-deadline (SDM volume 3, "APIC Timer").
 *
 * It counts host TSC ticks: the input clock has vm->tsc_per_timer_tick of them per tick. Only the
 * absolute time of the next expiry is kept, so counts are exact and a period never drifts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lapic;

struct lapic_timer {
    uint32_t lvt; /* the LVT timer register as last accepted: hardware may have stored a new
                               value in the page already when its handler runs */
    uint32_t initial_count; /* 0 in TSC-deadline mode */
    uint32_t divide;        /* 1 .. 128 */
    bool armed;
    uint64_t period;   /* host TSC ticks of a whole count-down; of a deadline: 0 */
    uint64_t expiry;   /* host TSC, when armed */
    uint64_t deadline; /* IA32_TSC_DEADLINE, guest TSC; 0 when disarmed */
};

/*
 * A periodic timer does not fire more often than this many TSC ticks: a guest that asks for less
 * would only leave guest mode. Periods in between coalesce; the phase stays exact.
 */
enum { LAPIC_TIMER_FLOOR = 10000 };

/* All: owner, root mode. */

/* The state after reset and INIT: disarmed, divide by 2. */
void timer_reset(struct lapic *lapic);

/* Register handlers; value is already free of reserved bits. */
void timer_write_lvt(struct lapic *lapic, uint32_t value);
void timer_write_initial_count(struct lapic *lapic, uint32_t value);
void timer_write_divide(struct lapic *lapic, uint32_t value);
uint32_t timer_read_current_count(const struct lapic *lapic);

/*
 * The current count is rounded up: fraction TSC ticks of its first unit are over. It is less than
 * timer_unit, the TSC ticks that one count takes with that divide configuration.
 */
struct timer_count {
    uint32_t count, fraction;
};
struct timer_count timer_read_exact_count(const struct lapic *lapic);
uint32_t timer_unit(const struct lapic *lapic, uint32_t divide);

/* IA32_TSC_DEADLINE: ignored and 0 outside TSC-deadline mode. */
void timer_write_deadline(struct lapic *lapic, uint64_t value);
uint64_t timer_read_deadline(struct lapic *lapic);

/* Saving: raise what an ended count-down has to raise; a deadline stays as it is. */
void timer_settle_count(struct lapic *lapic);

/*
 * Restoring: LVT, initial count and divide are in the page; left is the exact count. A deadline is
 * armed but does not fire here even when it has passed.
 */
void timer_restore(struct lapic *lapic, struct timer_count left);
void timer_restore_deadline(struct lapic *lapic, uint64_t deadline);
