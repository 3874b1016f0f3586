/* SPDX-License-Identifier: MIT */
/* The local vector table (SDM volume 3, "Local Vector Table"). */
#include "apic/lvt.h"

#include "apic/extint.h"
#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/registers.h"
#include "apic/timer.h"

static const uint16_t entries[] = {
    APIC_LVT_CMCI,  APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PMI,
    APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR,
};

static uint32_t bits_of(uint32_t offset)
{
    return ~register_known(offset)->x2apic_reserved;
}

/*
 * Level-triggered: only LINT0 in fixed mode ("Local Vector Table", trigger mode: not the other delivery
 * modes, and LINT1 is always edge-triggered).
 */
static bool is_level(uint32_t offset, uint32_t lvt)
{
    return offset == APIC_LVT_LINT0 && (lvt & APIC_LVT_LEVEL) != 0 &&
           field_get(APIC_LVT_DELIVERY_MODE, lvt) == APIC_DELIVERY_FIXED;
}

/* --- LINT0: remote IRR is set from the acceptance of a level to its EOI ---------------------------- */

static uint32_t with_remote_irr(struct lapic *lapic, uint32_t lvt)
{
    if (!is_level(APIC_LVT_LINT0, lvt)) {
        lapic->lint0_accepted = 0;
    }
    return lapic->lint0_accepted != 0 ? lvt | APIC_LVT_REMOTE_IRR : lvt & ~APIC_LVT_REMOTE_IRR;
}

/* A level-triggered pin asks as long as it is high. */
static void look_at_lint0(struct lapic *lapic)
{
    uint32_t lvt = page_read(lapic, APIC_LVT_LINT0);
    bool high = (atomic_load(&lapic->extint) & LAPIC_EXTINT_LINT0) != 0;
    bool open = (lvt & (APIC_LVT_MASKED | APIC_LVT_REMOTE_IRR)) == 0;
    if (high && open && is_level(APIC_LVT_LINT0, lvt)) {
        apic_request(lapic, LAPIC_REQUEST_LINT0);
    }
}

static void set_lint0_accepted(struct lapic *lapic, uint8_t vector)
{
    lapic->lint0_accepted = vector;
    page_write(lapic, APIC_LVT_LINT0, with_remote_irr(lapic, page_read(lapic, APIC_LVT_LINT0)));
}

void lvt_eoi(struct lapic *lapic, uint8_t vector)
{
    /* 0 is also the vector of an EOI with nothing in service ("EOI Virtualization"). */
    if (lapic->lint0_accepted != 0 && vector == lapic->lint0_accepted) {
        set_lint0_accepted(lapic, 0);
        look_at_lint0(lapic);
    }
}

void lvt_restore_lint0(struct lapic *lapic, uint32_t value, uint8_t accepted)
{
    uint8_t vector = accepted != 0 ? accepted : value & APIC_LVT_VECTOR;
    bool live =
        page_test_vector(lapic, APIC_IRR, vector) || page_test_vector(lapic, APIC_ISR, vector);
    set_lint0_accepted(lapic, (value & APIC_LVT_REMOTE_IRR) != 0 && live ? vector : 0);
}

/* --- Registers -------------------------------------------------------------------------------------- */

void lvt_write(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    value &= bits_of(offset) & ~(APIC_LVT_STATUS | APIC_LVT_REMOTE_IRR);
    if (!lapic->software_enabled) {
        value |= APIC_LVT_MASKED;
    }
    if (offset == APIC_LVT_LINT0) {
        value = with_remote_irr(lapic, value);
    }
    page_write(lapic, offset, value);
    if (offset == APIC_LVT_TIMER) {
        timer_write_lvt(lapic, value);
    } else if (offset == APIC_LVT_LINT0) {
        apic_vm_extint_changed(lapic->vm);
        look_at_lint0(lapic);
    }
}

void lvt_mask_all(struct lapic *lapic)
{
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        if (register_at(lapic, entries[i]) != NULL) {
            lvt_write(lapic, entries[i], page_read(lapic, entries[i]));
        }
    }
}

void lvt_reset(struct lapic *lapic)
{
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        bool exists = register_at(lapic, entries[i]) != NULL;
        page_write(lapic, entries[i], exists ? APIC_LVT_RESET : 0);
    }
    lapic->lint0_accepted = 0;
}

/* --- Interrupts of local sources -------------------------------------------------------------------- */

/* "Local Vector Table", delivery mode: the pins have all, the rest no INIT and ExtINT; 001, 011, 110 are reserved. */
static bool has_delivery_mode(uint32_t offset, uint8_t mode)
{
    bool pin = offset == APIC_LVT_LINT0 || offset == APIC_LVT_LINT1;
    switch ((enum apic_delivery_mode)mode) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_SMI:
    case APIC_DELIVERY_NMI:
        return true;
    case APIC_DELIVERY_INIT:
    case APIC_DELIVERY_EXTINT:
        return pin;
    case APIC_DELIVERY_LOWEST_PRIORITY:
    case APIC_DELIVERY_RESERVED:
    case APIC_DELIVERY_SIPI:
        break;
    }
    return false;
}

/* The delivery mode of entries that have none is fixed: the bits read 0. */
static void raise(struct lapic *lapic, uint32_t offset, uint32_t lvt)
{
    struct apic_message message = {
        .delivery_mode = (uint8_t)field_get(APIC_LVT_DELIVERY_MODE, lvt),
        .vector = lvt & APIC_LVT_VECTOR,
        .level = is_level(offset, lvt),
        .assert_level = true,
        .source = lapic,
    };
    if (!has_delivery_mode(offset, message.delivery_mode)) {
        return;
    }
    bool accepted = lapic_accept(lapic, &message);
    if (message.level && accepted) {
        set_lint0_accepted(lapic, message.vector);
    }
}

/* "Local APIC State After It Has Been Disabled": LINT1 is the processor's NMI pin then. */
static void raise_while_disabled(struct lapic *lapic, uint32_t offset)
{
    if (offset == APIC_LVT_LINT1) {
        apic_port_nmi(lapic);
    }
}

void lapic_local_interrupt(struct lapic *lapic, uint32_t offset)
{
    uint32_t lvt = page_read(lapic, offset);
    if (lapic_mode(lapic) == LAPIC_DISABLED) {
        raise_while_disabled(lapic, offset);
        return;
    }
    /* Only LINT0 ever has remote IRR: what awaits its EOI is not sent again. */
    if ((lvt & (APIC_LVT_MASKED | APIC_LVT_REMOTE_IRR)) != 0) {
        return;
    }
    /* "Performance-monitoring interrupt": delivery sets the mask bit. */
    if (offset == APIC_LVT_PMI) {
        lvt_write(lapic, offset, lvt | APIC_LVT_MASKED);
    }
    raise(lapic, offset, lvt);
}
