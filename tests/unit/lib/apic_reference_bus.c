/* SPDX-License-Identifier: MIT */
/* The slow reference's messages between local APICs, its I/O APIC and MSIs. */
#include "tests/unit/lib/apic_reference.h"
#include "tests/unit/lib/apic_reference_parts.h"

/* --- Messages --------------------------------------------------------------------------------- */

struct message {
    uint32_t destination;
    bool logical, wide, level, assert;
    unsigned mode, vector;
};

static bool takes(const struct ref *ref, struct ref_lapic *apic, const struct message *message)
{
    switch (message->mode) {
    case 0:
    case 1:
        return ref_accept(apic, message->vector, message->level);
    case 4:
        apic->nmis++;
        return true;
    case 5:
        if (message->level && !message->assert) {
            return false;
        }
        apic->init = true;
        apic->sipi = false;
        return true;
    case 6:
        if (!apic->sipi) {
            apic->sipi = true;
            apic->sipi_vector = (uint8_t)message->vector;
        }
        return true;
    case 7:
        apic->extint |= ref->has_pic && enabled(apic);
        return ref->has_pic && enabled(apic);
    default:
        return false;
    }
}

static bool named(const struct ref_lapic *apic, const struct message *message)
{
    uint32_t to = message->destination;
    if (mode(apic) == OFF) {
        return false;
    }
    if (to == (message->wide ? 0xFFFFFFFF : 0xFF)) {
        return true;
    }
    if (!message->logical) {
        return to == (mode(apic) == X2APIC ? apic->id : apic->id >> 24);
    }
    if (mode(apic) == X2APIC) {
        return apic->ldr >> 16 == to >> 16 && (apic->ldr & to & 0xFFFF) != 0;
    }
    if (to > 0xFF) {
        return false;
    }
    if (apic->dfr >> 28 == 0xF) {
        return (apic->ldr >> 24 & to) != 0;
    }
    return apic->dfr >> 28 == 0 && apic->ldr >> 28 == to >> 4 && (apic->ldr >> 24 & to & 0xF) != 0;
}

/* From the one after the last winner on, the first with the lowest PPR. */
static bool lowest_priority(struct ref *ref, const bool *candidates, const struct message *message)
{
    int winner = -1;
    for (unsigned i = 1; i <= REF_VCPUS; i++) {
        unsigned at = (ref->arbitration + i) % REF_VCPUS;
        if (candidates[at] && enabled(&ref->lapic[at]) &&
            (winner < 0 || ref_ppr(&ref->lapic[at]) < ref_ppr(&ref->lapic[winner]))) {
            winner = (int)at;
        }
    }
    if (winner < 0) {
        return false;
    }
    ref->arbitration = (unsigned)winner;
    return takes(ref, &ref->lapic[winner], message);
}

static bool deliver(struct ref *ref, const bool *candidates, const struct message *message)
{
    bool taken = false;
    if (message->mode == 1) {
        return lowest_priority(ref, candidates, message);
    }
    for (unsigned i = 0; i < REF_VCPUS; i++) {
        if (candidates[i]) {
            taken |= takes(ref, &ref->lapic[i], message);
        }
    }
    return taken;
}

static bool send(struct ref *ref, const struct message *message)
{
    bool candidates[REF_VCPUS];
    if (message->mode == 6) {
        return false;
    }
    for (unsigned i = 0; i < REF_VCPUS; i++) {
        candidates[i] = named(&ref->lapic[i], message);
    }
    return deliver(ref, candidates, message);
}

void ref_ipi(struct ref *ref, unsigned from, uint32_t icr, uint32_t destination)
{
    struct ref_lapic *apic = &ref->lapic[from];
    unsigned shorthand = icr >> 18 & 3;
    struct message message = { .destination = destination,
                               .wide = mode(apic) == X2APIC,
                               .logical = (icr >> 11 & 1) != 0,
                               .mode = icr >> 8 & 7,
                               .vector = icr & 0xFF,
                               .level = (icr >> 15 & 1) != 0,
                               .assert = (icr >> 14 & 1) != 0 };
    bool candidates[REF_VCPUS];

    if (message.mode == 3 || message.mode == 7) {
        return;
    }
    if (message.mode < 2) {
        message.level = false;
        if (message.vector < 16) {
            ref_error(apic, 0x20);
        }
    }
    for (unsigned i = 0; i < REF_VCPUS; i++) {
        candidates[i] = shorthand == 0   ? named(&ref->lapic[i], &message)
                        : shorthand == 1 ? i == from
                        : shorthand == 2 ? true
                                         : i != from;
        candidates[i] = candidates[i] && mode(&ref->lapic[i]) != OFF;
    }
    deliver(ref, candidates, &message);
}

/* --- The I/O APIC ----------------------------------------------------------------------------- */

static bool has_eoi(const struct ref_pin *pin)
{
    return pin->level && pin->mode < 2;
}

static void fire(struct ref *ref, struct ref_pin *pin)
{
    struct message message = { .destination = pin->destination,
                               .logical = pin->logical,
                               .mode = pin->mode,
                               .vector = pin->vector,
                               .level = has_eoi(pin),
                               .assert = true };
    if (pin->masked || (has_eoi(pin) && pin->remote_irr)) {
        return;
    }
    if (send(ref, &message) && has_eoi(pin)) {
        pin->remote_irr = true;
    }
}

static void look_again(struct ref *ref, struct ref_pin *pin)
{
    if (pin->asserted && has_eoi(pin)) {
        fire(ref, pin);
    }
}

void ref_line(struct ref *ref, unsigned number, bool asserted)
{
    struct ref_pin *pin = &ref->pin[number];
    bool was = pin->asserted;
    pin->asserted = asserted;
    if (asserted && !was) {
        fire(ref, pin);
    }
}

void ref_ioapic_eoi(struct ref *ref, unsigned vector)
{
    for (unsigned i = 0; i < REF_PINS; i++) {
        struct ref_pin *pin = &ref->pin[i];
        if (pin->remote_irr && pin->vector == vector) {
            pin->remote_irr = false;
            look_again(ref, pin);
        }
    }
}

static uint32_t pin_low(const struct ref_pin *pin)
{
    return pin->vector | (uint32_t)pin->mode << 8 | (uint32_t)pin->logical << 11 |
           (uint32_t)pin->polarity << 13 | (uint32_t)pin->remote_irr << 14 |
           (uint32_t)pin->level << 15 | (uint32_t)pin->masked << 16;
}

static void set_pin_low(struct ref *ref, struct ref_pin *pin, uint32_t value)
{
    pin->vector = (uint8_t)value;
    pin->mode = value >> 8 & 7;
    pin->logical = (value >> 11 & 1) != 0;
    pin->polarity = (value >> 13 & 1) != 0;
    pin->level = (value >> 15 & 1) != 0;
    pin->masked = (value >> 16 & 1) != 0;
    pin->remote_irr = pin->remote_irr && pin->level;
    look_again(ref, pin);
}

uint32_t ref_ioapic_read(struct ref *ref, uint32_t offset)
{
    uint32_t index = ref->ioapic_select;
    if (offset == 0) {
        return index;
    }
    if (offset != 0x10) {
        return 0;
    }
    if (index >= 0x10 && index < 0x40) {
        const struct ref_pin *pin = &ref->pin[(index - 0x10) / 2];
        return index % 2 != 0 ? (uint32_t)pin->destination << 24 : pin_low(pin);
    }
    return index == 1 ? 0x00170020 : index == 0 || index == 2 ? ref->ioapic_id : 0;
}

void ref_ioapic_write(struct ref *ref, uint32_t offset, uint32_t value)
{
    uint32_t index = ref->ioapic_select;
    if (offset == 0) {
        ref->ioapic_select = value & 0xFF;
    } else if (offset == 0x40) {
        ref_ioapic_eoi(ref, value & 0xFF);
    } else if (offset == 0x10 && index >= 0x10 && index < 0x40) {
        struct ref_pin *pin = &ref->pin[(index - 0x10) / 2];
        if (index % 2 != 0) {
            pin->destination = (uint8_t)(value >> 24);
            look_again(ref, pin);
        } else {
            set_pin_low(ref, pin, value);
        }
    } else if (offset == 0x10 && index == 0) {
        ref->ioapic_id = value & 0x0F000000;
    }
}

void ref_msi(struct ref *ref, uint32_t address, uint32_t data)
{
    struct message message = { .destination = address >> 12 & 0xFF,
                               .logical = (address >> 2 & 1) != 0,
                               .mode = data >> 8 & 7,
                               .vector = data & 0xFF,
                               .level = (data >> 15 & 1) != 0,
                               .assert = (data >> 14 & 1) != 0 };
    if (address >> 20 != 0xFEE || (message.level && !message.assert)) {
        return;
    }
    if (message.mode == 0 && message.logical && (address >> 3 & 1) != 0) {
        message.mode = 1;
    }
    send(ref, &message);
}

void ref_look_at_all(struct ref *ref)
{
    for (unsigned i = 0; i < REF_PINS; i++) {
        look_again(ref, &ref->pin[i]);
    }
}
