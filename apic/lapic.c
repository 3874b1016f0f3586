/* SPDX-License-Identifier: MIT */
/*
 * A guest's local APIC: life, modes, and the ways in which a guest reaches its registers (SDM
 * volume 3, chapter "Advanced Programmable Interrupt Controller", section "Extended XAPIC
 * (x2APIC)").
 */
#include "apic/lapic.h"

#include "apic/error.h"
#include "apic/extint.h"
#include "apic/icr.h"
#include "apic/mode.h"
#include "apic/page.h"
#include "apic/paravirt.h"
#include "apic/pi.h"
#include "apic/port.h"
#include "apic/registers.h"
#include "lib/error.h"

enum { DEFAULT_ADDRESS_BITS = 52 };

enum lapic_mode lapic_mode(const struct lapic *lapic)
{
    uint64_t base = lapic_read_base(lapic);
    if ((base & APIC_BASE_EN) == 0) {
        return LAPIC_DISABLED;
    }
    return (base & APIC_BASE_EXTD) != 0 ? LAPIC_X2APIC : LAPIC_XAPIC;
}

uint64_t lapic_read_base(const struct lapic *lapic)
{
    return __atomic_load_n(&lapic->base, __ATOMIC_RELAXED);
}

void lapic_set_base(struct lapic *lapic, uint64_t base)
{
    __atomic_store_n(&lapic->base, base, __ATOMIC_RELAXED);
}

/* "Deriving Logical x2APIC ID from the Local x2APIC ID". */
void lapic_set_x2apic_ids(struct lapic *lapic)
{
    page_write(lapic, APIC_ID, lapic->id);
    page_write(lapic, APIC_LDR, (lapic->id >> 4) << 16 | BIT32(lapic->id & 0xF));
}

static void set_xapic_id(struct lapic *lapic)
{
    page_write(lapic, APIC_ID, lapic->id << 24);
}

/* --- Life ----------------------------------------------------------------------------------- */

static void forget_interrupts(struct lapic *lapic)
{
    pi_discard(lapic->pi);
    for (unsigned word = 0; word < 4; word++) {
        atomic_store(&lapic->level_posted[word], 0);
    }
    atomic_store(&lapic->esr_pending, 0);
    atomic_fetch_and(&lapic->extint, ~(uint32_t)LAPIC_EXTINT_MESSAGE);
    atomic_fetch_and(&lapic->requests, ~(uint32_t)(LAPIC_REQUEST_ERROR | LAPIC_REQUEST_LINT0));
    lapic->status_stale = true;
}

/* Registers as after reset; the caller has set the mode, and tells the VM afterwards. */
static void reset_registers(struct lapic *lapic, bool keep_id)
{
    registers_reset(lapic);
    forget_interrupts(lapic);
    if (lapic_mode(lapic) == LAPIC_X2APIC) {
        lapic_set_x2apic_ids(lapic);
    } else if (!keep_id) {
        set_xapic_id(lapic);
    }
}

void lapic_mode_changed(struct lapic *lapic)
{
    apic_vm_ids_changed(lapic->vm);
    apic_vm_extint_changed(lapic->vm);
    apic_request(lapic, LAPIC_REQUEST_APICV);
}

void lapic_init(struct lapic *lapic, struct apic_vm *vm, uint32_t id, void *page,
                void *virtual_page, struct pi_desc *pi)
{
    *lapic = (struct lapic){ .page = page, .virtual_page = virtual_page, .pi = pi, .vm = vm };
    lapic->id = id;
    lapic->tpr_threshold = 0xFF;
    vm->lapics[id] = lapic;
    if (vm->vcpu_count <= id) {
        vm->vcpu_count = id + 1;
    }
    lapic_reset(lapic, false);
}

void lapic_reset(struct lapic *lapic, bool init)
{
    if (!init) {
        uint64_t bsp = lapic->id == 0 ? APIC_BASE_BSP : 0;
        uint64_t extd = lapic_is_protected(lapic) ? APIC_BASE_EXTD : 0;
        lapic_set_base(lapic, APIC_BASE_DEFAULT | APIC_BASE_EN | extd | bsp);
        atomic_store(&lapic->events, 0);
    }
    reset_registers(lapic, init);
    paravirt_reset(lapic);
    lapic_mode_changed(lapic);
}

/* --- Modes ---------------------------------------------------------------------------------- */

uint64_t lapic_base_reserved(const struct lapic *lapic)
{
    unsigned width = lapic->vm->features.physical_address_bits;
    uint64_t extd = lapic->vm->features.no_x2apic ? APIC_BASE_EXTD : 0;
    return APIC_BASE_RESERVED | extd | ~(BIT(width != 0 ? width : DEFAULT_ADDRESS_BITS) - 1);
}

static bool is_legal_transition(uint64_t from, uint64_t to)
{
    bool from_x2apic = (from & APIC_BASE_EXTD) != 0, from_enabled = (from & APIC_BASE_EN) != 0;
    bool to_x2apic = (to & APIC_BASE_EXTD) != 0, to_enabled = (to & APIC_BASE_EN) != 0;

    if (to_x2apic) {
        return to_enabled && from_enabled;
    }
    return !(from_x2apic && to_enabled);
}

/*
 * "x2APIC State Transitions": from xAPIC to x2APIC only LDR, an id that software wrote and the high
 * half of ICR change; disabling and enabling again starts from the state after reset.
 */
static void change_mode(struct lapic *lapic, enum lapic_mode to)
{
    if (to == LAPIC_X2APIC) {
        lapic_set_x2apic_ids(lapic);
        page_write_icr64(lapic, page_read(lapic, APIC_ICR));
        page_write(lapic, APIC_ICR2, 0);
    } else {
        reset_registers(lapic, false);
    }
}

int lapic_write_base(struct lapic *lapic, uint64_t value)
{
    uint64_t old = lapic->base;
    enum lapic_mode old_mode = lapic_mode(lapic);

    if (lapic_is_protected(lapic)) {
        return value == old ? RIVET_OK : ERR_GP;
    }
    if ((value & lapic_base_reserved(lapic)) != 0 || !is_legal_transition(old, value)) {
        return ERR_GP;
    }
    lapic_set_base(lapic, value);
    if (lapic_mode(lapic) != old_mode) {
        change_mode(lapic, lapic_mode(lapic));
    }
    if (((old ^ value) & ~APIC_BASE_BSP) != 0) {
        lapic_mode_changed(lapic);
        ioapic_retry(lapic->vm);
    }
    return RIVET_OK;
}

/* --- MSRs ----------------------------------------------------------------------------------- */

static uint32_t msr_to_offset(uint32_t msr)
{
    return (msr - MSR_X2APIC_FIRST) * APIC_REGISTER_STRIDE;
}

static int read_x2apic(struct lapic *lapic, uint32_t msr, uint64_t *value)
{
    uint32_t offset = msr_to_offset(msr);
    const struct lapic_register *reg = register_at(lapic, offset);

    if (reg == NULL || (reg->access & REGISTER_X2APIC_READ) == 0) {
        return ERR_GP;
    }
    *value = offset == APIC_ICR ? page_read_icr64(lapic) : reg->read(lapic, offset);
    return RIVET_OK;
}

static int write_x2apic(struct lapic *lapic, uint32_t msr, uint64_t value)
{
    uint32_t offset = msr_to_offset(msr);
    const struct lapic_register *reg = register_at(lapic, offset);
    uint64_t high_half = offset == APIC_ICR ? 0 : ~0xFFFFFFFFULL;

    if (reg == NULL || (reg->access & REGISTER_X2APIC_WRITE) == 0 ||
        (value & (high_half | reg->x2apic_reserved)) != 0) {
        return ERR_GP;
    }
    if (offset == APIC_ICR) {
        icr_write_x2apic(lapic, value);
    } else {
        reg->write(lapic, offset, (uint32_t)value);
    }
    return RIVET_OK;
}

static bool is_x2apic_msr(const struct lapic *lapic, uint32_t msr)
{
    return msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST && lapic_mode(lapic) == LAPIC_X2APIC;
}

int lapic_read_msr(struct lapic *lapic, uint32_t msr, uint64_t *value)
{
    if (msr == MSR_TSC_DEADLINE) {
        *value = timer_read_deadline(lapic);
        return RIVET_OK;
    }
    return is_x2apic_msr(lapic, msr) ? read_x2apic(lapic, msr, value) : ERR_GP;
}

int lapic_write_msr(struct lapic *lapic, uint32_t msr, uint64_t value)
{
    if (msr == MSR_TSC_DEADLINE) {
        timer_write_deadline(lapic, value);
        return RIVET_OK;
    }
    return is_x2apic_msr(lapic, msr) ? write_x2apic(lapic, msr, value) : ERR_GP;
}

/* Bits of lapic_direct_reads and lapic_direct_writes. */
#define DIRECT(offset)      BIT((offset) / APIC_REGISTER_STRIDE)
#define DIRECT_BANK(offset) (0xFFULL << (offset) / APIC_REGISTER_STRIDE)
#define HARDWARE_READS \
    (DIRECT(APIC_TPR) | DIRECT(APIC_PPR) | DIRECT_BANK(APIC_ISR) | DIRECT_BANK(APIC_IRR))
/* Without those computed at the read, and LVT CMCI, which may not exist. */
#define VIRTUAL_READS                                                                 \
    (HARDWARE_READS | DIRECT(APIC_ID) | DIRECT(APIC_VERSION) | DIRECT(APIC_LDR) |     \
     DIRECT(APIC_SVR) | DIRECT_BANK(APIC_TMR) | DIRECT(APIC_ESR) | DIRECT(APIC_ICR) | \
     DIRECT(APIC_LVT_TIMER) | DIRECT(APIC_LVT_THERMAL) | DIRECT(APIC_LVT_PMI) |       \
     DIRECT(APIC_LVT_LINT0) | DIRECT(APIC_LVT_LINT1) | DIRECT(APIC_LVT_ERROR) |       \
     DIRECT(APIC_INITIAL_COUNT) | DIRECT(APIC_DIVIDE))

/*
 * "Virtualizing MSR-Based APIC Accesses": hardware reads 8 bytes of the virtual-APIC page for any MSR
 * of the range, so those must exit that fault, that are computed at the read, or that software holds.
 */
uint64_t lapic_direct_reads(const struct lapic *lapic)
{
    if (!lapic_apicv_active(lapic) || !lapic->vm->features.register_virt) {
        return DIRECT(APIC_TPR);
    }
    return lapic_is_protected(lapic) ? HARDWARE_READS : VIRTUAL_READS;
}

uint64_t lapic_direct_writes(const struct lapic *lapic)
{
    uint64_t writes = DIRECT(APIC_TPR);
    if (lapic_apicv_active(lapic)) {
        writes |= DIRECT(APIC_EOI);
        /* A protected one is active while software has disabled it, and accepts none then. */
        bool accepts = !lapic_is_protected(lapic) || lapic->software_enabled;
        writes |= accepts ? DIRECT(APIC_SELF_IPI) : 0;
    }
    return writes;
}

/* --- The xAPIC window ----------------------------------------------------------------------- */

/*
 * Registers are the low 4 bytes of 16-byte slots. Narrower accesses inside those bytes work as they
 * do with hardware's APIC-register virtualization; everything else in a slot reads 0 and ignores
 * writes.
 */
static bool is_inside_register(uint32_t offset, unsigned size)
{
    return offset % APIC_REGISTER_STRIDE + size <= sizeof(uint32_t);
}

static const struct lapic_register *window_register(struct lapic *lapic, uint32_t offset)
{
    const struct lapic_register *reg = register_at(lapic, offset);
    if (reg == NULL || (reg->access & REGISTER_XAPIC) == 0) {
        error_report(lapic, APIC_ESR_ILLEGAL_REGISTER_ADDRESS);
        return NULL;
    }
    return reg;
}

static uint32_t low_mask(unsigned size)
{
    return size >= sizeof(uint32_t) ? 0xFFFFFFFFU : BIT32(size * 8) - 1;
}

uint64_t lapic_mmio_read(struct lapic *lapic, uint32_t offset, unsigned size)
{
    uint32_t slot = offset & ~(APIC_REGISTER_STRIDE - 1U);
    unsigned byte = offset % APIC_REGISTER_STRIDE;
    const struct lapic_register *reg = window_register(lapic, slot);

    /* The high half of a 64-bit access falls between registers. */
    size = size > sizeof(uint32_t) ? sizeof(uint32_t) : size;
    if (reg == NULL || !is_inside_register(offset, size)) {
        return 0;
    }
    return reg->read(lapic, slot) >> (byte * 8) & low_mask(size);
}

void lapic_mmio_write(struct lapic *lapic, uint32_t offset, unsigned size, uint64_t value)
{
    uint32_t slot = offset & ~(APIC_REGISTER_STRIDE - 1U);
    unsigned byte = offset % APIC_REGISTER_STRIDE;
    const struct lapic_register *reg = window_register(lapic, slot);

    size = size > sizeof(uint32_t) ? sizeof(uint32_t) : size;
    if (reg == NULL || (reg->access & REGISTER_XAPIC_WRITE) == 0 ||
        !is_inside_register(offset, size)) {
        return;
    }
    uint32_t mask = low_mask(size) << (byte * 8);
    uint32_t merged = (page_read(lapic, slot) & ~mask) | ((uint32_t)value << (byte * 8) & mask);
    reg->write(lapic, slot, merged);
}

/*
 * Of a protected local APIC only an illegal vector in SELF IPI comes here: the 0 that its own page
 * has there is as illegal.
 */
void lapic_apic_write(struct lapic *lapic, uint32_t offset)
{
    uint32_t slot = offset & ~(APIC_REGISTER_STRIDE - 1U);
    const struct lapic_register *reg = register_at(lapic, slot);

    if (reg == NULL || reg->write == NULL) {
        return;
    }
    if (slot == APIC_ICR && lapic_mode(lapic) == LAPIC_X2APIC) {
        icr_write_x2apic(lapic, page_read_icr64(lapic));
    } else {
        reg->write(lapic, slot, page_read(lapic, slot));
    }
}
