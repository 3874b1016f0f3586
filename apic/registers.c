/* SPDX-License-Identifier: MIT */
/*
 * The registers of a local APIC, one handler each (SDM volume 3, chapter "Advanced Programmable
 * Interrupt Controller").
 */
#include "apic/registers.h"

#include "apic/eoi.h"
#include "apic/icr.h"
#include "apic/lapic.h"
#include "apic/lvt.h"
#include "apic/page.h"
#include "apic/priority.h"
#include "apic/protected.h"
#include "apic/regs.h"

/* --- Reads ---------------------------------------------------------------------------------- */

static uint32_t read_page(struct lapic *lapic, uint32_t offset)
{
    return page_read(lapic, offset);
}

/* Write-only registers, and those that only older processors have. */
static uint32_t read_zero(struct lapic *lapic, uint32_t offset)
{
    (void)lapic;
    (void)offset;
    return 0;
}

static uint32_t read_ppr(struct lapic *lapic, uint32_t offset)
{
    (void)offset;
    return priority_update_ppr(lapic);
}

/* An interrupt handed over but not yet in vIRR is pending all the same. */
static uint32_t read_irr(struct lapic *lapic, uint32_t offset)
{
    priority_pull_posted(lapic);
    return page_read(lapic, offset);
}

static uint32_t read_current_count(struct lapic *lapic, uint32_t offset)
{
    (void)offset;
    return timer_read_current_count(lapic);
}

/* --- Writes --------------------------------------------------------------------------------- */

/* Level interrupts that named nobody may name this local APIC now. */
static void ids_written(struct lapic *lapic)
{
    apic_vm_ids_changed(lapic->vm);
    ioapic_retry(lapic->vm);
}

static void write_id(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    page_write(lapic, offset, value & APIC_ID_XAPIC);
    ids_written(lapic);
}

static void write_tpr(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    page_write(lapic, offset, value & APIC_PRIORITY);
    priority_update_ppr(lapic);
}

static void write_eoi(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    (void)value;
    page_write(lapic, offset, 0);
    eoi_signal(lapic);
}

static void write_ldr(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    page_write(lapic, offset, value & APIC_LDR_XAPIC);
    ids_written(lapic);
}

static void write_dfr(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    page_write(lapic, offset, value | APIC_DFR_FIXED_ONES);
    ids_written(lapic);
}

/*
 * "Local APIC State After It Has Been Software Disabled": the mask bits are set then and stay set
 * until it is enabled again; interrupts pending or in service stay.
 */
static void write_svr(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    bool enable = (value & APIC_SVR_ENABLE) != 0;

    page_write(lapic, offset, value & APIC_SVR_BITS);
    if (enable == lapic->software_enabled) {
        return;
    }
    lapic->software_enabled = enable;
    apic_request(lapic, LAPIC_REQUEST_APICV);
    if (enable) {
        ioapic_retry(lapic->vm);
    } else {
        lvt_mask_all(lapic);
    }
}

/* "Error Handling": a write moves the errors collected since the last one into the register. */
static void write_esr(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    (void)value;
    page_write(lapic, offset, atomic_exchange(&lapic->esr_pending, 0));
}

static void write_initial_count(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    (void)offset;
    timer_write_initial_count(lapic, value);
}

static void write_divide(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    (void)offset;
    timer_write_divide(lapic, value & APIC_DIVIDE_BITS);
}

static void write_self_ipi(struct lapic *lapic, uint32_t offset, uint32_t value)
{
    page_write(lapic, offset, 0);
    icr_send_self(lapic, (uint8_t)value);
}

/* --- The table ------------------------------------------------------------------------------ */

#define XR  REGISTER_XAPIC_READ
#define XW  REGISTER_XAPIC_WRITE
#define X2R REGISTER_X2APIC_READ
#define X2W REGISTER_X2APIC_WRITE
#define RW  (XR | XW | X2R | X2W)

#define AT(offset) [(offset) / APIC_REGISTER_STRIDE]
#define VECTORS(bank, get) \
    [(bank) / APIC_REGISTER_STRIDE...(bank) / APIC_REGISTER_STRIDE + 7] = { get, NULL, 0, XR | X2R }
#define NO_BITS 0xFFFFFFFFU

static const struct lapic_register registers[APIC_REGISTER_COUNT] = {
    AT(APIC_ID) = { read_page, write_id, 0, XR | XW | X2R },
    AT(APIC_VERSION) = { read_page, NULL, 0, XR | X2R },
    AT(APIC_TPR) = { read_page, write_tpr, ~APIC_PRIORITY, RW },
    AT(APIC_APR) = { read_zero, NULL, 0, XR },
    AT(APIC_PPR) = { read_ppr, NULL, 0, XR | X2R },
    AT(APIC_EOI) = { read_zero, write_eoi, NO_BITS, XR | XW | X2W },
    AT(APIC_RRD) = { read_zero, NULL, 0, XR },
    AT(APIC_LDR) = { read_page, write_ldr, 0, XR | XW | X2R },
    AT(APIC_DFR) = { read_page, write_dfr, 0, XR | XW },
    AT(APIC_SVR) = { read_page, write_svr, ~APIC_SVR_BITS, RW },
    VECTORS(APIC_ISR, read_page),
    VECTORS(APIC_TMR, read_page),
    VECTORS(APIC_IRR, read_irr),
    AT(APIC_ESR) = { read_page, write_esr, NO_BITS, RW },
    AT(APIC_LVT_CMCI) = { read_page, lvt_write, ~LVT_BITS_CMCI, RW },
    AT(APIC_ICR) = { read_page, icr_write_xapic, APIC_ICR_X2APIC_RESERVED, RW },
    AT(APIC_ICR2) = { read_page, icr2_write, 0, XR | XW },
    AT(APIC_LVT_TIMER) = { read_page, lvt_write, ~LVT_BITS_TIMER, RW },
    AT(APIC_LVT_THERMAL) = { read_page, lvt_write, ~LVT_BITS_THERMAL, RW },
    AT(APIC_LVT_PMI) = { read_page, lvt_write, ~LVT_BITS_PMI, RW },
    AT(APIC_LVT_LINT0) = { read_page, lvt_write, ~LVT_BITS_LINT, RW },
    AT(APIC_LVT_LINT1) = { read_page, lvt_write, ~LVT_BITS_LINT, RW },
    AT(APIC_LVT_ERROR) = { read_page, lvt_write, ~LVT_BITS_ERROR, RW },
    AT(APIC_INITIAL_COUNT) = { read_page, write_initial_count, 0, RW },
    AT(APIC_CURRENT_COUNT) = { read_current_count, NULL, 0, XR | X2R },
    AT(APIC_DIVIDE) = { read_page, write_divide, ~APIC_DIVIDE_BITS, RW },
    AT(APIC_SELF_IPI) = { NULL, write_self_ipi, ~0xFFU, X2W },
};

const struct lapic_register *register_known(uint32_t offset)
{
    if (offset >= APIC_REGISTER_COUNT * APIC_REGISTER_STRIDE) {
        return NULL;
    }
    const struct lapic_register *reg = &registers[offset / APIC_REGISTER_STRIDE];
    return reg->access != 0 ? reg : NULL;
}

const struct lapic_register *register_at(const struct lapic *lapic, uint32_t offset)
{
    if (offset == APIC_LVT_CMCI && !lapic->vm->features.cmci) {
        return NULL;
    }
    return register_known(offset);
}

static uint32_t version(const struct lapic *lapic)
{
    uint32_t max_lvt = lapic->vm->features.cmci ? 6 : 5;
    return APIC_VERSION_NUMBER | max_lvt << APIC_VERSION_MAX_LVT_SHIFT |
           APIC_VERSION_EOI_SUPPRESSION;
}

static void clear_vectors(struct lapic *lapic, uint32_t bank)
{
    for (uint32_t i = 0; i < 8; i++) {
        page_write(lapic, bank + i * APIC_REGISTER_STRIDE, 0);
    }
}

/* TPR, PPR, ISR and IRR. */
static void reset_priority(struct lapic *lapic)
{
    if (lapic_is_protected(lapic)) {
        protected_reset(lapic);
        return;
    }
    page_write(lapic, APIC_TPR, 0);
    page_write(lapic, APIC_PPR, 0);
    clear_vectors(lapic, APIC_ISR);
    clear_vectors(lapic, APIC_IRR);
}

/* "Local APIC State After Power-Up or Reset". */
void registers_reset(struct lapic *lapic)
{
    page_write(lapic, APIC_VERSION, version(lapic));
    reset_priority(lapic);
    page_write(lapic, APIC_LDR, 0);
    page_write(lapic, APIC_DFR, APIC_DFR_FLAT | APIC_DFR_FIXED_ONES);
    page_write(lapic, APIC_SVR, APIC_SVR_RESET);
    clear_vectors(lapic, APIC_TMR);
    page_write(lapic, APIC_ESR, 0);
    page_write_icr64(lapic, 0);
    page_write(lapic, APIC_ICR2, 0);
    page_write(lapic, APIC_INITIAL_COUNT, 0);
    page_write(lapic, APIC_DIVIDE, 0);
    lapic->software_enabled = false;
    timer_reset(lapic);
    lvt_reset(lapic);
}
