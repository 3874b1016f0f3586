/* SPDX-License-Identifier: MIT */
/* Memory shared with the guest that saves exits. */
#include "apic/paravirt.h"

#include "apic/eoi.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/priority.h"
#include "lib/error.h"

enum { VAPIC_SERVICE_SHIFT = 8, VAPIC_REQUEST_SHIFT = 24 };

static uint8_t *pv_eoi_byte(struct lapic *lapic)
{
    uint64_t address = lapic->paravirt.pv_eoi & ~PV_EOI_ENABLE;
    return apic_port_guest_memory(lapic, address, sizeof(uint8_t));
}

static uint32_t *vapic_word(struct lapic *lapic)
{
    return apic_port_guest_memory(lapic, lapic->paravirt.vapic, sizeof(uint32_t));
}

int lapic_write_pv_eoi(struct lapic *lapic, uint64_t value)
{
    uint64_t address = value & ~PV_EOI_ENABLE;

    if ((value & PV_EOI_RESERVED) != 0 || lapic_is_protected(lapic)) {
        return ERR_GP;
    }
    if ((value & PV_EOI_ENABLE) != 0 &&
        apic_port_guest_memory(lapic, address, sizeof(uint8_t)) == NULL) {
        return ERR_GP;
    }
    lapic->paravirt.pv_eoi = value;
    return RIVET_OK;
}

uint64_t lapic_read_pv_eoi(const struct lapic *lapic)
{
    return lapic->paravirt.pv_eoi;
}

int lapic_set_vapic(struct lapic *lapic, uint64_t address)
{
    if (address % sizeof(uint32_t) != 0 || lapic_is_protected(lapic) ||
        (address != 0 && apic_port_guest_memory(lapic, address, sizeof(uint32_t)) == NULL)) {
        return ERR_INVALID;
    }
    lapic->paravirt.vapic = address;
    lapic->paravirt.vapic_published = false;
    return RIVET_OK;
}

uint64_t lapic_read_vapic(const struct lapic *lapic)
{
    return lapic->paravirt.vapic;
}

void paravirt_reset(struct lapic *lapic)
{
    lapic->paravirt = (struct lapic_paravirt){ 0 };
}

/* --- PV EOI ----------------------------------------------------------------------------------- */

/*
 * Only if the EOI needs nobody's attention: no other interrupt waits for it, and no I/O APIC. With
 * APICv active hardware does the EOI, and vISR and SVI would lag behind one done here.
 */
static void offer_pv_eoi(struct lapic *lapic, int pending, int in_service)
{
    if ((lapic->paravirt.pv_eoi & PV_EOI_ENABLE) == 0 || lapic_apicv_active(lapic) ||
        pending >= 0 || in_service < 0 || page_test_vector(lapic, APIC_TMR, (uint8_t)in_service)) {
        return;
    }
    uint8_t *byte = pv_eoi_byte(lapic);
    if (byte != NULL) {
        __atomic_store_n(byte, PV_EOI_NOT_NEEDED, __ATOMIC_RELEASE);
        lapic->paravirt.pv_eoi_offered = true;
    }
}

static void collect_pv_eoi(struct lapic *lapic)
{
    uint8_t *byte = pv_eoi_byte(lapic);
    lapic->paravirt.pv_eoi_offered = false;
    if (byte == NULL) {
        return;
    }
    uint8_t left = __atomic_exchange_n(byte, 0, __ATOMIC_ACQ_REL);
    if ((left & PV_EOI_NOT_NEEDED) == 0) {
        eoi_signal(lapic);
    }
}

/* --- The vapic page --------------------------------------------------------------------------- */

static void publish_vapic(struct lapic *lapic, int pending, int in_service)
{
    bool wanted = lapic->paravirt.vapic != 0 && lapic_mode(lapic) != LAPIC_DISABLED;
    uint32_t *word = wanted ? vapic_word(lapic) : NULL;
    if (word == NULL) {
        return;
    }
    uint32_t tpr = page_read(lapic, APIC_TPR);
    uint32_t service = in_service < 0 ? 0 : (uint32_t)in_service & APIC_PRIORITY_CLASS;
    uint32_t request = pending < 0 ? 0 : (uint32_t)pending;

    __atomic_store_n(word, tpr | service << VAPIC_SERVICE_SHIFT | request << VAPIC_REQUEST_SHIFT,
                     __ATOMIC_RELEASE);
    lapic->paravirt.vapic_tpr = (uint8_t)tpr;
    lapic->paravirt.vapic_published = true;
}

/* A TPR that the guest has not written there may be older than one it wrote elsewhere. */
static void collect_vapic(struct lapic *lapic)
{
    uint32_t *word = vapic_word(lapic);
    lapic->paravirt.vapic_published = false;
    if (word == NULL) {
        return;
    }
    uint8_t tpr = (uint8_t)__atomic_load_n(word, __ATOMIC_ACQUIRE);
    if (tpr != lapic->paravirt.vapic_tpr) {
        page_write(lapic, APIC_TPR, tpr);
        priority_update_ppr(lapic);
    }
}

/* --- Around guest mode ------------------------------------------------------------------------ */

void paravirt_before_entry(struct lapic *lapic, int pending, int in_service)
{
    offer_pv_eoi(lapic, pending, in_service);
    publish_vapic(lapic, pending, in_service);
}

void lapic_after_exit_slow(struct lapic *lapic)
{
    if (lapic->paravirt.pv_eoi_offered) {
        collect_pv_eoi(lapic);
    }
    if (lapic->paravirt.vapic_published) {
        collect_vapic(lapic);
    }
}
