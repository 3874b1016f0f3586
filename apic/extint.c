/* SPDX-License-Identifier: MIT */
/* Interrupts of an external 8259 pair (SDM volume 3, "Local Vector Table", delivery mode ExtINT). */
#include "apic/extint.h"

#include "apic/lapic.h"
#include "apic/lvt.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/registers.h"

/* Virtual wire mode as firmware sets it up (MultiProcessor Specification, appendix A). */
enum {
    VIRTUAL_WIRE_SVR = APIC_SVR_ENABLE | 0xFF,
    VIRTUAL_WIRE_LVT0 = APIC_LVT_LEVEL | APIC_DELIVERY_EXTINT << 8,
    VIRTUAL_WIRE_LVT1 = APIC_LVT_LEVEL | APIC_DELIVERY_NMI << 8,
};

bool extint_lvt0_open(const struct lapic *lapic)
{
    uint32_t lvt = page_read(lapic, APIC_LVT_LINT0);
    return (lvt & APIC_LVT_MASKED) == 0 &&
           field_get(APIC_LVT_DELIVERY_MODE, lvt) == APIC_DELIVERY_EXTINT;
}

/* "Local APIC State After It Has Been Disabled": LINT0 is the processor's INTR pin then. */
bool lapic_has_extint(const struct lapic *lapic)
{
    uint32_t extint = atomic_load(&lapic->extint);
    if (extint == 0) {
        return false;
    }
    bool pin = (extint & LAPIC_EXTINT_LINT0) != 0;
    if (lapic_mode(lapic) == LAPIC_DISABLED) {
        return pin;
    }
    return (extint & LAPIC_EXTINT_MESSAGE) != 0 || (pin && extint_lvt0_open(lapic));
}

void lapic_set_lint0(struct lapic *lapic, bool level)
{
    if (!level) {
        atomic_fetch_and(&lapic->extint, ~(uint32_t)LAPIC_EXTINT_LINT0);
        return;
    }
    uint32_t old = atomic_fetch_or(&lapic->extint, LAPIC_EXTINT_LINT0);
    bool masked = (page_read(lapic, APIC_LVT_LINT0) & APIC_LVT_MASKED) != 0;
    if ((old & LAPIC_EXTINT_LINT0) == 0 && (!masked || lapic_mode(lapic) == LAPIC_DISABLED)) {
        apic_request(lapic, LAPIC_REQUEST_LINT0);
    }
}

void extint_handle_lint0(struct lapic *lapic)
{
    if (!extint_lvt0_open(lapic)) {
        lapic_local_interrupt(lapic, APIC_LVT_LINT0);
    }
}

bool extint_accept(struct lapic *lapic)
{
    if (!lapic_software_enabled(lapic)) {
        return false;
    }
    atomic_fetch_or(&lapic->extint, LAPIC_EXTINT_MESSAGE);
    apic_request(lapic, LAPIC_REQUEST_EXTINT);
    return true;
}

/* Cleared first: what the 8259 asks for next, it says during the acknowledge. */
int extint_acknowledge(struct lapic *lapic)
{
    uint32_t old = atomic_fetch_and(&lapic->extint, ~(uint32_t)LAPIC_EXTINT_MESSAGE);
    int vector = apic_port_acknowledge_extint(lapic);
    if ((old & LAPIC_EXTINT_MESSAGE) != 0) {
        apic_vm_extint_changed(lapic->vm);
    }
    return vector;
}

void lapic_set_virtual_wire(struct lapic *lapic)
{
    register_at(lapic, APIC_SVR)->write(lapic, APIC_SVR, VIRTUAL_WIRE_SVR);
    lvt_write(lapic, APIC_LVT_LINT0, VIRTUAL_WIRE_LVT0);
    lvt_write(lapic, APIC_LVT_LINT1, VIRTUAL_WIRE_LVT1);
}
