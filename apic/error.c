/* SPDX-License-Identifier: MIT */
/* Errors that a local APIC detects (SDM volume 3, "Error Handling"). */
#include "apic/error.h"

#include "apic/lapic.h"
#include "apic/regs.h"
#include "apic/vm.h"

void error_report(struct lapic *lapic, uint32_t esr_bit)
{
    if ((atomic_fetch_or(&lapic->esr_pending, esr_bit) & esr_bit) == 0) {
        apic_request(lapic, LAPIC_REQUEST_ERROR);
    }
}

void error_raise(struct lapic *lapic)
{
    lapic_local_interrupt(lapic, APIC_LVT_ERROR);
}
