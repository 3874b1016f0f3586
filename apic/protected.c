/* SPDX-License-Identifier: MIT */
/* Local APICs whose virtual-APIC page is out of reach (SDM volume 3, "Posted-Interrupt Processing"). */
#include "apic/protected.h"

#include "apic/apicv.h"
#include "apic/lapic.h"
#include "apic/pi.h"
#include "apic/port.h"
#include "apic/regs.h"

enum { STATUS_SVI_SHIFT = 8 };

/*
 * RVI and SVI are hardware's, like the page they are the summary of: software writes them only when
 * it has put an empty page there.
 */
void protected_before_entry(struct lapic *lapic)
{
    if (lapic->status_stale) {
        lapic->status_stale = false;
        apic_port_write_interrupt_status(lapic, 0);
    }
    if (pi_has_posted(lapic->pi)) {
        apic_port_notify_self(lapic);
    }
}

void protected_reset(struct lapic *lapic)
{
    lapic->confirmed_halt = false;
    for (unsigned word = 0; word < 4; word++) {
        atomic_store(&lapic->held_back[word], 0);
    }
    apic_port_fresh_page(lapic);
}

/* --- Level-triggered vectors ------------------------------------------------------------------ */

void protected_hold_back(struct lapic *lapic, uint8_t vector)
{
    atomic_fetch_or(&lapic->held_back[vector / 64U], BIT(vector % 64U));
}

void protected_release(struct lapic *lapic)
{
    for (unsigned word = 0; word < 4; word++) {
        uint64_t held = atomic_exchange(&lapic->held_back[word], 0);
        for (; held != 0; held &= held - 1) {
            pi_post(lapic->pi, (uint8_t)(word * 64 + (unsigned)__builtin_ctzll(held)));
        }
    }
}

/* --- HLT -------------------------------------------------------------------------------------- */

void lapic_halt_begins(struct lapic *lapic)
{
    lapic->confirmed_halt = false;
}

/*
 * RVI's class must be above those of SVI and of TPR. TPR is unknown, but does not change in HLT:
 * what hardware has once refused it would refuse again.
 */
bool lapic_may_wake(struct lapic *lapic)
{
    if (atomic_load_explicit(&lapic->requests, memory_order_acquire) != 0) {
        apicv_handle_requests(lapic);
    }
    if (pi_has_posted(lapic->pi)) {
        return true;
    }
    uint16_t status = apic_port_read_interrupt_status(lapic);
    if (lapic->confirmed_halt && status == lapic->confirmed_status) {
        return false;
    }
    return (status & APIC_PRIORITY_CLASS) > (status >> STATUS_SVI_SHIFT & APIC_PRIORITY_CLASS);
}

void lapic_confirm_halt(struct lapic *lapic)
{
    if (!pi_has_posted(lapic->pi)) {
        lapic->confirmed_halt = true;
        lapic->confirmed_status = apic_port_read_interrupt_status(lapic);
    }
}
