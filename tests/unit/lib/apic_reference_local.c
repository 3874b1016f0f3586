/* SPDX-License-Identifier: MIT */
/* The slow reference's local interrupt sources, and saved states. */
#include <string.h>

#include "tests/unit/lib/apic_reference.h"
#include "tests/unit/lib/apic_reference_parts.h"

/* --- Local sources ---------------------------------------------------------------------------- */

/* An unmasked entry says that its source asks. */
static void raise(struct ref_lapic *apic, int index)
{
    uint32_t lvt = apic->lvt[index];
    bool pin = index == LINT0 || index == LINT1;
    unsigned delivery = lvt >> 8 & 7;

    if (delivery == 0) {
        bool level = index == LINT0 && (lvt & 0x8000) != 0;
        if (ref_accept(apic, lvt & 0xFF, level) && level) {
            apic->lint0_vector = (uint8_t)lvt;
            apic->lvt[LINT0] |= 0x4000;
        }
    } else if (delivery == 4) {
        apic->nmis++;
    } else if (delivery == 5 && pin) {
        apic->init = true;
        apic->sipi = false;
    }
}

void ref_look_at_lint0(struct ref_lapic *apic)
{
    if (apic->lint0 && mode(apic) != OFF && (apic->lvt[LINT0] & 0x1C700) == 0x8000) {
        raise(apic, LINT0);
    }
}

void ref_lint0_eoi(struct ref_lapic *apic, unsigned vector)
{
    if (apic->lint0_vector == vector) {
        apic->lint0_vector = 0;
        apic->lvt[LINT0] &= ~0x4000U;
        ref_look_at_lint0(apic);
    }
}

void ref_lint0(struct ref *ref, unsigned cpu, bool level)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    bool rises = level && !apic->lint0;
    apic->lint0 = level;
    if (rises && mode(apic) != OFF && (apic->lvt[LINT0] & 0x14000) == 0) {
        raise(apic, LINT0);
    }
}

void ref_local_interrupt(struct ref *ref, unsigned cpu, uint32_t offset)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    int index = ref_lvt_at(offset);
    if (mode(apic) == OFF) {
        apic->nmis += index == LINT1;
        return;
    }
    if ((apic->lvt[index] & 0x10000) == 0) {
        uint32_t mask = index == PMI ? 0x10000 : 0;
        raise(apic, index);
        apic->lvt[index] |= mask;
    }
}

/* --- Saved states ----------------------------------------------------------------------------- */

static uint32_t get(const uint8_t *bytes, uint32_t offset)
{
    return bytes[offset] | (uint32_t)bytes[offset + 1] << 8 | (uint32_t)bytes[offset + 2] << 16 |
           (uint32_t)bytes[offset + 3] << 24;
}

static void put(uint8_t *bytes, uint32_t offset, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        bytes[offset + i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t register_value(const struct ref_lapic *apic, uint32_t offset)
{
    switch (offset) {
    case 0xE0:
        return apic->dfr;
    case 0x300:
        return (uint32_t)apic->icr;
    case 0x310:
        return (uint32_t)(apic->icr >> 32);
    default:
        return ref_read_common(apic, offset);
    }
}

void ref_get_state(const struct ref *ref, unsigned cpu, uint8_t *bytes)
{
    const struct ref_lapic *apic = &ref->lapic[cpu];
    memset(bytes, 0, REF_STATE_SIZE);
    for (uint32_t offset = 0; offset < REF_STATE_SIZE; offset += 16) {
        if (ref_exists(offset)) {
            put(bytes, offset, register_value(apic, offset));
        }
    }
    put(bytes, 0x394, apic->count != 0 ? apic->phase : 0);
    put(bytes, 0x354, apic->lint0_vector);
}

static const struct {
    uint32_t offset, allowed;
} limits[] = {
    { 0x80, 0xFF },        { 0xA0, 0xFF },  { 0xF0, 0x11FF },   { 0x100, 0xFFFF0000 },
    { 0x200, 0xFFFF0000 }, { 0x280, 0xE0 }, { 0x300, 0xCDFFF }, { 0x3E0, 0xB },
};

static bool lvt_is_legal(const uint8_t *bytes)
{
    static const uint32_t offsets[7] = { 0x2F0, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370 };
    for (unsigned i = 0; i < 7; i++) {
        if ((get(bytes, offsets[i]) & (uint32_t)ref_reserved(0x800 + offsets[i] / 16)) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_legal(const struct ref_lapic *apic, unsigned cpu, const uint8_t *bytes)
{
    uint32_t id = get(bytes, 0x20), count = get(bytes, 0x390);
    uint32_t unit = count != 0 ? ref_divisor(get(bytes, 0x3E0)) * REF_TICKS_PER_COUNT : 1;

    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if ((get(bytes, limits[i].offset) & ~limits[i].allowed) != 0) {
            return false;
        }
    }
    if (id != cpu && (mode(apic) == X2APIC || (id & 0xFFFFFF) != 0)) {
        return false;
    }
    if (get(bytes, 0x354) > 255) {
        return false;
    }
    return lvt_is_legal(bytes) && count <= get(bytes, 0x380) && get(bytes, 0x394) < unit;
}

static void set_vectors(struct ref_lapic *apic, const uint8_t *bytes)
{
    for (unsigned vector = 0; vector < 256; vector++) {
        uint32_t offset = vector / 32 * 16, bit = vector % 32;
        apic->isr[vector] = (get(bytes, 0x100 + offset) >> bit & 1) != 0;
        apic->tmr[vector] = (get(bytes, 0x180 + offset) >> bit & 1) != 0;
        apic->irr[vector] = (get(bytes, 0x200 + offset) >> bit & 1) != 0;
    }
}

/* A level of LINT0 awaits its EOI only if its vector is there to have one. */
static void set_lvts(struct ref_lapic *apic, const uint8_t *bytes)
{
    uint32_t lint0 = get(bytes, 0x350);
    uint8_t accepted = (uint8_t)get(bytes, 0x354);
    uint8_t vector = accepted != 0 ? accepted : (uint8_t)lint0;
    bool live = apic->irr[vector] || apic->isr[vector];

    for (uint32_t offset = 0x2F0; offset <= 0x370; offset += 16) {
        if (ref_lvt_at(offset) >= 0) {
            uint32_t forced = enabled(apic) ? 0 : 0x10000;
            apic->lvt[ref_lvt_at(offset)] = (get(bytes, offset) & ~0x5000U) | forced;
        }
    }
    apic->lint0_vector = (lint0 & 0xC700) == 0xC000 && live ? vector : 0;
    apic->lvt[LINT0] |= apic->lint0_vector != 0 ? 0x4000 : 0;
}

bool ref_set_state(struct ref *ref, unsigned cpu, const uint8_t *bytes)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    uint32_t id = get(bytes, 0x20);

    if (!is_legal(apic, cpu, bytes)) {
        return false;
    }
    apic->tpr = get(bytes, 0x80);
    apic->svr = get(bytes, 0xF0);
    apic->esr = get(bytes, 0x280);
    apic->dfr = get(bytes, 0xE0) | 0x0FFFFFFF;
    apic->icr = (uint64_t)get(bytes, 0x310) << 32 | get(bytes, 0x300);
    if (mode(apic) == X2APIC) {
        apic->icr &= ~0x1000ULL;
    } else {
        apic->icr &= 0xFF000000000CCFFF;
        apic->id = id == cpu ? cpu << 24 : id;
        apic->ldr = get(bytes, 0xD0) & 0xFF000000;
    }
    set_vectors(apic, bytes);
    set_lvts(apic, bytes);
    apic->divide = ref_divisor(get(bytes, 0x3E0));
    apic->initial = get(bytes, 0x380);
    apic->count = ref_timer_mode(apic) < 2 ? get(bytes, 0x390) : 0;
    apic->phase = get(bytes, 0x394);
    apic->deadline = 0;
    apic->errors = 0;
    ref_look_at_all(ref);
    return true;
}
