/* SPDX-License-Identifier: MIT */
/* The local vector table (SDM volume 3, "Local Vector Table"). */
#include "apic/lvt.h"

#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/timer.h"

struct entry {
    uint16_t offset;
    uint32_t bits;
};

static const struct entry entries[] = {
    { APIC_LVT_CMCI, LVT_BITS_CMCI },       { APIC_LVT_TIMER, LVT_BITS_TIMER },
    { APIC_LVT_THERMAL, LVT_BITS_THERMAL }, { APIC_LVT_PMI, LVT_BITS_PMI },
    { APIC_LVT_LINT0, LVT_BITS_LINT },      { APIC_LVT_LINT1, LVT_BITS_LINT },
    { APIC_LVT_ERROR, LVT_BITS_ERROR },
};

static bool exists(const struct lapic *lapic, uint32_t offset)
{
    return offset != APIC_LVT_CMCI || lapic->vm->features.cmci;
}

static uint32_t bits_of(uint32_t offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        if (entries[i].offset == offset) {
            return entries[i].bits;
        }
    }
    return 0;
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
        if (exists(lapic, entries[i].offset)) {
            lvt_write(lapic, entries[i].offset, page_read(lapic, entries[i].offset));
        }
    }
}

void lvt_reset(struct lapic *lapic)
{
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        page_write(lapic, entries[i].offset, exists(lapic, entries[i].offset) ? APIC_LVT_RESET : 0);
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
