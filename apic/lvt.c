/* SPDX-License-Identifier: MIT */
/* The local vector table (SDM volume 3, "Local Vector Table"). */
#include "apic/lvt.h"

#include "apic/lapic.h"
#include "apic/page.h"
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

void lvt_write(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    value &= bits_of(offset) & ~(APIC_LVT_STATUS | APIC_LVT_REMOTE_IRR);
    if (!lapic->software_enabled) {
        value |= APIC_LVT_MASKED;
    }
    page_write(lapic, offset, value);
    if (offset == APIC_LVT_TIMER) {
        timer_write_lvt(lapic, value);
    } else if (offset == APIC_LVT_LINT0) {
        apic_vm_extint_changed(lapic->vm);
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
}

/*
 * "Valid Delivery Mode/Trigger Mode" of LVT entries: level only for LINT0 and LINT1 in fixed mode,
 * and LINT1 is always edge-triggered.
 */
static bool is_level(uint32_t offset, uint32_t lvt)
{
    return offset == APIC_LVT_LINT0 && (lvt & APIC_LVT_LEVEL) != 0 &&
           field_get(APIC_LVT_DELIVERY_MODE, lvt) == APIC_DELIVERY_FIXED;
}

void lapic_local_interrupt(struct lapic *lapic, uint32_t offset)
{
    uint32_t lvt = page_read(lapic, offset);
    if (lapic_mode(lapic) == LAPIC_DISABLED || (lvt & APIC_LVT_MASKED) != 0) {
        return;
    }
    struct apic_message message = {
        .vector = lvt & APIC_LVT_VECTOR,
        .level = is_level(offset, lvt),
        .assert_level = true,
        .source = lapic,
    };
    bool has_mode = (bits_of(offset) & APIC_LVT_DELIVERY_MODE) != 0;
    if (has_mode) {
        message.delivery_mode = (uint8_t)field_get(APIC_LVT_DELIVERY_MODE, lvt);
    }
    /* "Performance-monitoring interrupt": delivery sets the mask bit. */
    if (offset == APIC_LVT_PMI) {
        lvt_write(lapic, offset, lvt | APIC_LVT_MASKED);
    }
    lapic_accept(lapic, &message);
}
