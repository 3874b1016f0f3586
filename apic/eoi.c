/* SPDX-License-Identifier: MIT */
/*
 * End of interrupt (SDM volume 3, "Signaling Interrupt Servicing Completion", "EOI
 * Virtualization").
 *
 * level_posted has a bit for each level-triggered vector from its posting to its EOI. It makes the
 * EOI-exit bitmap exact while routes change: a vector of an old route keeps its bit until its EOI,
 * and no EOI is lost when an interrupt of a new route overtakes the new bitmap.
 */
#include "apic/eoi.h"

#include "apic/lapic.h"
#include "apic/lvt.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/protected.h"
#include "apic/vm.h"

static bool test_bit(const uint64_t *bits, uint8_t vector)
{
    return (bits[vector / 64U] & BIT(vector % 64U)) != 0;
}

static bool test_atomic(const _Atomic uint64_t *bits, uint8_t vector)
{
    return (atomic_load(&bits[vector / 64U]) & BIT(vector % 64U)) != 0;
}

static void clear_atomic(_Atomic uint64_t *bits, uint8_t vector)
{
    if (test_atomic(bits, vector)) {
        atomic_fetch_and(&bits[vector / 64U], ~BIT(vector % 64U));
    }
}

bool eoi_note_level(struct lapic *lapic, uint8_t vector)
{
    atomic_fetch_or(&lapic->level_posted[vector / 64U], BIT(vector % 64U));
    return !lapic_apicv_active(lapic) || test_atomic(lapic->eoi_exits, vector);
}

void eoi_note_edge(struct lapic *lapic, uint8_t vector)
{
    clear_atomic(lapic->level_posted, vector);
}

/* Does an EOI of vector go out to the I/O APICs? */
static bool broadcasts(const struct lapic *lapic, uint8_t vector)
{
    return page_test_vector(lapic, APIC_TMR, vector) &&
           (page_read(lapic, APIC_SVR) & APIC_SVR_EOI_SUPPRESSION) == 0;
}

/* vISR is up to date; do the rest of an EOI. */
static void finish(struct lapic *lapic, uint8_t vector)
{
    clear_atomic(lapic->level_posted, vector);
    if (test_bit(lapic->old_route_exits, vector)) {
        apic_request(lapic, LAPIC_REQUEST_EOI_EXITS);
    }
    lvt_eoi(lapic, vector);
    if (broadcasts(lapic, vector)) {
        ioapic_eoi(lapic->vm, vector);
    }
}

void eoi_signal(struct lapic *lapic)
{
    int vector = page_highest_vector(lapic, APIC_ISR);
    if (vector < 0) {
        return;
    }
    page_clear_vector(lapic, APIC_ISR, (uint8_t)vector);
    lapic->status_stale = true; /* SVI: or the next virtualized EOI clears the wrong bit */
    finish(lapic, (uint8_t)vector);
}

void lapic_eoi_induced(struct lapic *lapic, uint8_t vector)
{
    finish(lapic, vector);
}

/* --- The EOI-exit bitmap -------------------------------------------------------------------- */

/* 64 vectors of the page's vIRR and vISR, and of PIR: everything not yet EOIed. */
static uint64_t outstanding(const struct lapic *lapic, unsigned word)
{
    uint64_t bits = atomic_load(&lapic->pi->pir[word]);
    for (unsigned half = 0; half < 2; half++) {
        uint32_t place = (word * 2 + half) * APIC_REGISTER_STRIDE;
        uint64_t page = page_read(lapic, APIC_IRR + place) | page_read(lapic, APIC_ISR + place);
        bits |= page << (half * 32);
    }
    return bits;
}

static void make_up_for(struct lapic *lapic, uint8_t vector)
{
    clear_atomic(lapic->level_posted, vector);
    if (broadcasts(lapic, vector)) {
        ioapic_eoi_locked(lapic->vm, vector);
    }
}

/*
 * Vectors posted and gone without an EOI exit. I/O APIC posters hold its lock, so none is between
 * noting the vector and setting it in PIR.
 */
static void make_up_for_missed(struct lapic *lapic)
{
    for (unsigned word = 0; word < 4; word++) {
        uint64_t missed = atomic_load(&lapic->level_posted[word]) & ~outstanding(lapic, word);
        for (; missed != 0; missed &= missed - 1) {
            make_up_for(lapic, (uint8_t)(word * 64 + (unsigned)__builtin_ctzll(missed)));
        }
    }
    uint8_t vector = lapic->lint0_accepted;
    if (vector != 0 && (outstanding(lapic, vector / 64U) & BIT(vector % 64U)) == 0) {
        lvt_eoi(lapic, vector);
    }
}

/* Vectors whose EOI must exit: levels, and LINT0's even if an edge of that vector came later. */
static uint64_t level_exits(const struct lapic *lapic, unsigned word)
{
    uint8_t vector = lapic->lint0_accepted;
    uint64_t lint0 = vector != 0 && vector / 64U == word ? BIT(vector % 64U) : 0;
    return atomic_load(&lapic->level_posted[word]) | lint0;
}

void eoi_publish_exits(struct lapic *lapic)
{
    struct ioapic *ioapic = &lapic->vm->ioapic;
    uint64_t routes[4], exits[4];
    bool changed = false;

    spin_lock(&ioapic->lock);
    if (!lapic_is_protected(lapic)) {
        make_up_for_missed(lapic);
    }
    ioapic_level_routes_locked(lapic->vm, lapic->id, routes);
    for (unsigned word = 0; word < 4; word++) {
        exits[word] = routes[word] | level_exits(lapic, word);
        lapic->old_route_exits[word] = exits[word] & ~routes[word];
        changed |= exits[word] != atomic_exchange(&lapic->eoi_exits[word], exits[word]);
    }
    spin_unlock(&ioapic->lock);
    if (changed) {
        apic_port_write_eoi_exit_bitmap(lapic, exits);
    }
    if (lapic_is_protected(lapic)) {
        protected_release(lapic);
    }
}
