/* SPDX-License-Identifier: MIT */
/*
 * Pending interrupts and priorities (SDM volume 3, "Task and Processor Priorities"), and what each
 * VM entry carries of them ("Virtual-Interrupt Delivery", "TPR Virtualization").
 *
 * Nothing here is cached beside the page: with virtual-interrupt delivery the CPU changes vIRR,
 * vISR and vPPR behind our back, and two loops over eight words cost less than one stale cache.
 */
#include "apic/priority.h"

#include "apic/apicv.h"
#include "apic/extint.h"
#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/paravirt.h"
#include "apic/pi.h"
#include "apic/port.h"
#include "apic/protected.h"
#include "apic/regs.h"

static uint8_t priority_class(int vector)
{
    return vector < 0 ? 0 : (uint8_t)(vector & APIC_PRIORITY_CLASS);
}

/*
 * "Processor-Priority Register": the greater of the two classes, and TPR's sub-class if it is
 * TPR's.
 */
static uint8_t combine(const struct lapic *lapic, int in_service)
{
    uint8_t tpr = (uint8_t)page_read(lapic, APIC_TPR);
    uint8_t service_class = priority_class(in_service);
    return (tpr & APIC_PRIORITY_CLASS) >= service_class ? tpr : service_class;
}

uint8_t priority_ppr(const struct lapic *lapic)
{
    return combine(lapic, page_highest_vector(lapic, APIC_ISR));
}

uint8_t priority_update_ppr(struct lapic *lapic)
{
    uint8_t ppr = priority_ppr(lapic);
    page_write(lapic, APIC_PPR, ppr);
    return ppr;
}

/* One word of PIR covers two registers of vIRR. */
static void merge_into_irr(struct lapic *lapic, unsigned word, uint64_t bits)
{
    uint32_t low = APIC_IRR + word * 2 * APIC_REGISTER_STRIDE;
    uint32_t high = low + APIC_REGISTER_STRIDE;
    page_write(lapic, low, page_read(lapic, low) | (uint32_t)bits);
    page_write(lapic, high, page_read(lapic, high) | (uint32_t)(bits >> 32));
}

/*
 * RVI is the highest vector in vIRR whenever the guest does not run, so it only has to be published
 * when that vector changed.
 */
void priority_pull_posted(struct lapic *lapic)
{
    uint64_t taken[4];
    if (!pi_take(lapic->pi, taken) || lapic_mode(lapic) == LAPIC_DISABLED) {
        return;
    }
    int highest = page_highest_vector(lapic, APIC_IRR);
    for (unsigned word = 0; word < 4; word++) {
        if (taken[word] != 0) {
            merge_into_irr(lapic, word, taken[word]);
        }
    }
    lapic->status_stale |= page_highest_vector(lapic, APIC_IRR) != highest;
}

int priority_deliverable(const struct lapic *lapic)
{
    int pending = page_highest_vector(lapic, APIC_IRR);
    return priority_class(pending) > (priority_ppr(lapic) & APIC_PRIORITY_CLASS) ? pending : -1;
}

int lapic_has_interrupt(struct lapic *lapic)
{
    apicv_handle_error_request(lapic);
    priority_pull_posted(lapic);
    return priority_deliverable(lapic);
}

uint8_t lapic_read_cr8(const struct lapic *lapic)
{
    return (uint8_t)(page_read(lapic, APIC_TPR) >> 4) & 0xF;
}

void lapic_write_cr8(struct lapic *lapic, uint8_t value)
{
    page_write(lapic, APIC_TPR, (uint32_t)value << 4);
    priority_update_ppr(lapic);
}

/* The guest lowered its TPR: the next entry looks again at what that let through. */
void lapic_tpr_below_threshold(struct lapic *lapic)
{
    priority_update_ppr(lapic);
}

/* --- VM entry ------------------------------------------------------------------------------- */

/*
 * With virtual-interrupt delivery off: exit as soon as the guest lowers TPR enough for the highest
 * pending interrupt. No exit is wanted while an interrupt in service holds it back: its EOI exits.
 */
static void publish_tpr_threshold(struct lapic *lapic, int pending, int in_service)
{
    uint8_t pending_class = priority_class(pending);
    uint8_t tpr_class = (uint8_t)page_read(lapic, APIC_TPR) & APIC_PRIORITY_CLASS;
    bool only_tpr_blocks = pending_class > priority_class(in_service) && pending_class <= tpr_class;
    uint8_t threshold = only_tpr_blocks ? pending_class >> 4 : 0;

    if (lapic->vm->features.tpr_shadow && threshold != lapic->tpr_threshold) {
        lapic->tpr_threshold = threshold;
        apic_port_write_tpr_threshold(lapic, threshold);
    }
}

static struct lapic_entry choose(struct lapic *lapic, bool can_inject)
{
    struct lapic_entry entry = { .inject = -1 };
    int in_service = page_highest_vector(lapic, APIC_ISR);
    int pending = page_highest_vector(lapic, APIC_IRR);
    uint8_t ppr = combine(lapic, in_service);
    bool deliverable = priority_class(pending) > (ppr & APIC_PRIORITY_CLASS);

    if (deliverable && can_inject) {
        page_clear_vector(lapic, APIC_IRR, (uint8_t)pending);
        page_set_vector(lapic, APIC_ISR, (uint8_t)pending);
        entry.inject = in_service = pending;
        pending = page_highest_vector(lapic, APIC_IRR);
        ppr = combine(lapic, in_service);
    } else if (deliverable) {
        entry.interrupt_window = true;
    }
    page_write(lapic, APIC_PPR, ppr);
    publish_tpr_threshold(lapic, pending, in_service);
    paravirt_before_entry(lapic, pending, in_service);
    return entry;
}

/*
 * The 8259 pair asks: its interrupt goes before those of the local APIC, whose priorities do not
 * concern it. What waits after that needs a window.
 */
static struct lapic_entry choose_extint(struct lapic *lapic, bool can_inject)
{
    int vector = can_inject ? extint_acknowledge(lapic) : -1;
    struct lapic_entry entry = choose(lapic, can_inject && vector < 0);

    if (vector >= 0) {
        entry.inject = vector;
    }
    entry.interrupt_window |= lapic_has_extint(lapic);
    return entry;
}

struct lapic_entry lapic_before_entry(struct lapic *lapic, bool can_inject)
{
    if (atomic_load_explicit(&lapic->requests, memory_order_acquire) != 0) {
        apicv_handle_requests(lapic);
    }
    if (lapic_is_protected(lapic)) {
        protected_before_entry(lapic);
        return (struct lapic_entry){ .inject = -1 };
    }
    priority_pull_posted(lapic);
    if (!lapic_apicv_active(lapic)) {
        return lapic_has_extint(lapic) ? choose_extint(lapic, can_inject)
                                       : choose(lapic, can_inject);
    }
    if (lapic->status_stale) {
        apicv_publish_status(lapic);
    }
    if (lapic->paravirt.vapic != 0) {
        paravirt_before_entry(lapic, page_highest_vector(lapic, APIC_IRR),
                              page_highest_vector(lapic, APIC_ISR));
    }
    return (struct lapic_entry){ .inject = -1 };
}
