/* SPDX-License-Identifier: MIT */
/*
 * What a local APIC does with a message, and the INIT and SIPI it holds pending (SDM volume 3,
 * "Handling Interrupts", "Interrupt Acceptance for Fixed Interrupts", "MP Initialization
 * Protocol").
 */
#include "apic/eoi.h"
#include "apic/error.h"
#include "apic/extint.h"
#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/pi.h"
#include "apic/port.h"
#include "apic/protected.h"
#include "apic/vm.h"

enum { SIPI_VECTOR_SHIFT = 8 };

/* ON went from 0 to 1: make the owner, or its hardware, look. */
static void notify(struct lapic *lapic)
{
    if (lapic_apicv_active(lapic)) {
        apic_port_notify(lapic);
    } else {
        apic_port_kick(lapic);
    }
}

/* TMR first, then PIR, then ON: who sees the interrupt knows its trigger mode. */
static bool accept_fixed(struct lapic *lapic, uint8_t vector, bool level)
{
    bool eoi_exits = true;

    if (!lapic_software_enabled(lapic)) {
        return false;
    }
    if (vector < APIC_FIRST_VECTOR) {
        error_report(lapic, APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
        return false;
    }
    page_write_tmr(lapic, vector, level);
    if (level) {
        eoi_exits = eoi_note_level(lapic, vector);
    } else {
        eoi_note_edge(lapic, vector);
    }
    if (!eoi_exits && lapic_is_protected(lapic)) {
        protected_hold_back(lapic, vector);
        apic_request(lapic, LAPIC_REQUEST_EOI_EXITS);
        return true;
    }
    bool first = pi_post(lapic->pi, vector);
    if (!eoi_exits) {
        apic_request(lapic, LAPIC_REQUEST_EOI_EXITS);
    } else if (first) {
        notify(lapic);
    }
    return true;
}

/* An INIT forgets a SIPI from before it; one after it starts the vCPU. */
static bool accept_init(struct lapic *lapic, const struct apic_message *message)
{
    if (message->level && !message->assert_level) {
        return false; /* INIT level de-assert: nothing on processors with x2APIC */
    }
    atomic_store(&lapic->events, LAPIC_EVENT_INIT);
    apic_port_kick(lapic);
    return true;
}

/*
 * A second SIPI finds the first one pending and is dropped, as it would be once that one was taken.
 */
static bool accept_sipi(struct lapic *lapic, uint8_t vector)
{
    uint32_t sipi = LAPIC_EVENT_SIPI | (uint32_t)vector << SIPI_VECTOR_SHIFT;
    uint32_t old = atomic_load(&lapic->events);
    do {
        if ((old & LAPIC_EVENT_SIPI) != 0) {
            return true;
        }
    } while (!atomic_compare_exchange_weak(&lapic->events, &old, old | sipi));
    apic_port_kick(lapic);
    return true;
}

static bool refuse(struct lapic *lapic, enum apic_log what, const char *text, uint8_t vector)
{
    if ((atomic_fetch_or(&lapic->vm->logged, BIT32(what)) & BIT32(what)) == 0) {
        apic_port_log(lapic, text, vector);
    }
    return false;
}

bool lapic_accept(struct lapic *lapic, const struct apic_message *message)
{
    if (lapic_mode(lapic) == LAPIC_DISABLED) {
        return false;
    }
    switch ((enum apic_delivery_mode)message->delivery_mode) {
    case APIC_DELIVERY_FIXED:
    case APIC_DELIVERY_LOWEST_PRIORITY:
        return accept_fixed(lapic, message->vector, message->level);
    case APIC_DELIVERY_SMI:
        return refuse(lapic, APIC_LOG_SMI, "dropped an SMI: there is no SMM", message->vector);
    case APIC_DELIVERY_NMI:
        apic_port_nmi(lapic);
        return true;
    case APIC_DELIVERY_INIT:
        return accept_init(lapic, message);
    case APIC_DELIVERY_SIPI:
        return accept_sipi(lapic, message->vector);
    case APIC_DELIVERY_EXTINT:
        if (atomic_load(&lapic->vm->extint_source) != APIC_EXTINT_NONE) {
            return extint_accept(lapic);
        }
        return refuse(lapic, APIC_LOG_EXTINT, "dropped an ExtINT: there is no 8259",
                      message->vector);
    case APIC_DELIVERY_RESERVED:
        break;
    }
    return false;
}

struct lapic_events lapic_take_events(struct lapic *lapic, bool wait_for_sipi)
{
    struct lapic_events taken = { .sipi = -1 };
    if (atomic_load_explicit(&lapic->events, memory_order_relaxed) == 0) {
        return taken;
    }
    uint32_t events = atomic_exchange(&lapic->events, 0);
    taken.init = (events & LAPIC_EVENT_INIT) != 0;
    if (taken.init) {
        wait_for_sipi = (lapic_read_base(lapic) & APIC_BASE_BSP) == 0;
    }
    if (wait_for_sipi && (events & LAPIC_EVENT_SIPI) != 0) {
        taken.sipi = (int)((events & LAPIC_EVENT_SIPI_VECTOR) >> SIPI_VECTOR_SHIFT);
    }
    return taken;
}
