/* SPDX-License-Identifier: MIT */
/* The slow reference of tests/unit/lib/apic_reference.h. */
#include "tests/unit/lib/apic_reference.h"

#include <string.h>

#include "tests/unit/lib/apic_reference_parts.h"

static int highest(const bool *bits)
{
    for (int vector = 255; vector >= 0; vector--) {
        if (bits[vector]) {
            return vector;
        }
    }
    return -1;
}

static uint32_t word(const bool *bits, unsigned index)
{
    uint32_t value = 0;
    for (unsigned bit = 0; bit < 32; bit++) {
        value |= (uint32_t)bits[index * 32 + bit] << bit;
    }
    return value;
}

uint32_t ref_ppr(const struct ref_lapic *apic)
{
    int service = highest(apic->isr);
    uint32_t class = service < 0 ? 0 : (uint32_t)service / 16 * 16;
    return apic->tpr / 16 * 16 >= class ? apic->tpr : class;
}

/* --- Interrupts ------------------------------------------------------------------------------- */

void ref_error(struct ref_lapic *apic, uint32_t bit)
{
    bool news = (apic->errors & bit) == 0;
    apic->errors |= bit;
    if (news && (apic->lvt[ERROR] & 0x10000) == 0) {
        ref_accept(apic, apic->lvt[ERROR] & 0xFF, false);
    }
}

bool ref_accept(struct ref_lapic *apic, unsigned vector, bool level)
{
    if (!enabled(apic)) {
        return false;
    }
    if (vector < 16) {
        ref_error(apic, 0x40);
        return false;
    }
    apic->irr[vector] = true;
    apic->tmr[vector] = level;
    return true;
}

int ref_pending_interrupt(const struct ref *ref, unsigned cpu)
{
    const struct ref_lapic *apic = &ref->lapic[cpu];
    int vector = highest(apic->irr);
    return vector < 0 || vector / 16 <= (int)ref_ppr(apic) / 16 ? -1 : vector;
}

static bool pic_asks(const struct ref_lapic *apic)
{
    if (mode(apic) == OFF) {
        return apic->lint0;
    }
    return apic->extint || (apic->lint0 && (apic->lvt[LINT0] & 0x10700) == 0x700);
}

int ref_take_interrupt(struct ref *ref, unsigned cpu)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    if (!apic->interrupts_enabled) {
        return -1;
    }
    if (pic_asks(apic)) {
        apic->extint = apic->lint0 = false;
        return REF_PIC_VECTOR;
    }
    int vector = ref_pending_interrupt(ref, cpu);
    if (vector >= 0) {
        apic->irr[vector] = false;
        apic->isr[vector] = true;
    }
    return vector;
}

/* --- Timer ------------------------------------------------------------------------------------ */

unsigned ref_timer_mode(const struct ref_lapic *apic)
{
    return apic->lvt[TIMER] >> 17 & 3;
}

static void timer_fires(struct ref_lapic *apic)
{
    if ((apic->lvt[TIMER] & 0x10000) == 0) {
        ref_accept(apic, apic->lvt[TIMER] & 0xFF, false);
    }
}

static void check_deadline(struct ref *ref, struct ref_lapic *apic)
{
    if (apic->deadline != 0 && ref->tsc + (uint64_t)apic->tsc_offset >= apic->deadline) {
        apic->deadline = 0;
        timer_fires(apic);
    }
}

static void timer_step(struct ref *ref, struct ref_lapic *apic)
{
    check_deadline(ref, apic);
    if (apic->count == 0) {
        return;
    }
    apic->phase += REF_TIME_STEP;
    if (apic->phase < apic->divide * REF_TICKS_PER_COUNT) {
        return;
    }
    apic->phase = 0;
    apic->count--;
    if (apic->count == 0) {
        timer_fires(apic);
        apic->count = ref_timer_mode(apic) == 1 ? apic->initial : 0;
    }
}

void ref_pass_time(struct ref *ref, unsigned steps)
{
    for (; steps > 0; steps--) {
        ref->tsc += REF_TIME_STEP;
        for (unsigned i = 0; i < REF_VCPUS; i++) {
            timer_step(ref, &ref->lapic[i]);
        }
    }
}

void ref_set_tsc_offset(struct ref *ref, unsigned cpu, int64_t offset)
{
    ref->lapic[cpu].tsc_offset = offset;
    check_deadline(ref, &ref->lapic[cpu]);
}

static void set_lvt_timer(struct ref_lapic *apic, uint32_t value)
{
    unsigned old = ref_timer_mode(apic);
    apic->lvt[TIMER] = value;
    if (old != ref_timer_mode(apic) && (old > 1 || ref_timer_mode(apic) > 1)) {
        apic->count = apic->initial = 0;
        apic->deadline = 0;
    }
}

static void set_initial(struct ref_lapic *apic, uint32_t value)
{
    if (ref_timer_mode(apic) > 1) {
        return;
    }
    apic->initial = apic->count = value;
    apic->phase = 0;
}

/* --- Registers -------------------------------------------------------------------------------- */

static const struct {
    uint32_t offset, bits;
} lvts[7] = {
    { 0x2F0, 0x107FF }, { 0x320, 0x700FF }, { 0x330, 0x107FF }, { 0x340, 0x107FF },
    { 0x350, 0x1A7FF }, { 0x360, 0x1A7FF }, { 0x370, 0x100FF },
};

int ref_lvt_at(uint32_t offset)
{
    for (int i = 0; i < 7; i++) {
        if (lvts[i].offset == offset) {
            return i;
        }
    }
    return -1;
}

static void set_lvt(struct ref_lapic *apic, int index, uint32_t value)
{
    value &= lvts[index].bits;
    if ((apic->svr & 0x100) == 0) {
        value |= 0x10000;
    }
    if (index == TIMER) {
        set_lvt_timer(apic, value);
    } else if (index == LINT0) {
        bool level = (value & 0x8700) == 0x8000;
        apic->lint0_vector = level ? apic->lint0_vector : 0;
        apic->lvt[LINT0] = value | (apic->lint0_vector != 0 ? 0x4000 : 0);
        ref_look_at_lint0(apic);
    } else {
        apic->lvt[index] = value;
    }
}

static uint32_t divide_register(const struct ref_lapic *apic)
{
    static const uint32_t codes[8] = { 0xB, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xA };
    for (unsigned i = 0; i < 8; i++) {
        if (apic->divide == 1U << i) {
            return codes[i];
        }
    }
    return 0;
}

uint32_t ref_divisor(uint32_t value)
{
    static const uint32_t divisors[16] = {
        2, 4, 8, 16, 2, 4, 8, 16, 32, 64, 128, 1, 32, 64, 128, 1
    };
    return divisors[value & 0xB];
}

void ref_reset(struct ref *ref, unsigned cpu, bool init)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    struct ref_lapic old = *apic;
    bool keep = init && (old.base & 0xC00) == 0x800;

    memset(apic, 0, sizeof(*apic));
    apic->base = init ? old.base : (0xFEE00800U | (cpu == 0 ? 0x100U : 0));
    apic->nmis = old.nmis;
    apic->tsc_offset = old.tsc_offset;
    apic->interrupts_enabled = old.interrupts_enabled;
    apic->init = init && old.init;
    apic->sipi = init && old.sipi;
    apic->sipi_vector = old.sipi_vector;
    apic->lint0 = old.lint0;
    apic->id = keep ? old.id : mode(apic) == X2APIC ? cpu : cpu << 24;
    apic->ldr = mode(apic) == X2APIC ? 1U << cpu : 0;
    apic->dfr = 0xFFFFFFFF;
    apic->svr = 0xFF;
    apic->divide = 2;
    for (unsigned i = 0; i < 7; i++) {
        apic->lvt[i] = 0x10000;
    }
}

void ref_start(struct ref *ref)
{
    memset(ref, 0, sizeof(*ref));
    for (unsigned i = 0; i < REF_VCPUS; i++) {
        ref_reset(ref, i, false);
        ref->lapic[i].interrupts_enabled = true;
    }
    for (unsigned i = 0; i < REF_PINS; i++) {
        ref->pin[i].masked = true;
    }
}

static int write_base(struct ref *ref, unsigned cpu, uint64_t value)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    int from = mode(apic);
    bool en = (value & 0x800) != 0, extd = (value & 0x400) != 0;

    if ((value & 0xFFFFFFFF000002FF) != 0 || (extd && !en) || (extd && from == OFF) ||
        (en && !extd && from == X2APIC)) {
        return REF_GP;
    }
    apic->base = value;
    if (mode(apic) == from) {
        return 0;
    }
    if (mode(apic) == X2APIC) {
        apic->id = cpu;
        apic->ldr = 1U << cpu;
        apic->icr &= 0xFFFFFFFF;
        ref_look_at_all(ref);
        return 0;
    }
    /* Off and on again is a reset that keeps base and pending events. */
    struct ref_lapic old = *apic;
    ref_reset(ref, cpu, false);
    apic->base = value;
    apic->init = old.init;
    apic->sipi = old.sipi;
    apic->sipi_vector = old.sipi_vector;
    return 0;
}

static void eoi(struct ref *ref, struct ref_lapic *apic)
{
    int vector = highest(apic->isr);
    if (vector < 0) {
        return;
    }
    apic->isr[vector] = false;
    ref_lint0_eoi(apic, (unsigned)vector);
    if (apic->tmr[vector] && (apic->svr & 0x1000) == 0) {
        ref_ioapic_eoi(ref, (unsigned)vector);
    }
}

static void set_svr(struct ref *ref, struct ref_lapic *apic, uint32_t value)
{
    bool was = (apic->svr & 0x100) != 0;
    apic->svr = value & 0x11FF;
    if (was && (apic->svr & 0x100) == 0) {
        for (unsigned i = 0; i < 7; i++) {
            apic->lvt[i] |= 0x10000;
        }
    }
    if (!was && (apic->svr & 0x100) != 0) {
        ref_look_at_all(ref);
    }
}

/* Registers that both modes have, and the same bits in each. */
uint32_t ref_read_common(const struct ref_lapic *apic, uint32_t offset)
{
    if (offset >= 0x100 && offset < 0x180) {
        return word(apic->isr, (offset - 0x100) / 16);
    }
    if (offset >= 0x180 && offset < 0x200) {
        return word(apic->tmr, (offset - 0x180) / 16);
    }
    if (offset >= 0x200 && offset < 0x280) {
        return word(apic->irr, (offset - 0x200) / 16);
    }
    if (ref_lvt_at(offset) >= 0) {
        return apic->lvt[ref_lvt_at(offset)];
    }
    switch (offset) {
    case 0x20:
        return apic->id;
    case 0x30:
        return 0x01060014;
    case 0x80:
        return apic->tpr;
    case 0xA0:
        return ref_ppr(apic);
    case 0xD0:
        return apic->ldr;
    case 0xF0:
        return apic->svr;
    case 0x280:
        return apic->esr;
    case 0x380:
        return apic->initial;
    case 0x390:
        return apic->count;
    case 0x3E0:
        return divide_register(apic);
    default:
        return 0;
    }
}

static void write_common(struct ref *ref, struct ref_lapic *apic, uint32_t offset, uint32_t value)
{
    if (ref_lvt_at(offset) >= 0) {
        set_lvt(apic, ref_lvt_at(offset), value);
        return;
    }
    switch (offset) {
    case 0x80:
        apic->tpr = value & 0xFF;
        break;
    case 0xB0:
        eoi(ref, apic);
        break;
    case 0xF0:
        set_svr(ref, apic, value);
        break;
    case 0x280:
        apic->esr = apic->errors;
        apic->errors = 0;
        break;
    case 0x380:
        set_initial(apic, value);
        break;
    case 0x3E0:
        apic->divide = ref_divisor(value);
        break;
    default:
        break;
    }
}

bool ref_exists(uint32_t offset)
{
    return offset == 0x20 || offset == 0x30 || (offset >= 0x80 && offset <= 0x280) ||
           (offset >= 0x2F0 && offset <= 0x390) || offset == 0x3E0;
}

uint32_t ref_mmio_read(struct ref *ref, unsigned cpu, uint32_t offset)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    if (!ref_exists(offset)) {
        ref_error(apic, 0x80);
        return 0;
    }
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

void ref_mmio_write(struct ref *ref, unsigned cpu, uint32_t offset, uint32_t value)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    if (!ref_exists(offset)) {
        ref_error(apic, 0x80);
        return;
    }
    switch (offset) {
    case 0x20:
        apic->id = value & 0xFF000000;
        ref_look_at_all(ref);
        break;
    case 0xD0:
        apic->ldr = value & 0xFF000000;
        ref_look_at_all(ref);
        break;
    case 0xE0:
        apic->dfr = value | 0x0FFFFFFF;
        ref_look_at_all(ref);
        break;
    case 0x300:
        apic->icr = (apic->icr & 0xFFFFFFFF00000000) | (value & 0xCCFFF);
        ref_ipi(ref, cpu, (uint32_t)apic->icr, (uint32_t)(apic->icr >> 56));
        break;
    case 0x310:
        apic->icr = (uint64_t)(value & 0xFF000000) << 32 | (uint32_t)apic->icr;
        break;
    default:
        write_common(ref, apic, offset, value);
        break;
    }
}

/* Bits that must be 0 in a WRMSR; -1: the register does not exist for writing. */
int64_t ref_reserved(uint32_t msr)
{
    switch (msr) {
    case 0x808:
    case 0x83F:
        return 0xFFFFFF00;
    case 0x80B:
    case 0x828:
        return 0xFFFFFFFF;
    case 0x80F:
        return 0xFFFFEE00;
    case 0x82F:
    case 0x833:
    case 0x834:
        return 0xFFFEE800;
    case 0x830:
        return 0xFFF32000;
    case 0x832:
        return 0xFFF8EF00;
    case 0x835:
    case 0x836:
        return 0xFFFE0800;
    case 0x837:
        return 0xFFFEEF00;
    case 0x838:
        return 0;
    case 0x83E:
        return 0xFFFFFFF4;
    default:
        return -1;
    }
}

int ref_msr_read(struct ref *ref, unsigned cpu, uint32_t msr, uint64_t *value)
{
    struct ref_lapic *apic = &ref->lapic[cpu];
    uint32_t offset = (msr - 0x800) * 16;

    if (msr == 0x1B || msr == 0x6E0) {
        check_deadline(ref, apic);
        *value = msr == 0x1B ? apic->base : apic->deadline;
        return 0;
    }
    if (msr < 0x800 || msr > 0x8FF || mode(apic) != X2APIC || !ref_exists(offset) ||
        offset == 0x90 || offset == 0xB0 || offset == 0xC0 || offset == 0xE0 || offset == 0x310) {
        return REF_GP;
    }
    *value = offset == 0x300 ? apic->icr : ref_read_common(apic, offset);
    return 0;
}

int ref_msr_write(struct ref *ref, unsigned cpu, uint32_t msr, uint64_t value)
{
    struct ref_lapic *apic = &ref->lapic[cpu];

    if (msr == 0x1B) {
        return write_base(ref, cpu, value);
    }
    if (msr == 0x6E0) {
        apic->deadline = ref_timer_mode(apic) == 2 ? value : 0;
        check_deadline(ref, apic);
        return 0;
    }
    if (mode(apic) != X2APIC || ref_reserved(msr) < 0 ||
        (value & (uint64_t)ref_reserved(msr)) != 0 || (msr != 0x830 && value >> 32 != 0)) {
        return REF_GP;
    }
    if (msr == 0x830) {
        apic->icr = value & ~0x1000ULL;
        ref_ipi(ref, cpu, (uint32_t)apic->icr, (uint32_t)(apic->icr >> 32));
    } else if (msr == 0x83F) {
        ref_ipi(ref, cpu, 0x40000 | (uint32_t)value, 0);
    } else {
        write_common(ref, apic, (msr - 0x800) * 16, (uint32_t)value);
    }
    return 0;
}
