/* SPDX-License-Identifier: MIT */
/*
 * APICv as a mode that changes at run time (SDM volume 3, chapter "APIC Virtualization and Virtual
 * Interrupts").
 *
 * Posters set PIR and ON whatever the mode, and only the owner moves PIR into vIRR, so a switch has
 * nothing to synchronize with them: the page and PIR together hold every interrupt before and
 * after.
 */
#include "apic/apicv.h"

#include "apic/eoi.h"
#include "apic/error.h"
#include "apic/extint.h"
#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/vm.h"

enum { STATUS_SVI_SHIFT = 8, TPR_THRESHOLD_UNKNOWN = 0xFF };

void apicv_publish_status(struct lapic *lapic)
{
    int rvi = page_highest_vector(lapic, APIC_IRR);
    int svi = page_highest_vector(lapic, APIC_ISR);
    uint16_t status = (uint16_t)((rvi < 0 ? 0 : rvi) | (svi < 0 ? 0 : svi) << STATUS_SVI_SHIFT);

    lapic->status_stale = false;
    apic_port_write_interrupt_status(lapic, status);
}

/*
 * Not while software has disabled it: the CPU would deliver a self-IPI without looking at SVR. A
 * protected one is always active; writes of SELF IPI exit then.
 */
static bool should_be_active(const struct lapic *lapic)
{
    if (lapic_is_protected(lapic)) {
        return true;
    }
    return lapic_mode(lapic) != LAPIC_DISABLED && lapic->software_enabled &&
           atomic_load(&lapic->vm->inhibits) == 0;
}

/*
 * Stored before the I/O APIC's lock is taken for the bitmap: who changes a route and still reads
 * "inactive" did so before the bitmap is computed.
 */
static void apply(struct lapic *lapic)
{
    bool active = should_be_active(lapic);
    bool was_active = atomic_exchange(&lapic->apicv_active, active);

    lapic->restored = (struct lapic_restored){ 0 };
    apic_port_refresh_controls(lapic);
    if (active && !was_active) {
        lapic->status_stale = true;
        atomic_fetch_or(&lapic->requests, LAPIC_REQUEST_EOI_EXITS);
    }
    if (!active) {
        lapic->tpr_threshold = TPR_THRESHOLD_UNKNOWN;
    }
}

static bool take_request(struct lapic *lapic, uint32_t request)
{
    return (atomic_load(&lapic->requests) & request) != 0 &&
           (atomic_fetch_and(&lapic->requests, ~request) & request) != 0;
}

void apicv_handle_error_request(struct lapic *lapic)
{
    if (take_request(lapic, LAPIC_REQUEST_ERROR)) {
        error_raise(lapic);
    }
}

static void publish_exits(struct lapic *lapic)
{
    if (take_request(lapic, LAPIC_REQUEST_EOI_EXITS) && lapic_apicv_active(lapic)) {
        eoi_publish_exits(lapic);
    }
}

void lapic_raise_lint0(struct lapic *lapic)
{
    if (take_request(lapic, LAPIC_REQUEST_LINT0)) {
        extint_handle_lint0(lapic);
    }
}

void apicv_settle(struct lapic *lapic)
{
    apicv_handle_error_request(lapic);
    lapic_raise_lint0(lapic);
    publish_exits(lapic); /* last: a level of LINT0 needs its bit in the bitmap */
}

void apicv_handle_requests(struct lapic *lapic)
{
    if (take_request(lapic, LAPIC_REQUEST_EXTINT)) {
        apic_vm_extint_changed(lapic->vm);
    }
    if ((atomic_load(&lapic->requests) & LAPIC_REQUEST_APICV) != 0) {
        publish_exits(lapic); /* or what hardware has done up to now is missed when it ends */
        atomic_fetch_and(&lapic->requests, ~(uint32_t)LAPIC_REQUEST_APICV);
        apply(lapic);
    }
    apicv_settle(lapic);
}
