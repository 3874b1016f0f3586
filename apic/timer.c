/* SPDX-License-Identifier: MIT */
/* The local APIC timer (SDM volume 3, "APIC Timer"). */
#include "apic/timer.h"

#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/regs.h"

static enum apic_timer_mode timer_mode(const struct lapic_timer *timer)
{
    return (enum apic_timer_mode)field_get(APIC_LVT_TIMER_MODE, timer->lvt);
}

/* A deadline has no period. */
static bool is_periodic(const struct lapic_timer *timer)
{
    return timer->period != 0 && timer_mode(timer) == APIC_TIMER_PERIODIC;
}

static bool is_counting_mode(enum apic_timer_mode mode)
{
    return mode == APIC_TIMER_ONE_SHOT || mode == APIC_TIMER_PERIODIC;
}

static uint64_t ticks_per_count(const struct lapic *lapic)
{
    return (uint64_t)lapic->timer.divide * lapic->vm->tsc_per_timer_tick;
}

static void disarm(struct lapic_timer *timer)
{
    timer->armed = false;
    timer->deadline = 0;
}

void timer_reset(struct lapic *lapic)
{
    lapic->timer = (struct lapic_timer){ .lvt = APIC_LVT_RESET, .divide = 2 };
}

/* --- Expiry --------------------------------------------------------------------------------- */

/*
 * First boundary of the period after now, but not sooner than the floor: always start + n * period,
 * so the phase never drifts.
 */
static uint64_t next_period(const struct lapic_timer *timer, uint64_t now)
{
    uint64_t earliest = timer->period < LAPIC_TIMER_FLOOR ? now + LAPIC_TIMER_FLOOR : now;
    uint64_t periods = (earliest - timer->expiry) / timer->period + 1;
    return timer->expiry + periods * timer->period;
}

static void expire(struct lapic *lapic, uint64_t now)
{
    struct lapic_timer *timer = &lapic->timer;
    if (is_periodic(timer)) {
        timer->expiry = next_period(timer, now);
    } else {
        disarm(timer);
    }
    if ((timer->lvt & APIC_LVT_MASKED) == 0) {
        struct apic_message message = { .vector = timer->lvt & APIC_LVT_VECTOR, .source = lapic };
        lapic_accept(lapic, &message);
    }
}

void lapic_timer_poll(struct lapic *lapic, uint64_t now)
{
    if (lapic->timer.armed && now >= lapic->timer.expiry) {
        expire(lapic, now);
    }
}

/*
 * A masked timer changes nothing a guest could see at its expiry that is not settled when the guest
 * looks, so it wakes nobody.
 */
uint64_t lapic_timer_deadline(const struct lapic *lapic)
{
    const struct lapic_timer *timer = &lapic->timer;
    bool wanted = timer->armed && (timer->lvt & APIC_LVT_MASKED) == 0;
    return wanted ? timer->expiry : UINT64_MAX;
}

/* --- One-shot and periodic ------------------------------------------------------------------ */

/*
 * Entering or leaving TSC-deadline mode disarms the timer; between one-shot and periodic the count
 * goes on.
 */
void timer_write_lvt(struct lapic *lapic, uint32_t value)
{
    struct lapic_timer *timer = &lapic->timer;

    lapic_timer_poll(lapic, apic_port_tsc());
    enum apic_timer_mode old_mode = timer_mode(timer);
    timer->lvt = value;
    enum apic_timer_mode new_mode = timer_mode(timer);
    if (old_mode != new_mode && !(is_counting_mode(old_mode) && is_counting_mode(new_mode))) {
        disarm(timer);
        timer->initial_count = 0;
        page_write(lapic, APIC_INITIAL_COUNT, 0);
    }
}

void timer_write_initial_count(struct lapic *lapic, uint32_t value)
{
    struct lapic_timer *timer = &lapic->timer;

    lapic_timer_poll(lapic, apic_port_tsc());
    if (is_counting_mode(timer_mode(timer))) {
        timer->period = value * ticks_per_count(lapic);
        timer->expiry = apic_port_tsc() + timer->period;
        timer->armed = value != 0;
        timer->initial_count = value;
    }
    page_write(lapic, APIC_INITIAL_COUNT, timer->initial_count); /* else the write is ignored */
}

/* The divisor from bits 3, 1, 0 of the register: 000 is 2, 001 is 4, ... 110 is 128, 111 is 1. */
static uint32_t decode_divide(uint32_t value)
{
    uint32_t code = ((value >> 1) & 4) | (value & 3);
    return BIT32((code + 1) & 7);
}

/* The count keeps its value and goes on at the new speed. */
void timer_write_divide(struct lapic *lapic, uint32_t value)
{
    struct lapic_timer *timer = &lapic->timer;
    uint64_t now = apic_port_tsc();

    lapic_timer_poll(lapic, now);
    page_write(lapic, APIC_DIVIDE, value);
    uint32_t old = timer->divide;
    timer->divide = decode_divide(value);
    if (timer->armed && is_counting_mode(timer_mode(timer))) {
        uint64_t left = timer->expiry - now;
        timer->expiry = now + (left / old) * timer->divide + (left % old) * timer->divide / old;
        timer->period = timer->initial_count * ticks_per_count(lapic);
    }
}

/* Under the floor the expiry is several periods away. */
static uint64_t left_of_period(const struct lapic_timer *timer, uint64_t now)
{
    if (now < timer->expiry) {
        return (timer->expiry - now - 1) % timer->period + 1;
    }
    return timer->period - (now - timer->expiry) % timer->period;
}

/* TSC ticks until the count is 0. */
static uint64_t left_to_count(const struct lapic *lapic)
{
    const struct lapic_timer *timer = &lapic->timer;
    uint64_t now = apic_port_tsc();

    if (!timer->armed || !is_counting_mode(timer_mode(timer))) {
        return 0;
    }
    if (is_periodic(timer)) {
        return left_of_period(timer, now);
    }
    return now < timer->expiry ? timer->expiry - now : 0;
}

struct timer_count timer_read_exact_count(const struct lapic *lapic)
{
    uint64_t unit = ticks_per_count(lapic);
    uint64_t left = left_to_count(lapic);
    uint64_t count = (left + unit - 1) / unit;
    return (struct timer_count){ (uint32_t)count, (uint32_t)(count * unit - left) };
}

uint32_t timer_read_current_count(const struct lapic *lapic)
{
    return timer_read_exact_count(lapic).count;
}

uint32_t timer_unit(const struct lapic *lapic, uint32_t divide)
{
    return decode_divide(divide) * lapic->vm->tsc_per_timer_tick;
}

/* --- TSC-deadline --------------------------------------------------------------------------- */

/* Host TSC at which the guest's TSC reaches the deadline; "never" when that lies beyond 2^64. */
static uint64_t deadline_to_host(const struct lapic *lapic, uint64_t deadline)
{
    uint64_t now = apic_port_tsc();
    uint64_t guest_now = now + (uint64_t)lapic->tsc_offset;
    if (deadline <= guest_now) {
        return now;
    }
    uint64_t left = deadline - guest_now;
    return left > UINT64_MAX - now ? UINT64_MAX : now + left;
}

void timer_write_deadline(struct lapic *lapic, uint64_t value)
{
    struct lapic_timer *timer = &lapic->timer;

    lapic_timer_poll(lapic, apic_port_tsc());
    if (timer_mode(timer) != APIC_TIMER_TSC_DEADLINE) {
        return;
    }
    timer->deadline = value;
    timer->armed = value != 0;
    timer->period = 0;
    timer->expiry = deadline_to_host(lapic, value);
    lapic_timer_poll(lapic, apic_port_tsc());
}

uint64_t timer_read_deadline(struct lapic *lapic)
{
    lapic_timer_poll(lapic, apic_port_tsc());
    return lapic->timer.deadline;
}

/* --- Saving and restoring ------------------------------------------------------------------- */

void timer_settle_count(struct lapic *lapic)
{
    if (is_counting_mode(timer_mode(&lapic->timer))) {
        lapic_timer_poll(lapic, apic_port_tsc());
    }
}

void timer_restore_deadline(struct lapic *lapic, uint64_t deadline)
{
    struct lapic_timer *timer = &lapic->timer;
    if (timer_mode(timer) == APIC_TIMER_TSC_DEADLINE) {
        timer->deadline = deadline;
        timer->armed = deadline != 0;
        timer->period = 0;
        timer->expiry = deadline_to_host(lapic, deadline);
    }
}

void timer_restore(struct lapic *lapic, struct timer_count left)
{
    struct lapic_timer *timer = &lapic->timer;

    timer_reset(lapic);
    timer->lvt = page_read(lapic, APIC_LVT_TIMER);
    timer->divide = decode_divide(page_read(lapic, APIC_DIVIDE));
    timer->initial_count = page_read(lapic, APIC_INITIAL_COUNT);
    if (is_counting_mode(timer_mode(timer))) {
        timer->period = timer->initial_count * ticks_per_count(lapic);
        timer->expiry = apic_port_tsc() + left.count * ticks_per_count(lapic) - left.fraction;
        timer->armed = left.count != 0;
    }
}

void lapic_set_tsc_offset(struct lapic *lapic, int64_t offset)
{
    struct lapic_timer *timer = &lapic->timer;

    lapic_timer_poll(lapic, apic_port_tsc());
    lapic->tsc_offset = offset;
    if (timer->armed && timer_mode(timer) == APIC_TIMER_TSC_DEADLINE) {
        timer->expiry = deadline_to_host(lapic, timer->deadline);
    }
    lapic_timer_poll(lapic, apic_port_tsc());
}
