/* SPDX-License-Identifier: MIT */
/*
 * The interrupt command register and self-IPI (SDM volume 3, "Issuing Interprocessor Interrupts").
 */
#include "apic/icr.h"

#include "apic/error.h"
#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/regs.h"
#include "apic/vm.h"

static bool vector_matters(uint8_t delivery_mode)
{
    return delivery_mode == APIC_DELIVERY_FIXED || delivery_mode == APIC_DELIVERY_LOWEST_PRIORITY;
}

/* "Interrupt Command Register": reserved and ExtINT delivery cannot be sent. */
static bool can_send(uint8_t delivery_mode)
{
    return delivery_mode != APIC_DELIVERY_RESERVED && delivery_mode != APIC_DELIVERY_EXTINT;
}

/*
 * An illegal vector is reported by the sender and, as the message goes out all the same, by each
 * receiver ("Error Handling", send and receive illegal vector).
 */
static void send(struct lapic *lapic, uint32_t low, uint32_t destination, bool x2apic_format)
{
    struct apic_message message = {
        .destination = destination,
        .logical = (low & APIC_ICR_LOGICAL) != 0,
        .x2apic_format = x2apic_format,
        .delivery_mode = (uint8_t)field_get(APIC_ICR_DELIVERY_MODE, low),
        .vector = low & APIC_ICR_VECTOR,
        .level = (low & APIC_ICR_LEVEL) != 0,
        .assert_level = (low & APIC_ICR_ASSERT) != 0,
        .shorthand = (uint8_t)field_get(APIC_ICR_SHORTHAND, low),
        .source = lapic,
    };
    if (!can_send(message.delivery_mode)) {
        return;
    }
    if (vector_matters(message.delivery_mode)) {
        /* The trigger mode counts for INIT level de-assert only; all else is edge. */
        message.level = false;
        if (message.vector < APIC_FIRST_VECTOR) {
            error_report(lapic, APIC_ESR_SEND_ILLEGAL_VECTOR);
        }
    }
    apic_vm_deliver(lapic->vm, &message);
}

void icr_write_xapic(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    value &= APIC_ICR_BITS;
    page_write(lapic, offset, value);
    send(lapic, value, page_read(lapic, APIC_ICR2) >> 24, false);
}

void icr2_write(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    page_write(lapic, offset, value & APIC_ICR2_DESTINATION);
}

void icr_write_x2apic(struct lapic *lapic, uint64_t value)
{
    value &= ~(uint64_t)APIC_ICR_DELIVERY_STATUS;
    page_write_icr64(lapic, value);
    send(lapic, (uint32_t)value, (uint32_t)(value >> 32), true);
}

void icr_send_self(struct lapic *lapic, uint8_t vector)
{
    send(lapic, (uint32_t)field_set(APIC_ICR_SHORTHAND, vector, APIC_SHORTHAND_SELF), 0, true);
}
