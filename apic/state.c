/* SPDX-License-Identifier: MIT */
/* Saving and restoring a local APIC in the layout of Linux's struct kvm_lapic_state. */
#include "apic/state.h"

#include "apic/apicv.h"
#include "apic/extint.h"
#include "apic/lvt.h"
#include "apic/mode.h"
#include "apic/page.h"
#include "apic/pi.h"
#include "apic/priority.h"
#include "apic/registers.h"
#include "apic/timer.h"
#include "lib/error.h"
#include "lib/string.h"

static uint32_t get(const struct lapic_state *state, uint32_t offset)
{
    uint32_t value;
    memcpy(&value, &state->regs[offset], sizeof(value));
    return value;
}

static void put(struct lapic_state *state, uint32_t offset, uint32_t value)
{
    memcpy(&state->regs[offset], &value, sizeof(value));
}

/* The vectors of a protected local APIC are out of reach, and without them the rest is no state. */
static const char *check_reachable(const struct lapic *lapic)
{
    return lapic_is_protected(lapic) ? "the local APIC is protected" : NULL;
}

/* --- Get -------------------------------------------------------------------------------------- */

int lapic_get_state(struct lapic *lapic, struct lapic_state *state, const char **reason)
{
    bool x2apic = lapic_mode(lapic) == LAPIC_X2APIC;

    *reason = check_reachable(lapic);
    if (*reason != NULL) {
        return ERR_INVALID;
    }
    timer_settle_count(lapic);
    apicv_settle(lapic);
    priority_pull_posted(lapic);
    priority_update_ppr(lapic);
    memset(state, 0, sizeof(*state));
    for (uint32_t offset = 0; offset < LAPIC_STATE_SIZE; offset += APIC_REGISTER_STRIDE) {
        const struct lapic_register *reg = register_at(lapic, offset);
        if (reg != NULL && offset != APIC_SELF_IPI) {
            put(state, offset, page_read(lapic, offset));
        }
    }
    struct timer_count left = timer_read_exact_count(lapic);
    put(state, APIC_CURRENT_COUNT, left.count);
    put(state, LAPIC_STATE_FRACTION, left.fraction);
    put(state, LAPIC_STATE_LINT0, lapic->lint0_accepted);
    if (x2apic) {
        put(state, APIC_ICR2, (uint32_t)(page_read_icr64(lapic) >> 32));
    }
    return RIVET_OK;
}

struct lapic_pending lapic_get_pending(const struct lapic *lapic)
{
    return (struct lapic_pending){
        .events = atomic_load(&lapic->events),
        .errors = atomic_load(&lapic->esr_pending),
        .extint = (atomic_load(&lapic->extint) & LAPIC_EXTINT_MESSAGE) != 0,
    };
}

uint64_t lapic_get_deadline(const struct lapic *lapic)
{
    return lapic->timer.deadline;
}

/* --- Checks ----------------------------------------------------------------------------------- */

struct rule {
    uint32_t offset;
    uint32_t allowed;
    const char *reason;
};

static const struct rule rules[] = {
    { APIC_TPR, APIC_PRIORITY, "reserved bits in TPR" },
    { APIC_PPR, APIC_PRIORITY, "reserved bits in PPR" },
    { APIC_SVR, APIC_SVR_BITS, "reserved bits in the spurious-interrupt vector register" },
    { APIC_ISR, ~0xFFFFU, "a vector below 16 in service" },
    { APIC_IRR, ~0xFFFFU, "a vector below 16 requested" },
    { APIC_ESR,
      APIC_ESR_SEND_ILLEGAL_VECTOR | APIC_ESR_RECEIVE_ILLEGAL_VECTOR |
          APIC_ESR_ILLEGAL_REGISTER_ADDRESS,
      "reserved bits in ESR" },
    { APIC_ICR, APIC_ICR_BITS | APIC_ICR_DELIVERY_STATUS, "reserved bits in ICR" },
    { APIC_DIVIDE, APIC_DIVIDE_BITS, "reserved bits in the divide configuration" },
    { LAPIC_STATE_LINT0, APIC_LVT_VECTOR, "no vector as the one accepted from LINT0" },
};

static const char *check_lvt(const struct lapic *lapic, const struct lapic_state *state)
{
    for (uint32_t offset = APIC_LVT_CMCI; offset <= APIC_LVT_ERROR;
         offset += APIC_REGISTER_STRIDE) {
        if (offset == APIC_ICR || offset == APIC_ICR2) {
            continue;
        }
        const struct lapic_register *reg = register_at(lapic, offset);
        uint32_t reserved = reg != NULL ? reg->x2apic_reserved : ~APIC_LVT_RESET;
        if ((get(state, offset) & reserved) != 0) {
            return "reserved bits in an LVT entry";
        }
    }
    return NULL;
}

/* While x2APIC mode may still be to come, an id in either place is fine. */
static const char *check_id(const struct lapic *lapic, const struct lapic_state *state)
{
    uint32_t id = get(state, APIC_ID);
    bool own = id == lapic->id;
    if (lapic_mode(lapic) == LAPIC_X2APIC) {
        return own ? NULL : "another x2APIC id";
    }
    return own || (id & ~APIC_ID_XAPIC) == 0 ? NULL : "reserved bits in the id";
}

static const char *check_timer(const struct lapic *lapic, const struct lapic_state *state)
{
    uint32_t count = get(state, APIC_CURRENT_COUNT), fraction = get(state, LAPIC_STATE_FRACTION);
    uint32_t unit = count != 0 ? timer_unit(lapic, get(state, APIC_DIVIDE)) : 1;

    if (count > get(state, APIC_INITIAL_COUNT)) {
        return "current count above the initial count";
    }
    return fraction >= unit ? "more than one count as part of the current count" : NULL;
}

static const char *check(const struct lapic *lapic, const struct lapic_state *state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        if ((get(state, rules[i].offset) & ~rules[i].allowed) != 0) {
            return rules[i].reason;
        }
    }
    const char *reason = check_lvt(lapic, state);
    reason = reason != NULL ? reason : check_id(lapic, state);
    return reason != NULL ? reason : check_timer(lapic, state);
}

/* --- Set -------------------------------------------------------------------------------------- */

/* ID, LDR and ICR for the mode that the local APIC is in now. */
static void place_mode_registers(struct lapic *lapic)
{
    const struct lapic_restored *restored = &lapic->restored;
    uint64_t icr = restored->icr;

    page_write_icr64(lapic, 0);
    page_write(lapic, APIC_ICR2, 0);
    if (lapic_mode(lapic) == LAPIC_X2APIC) {
        lapic_set_x2apic_ids(lapic);
        page_write_icr64(lapic, icr & ~(uint64_t)APIC_ICR_DELIVERY_STATUS);
        return;
    }
    bool x2apic_id = restored->id == lapic->id && lapic->id != 0;
    page_write(lapic, APIC_ID, x2apic_id ? lapic->id << 24 : restored->id);
    page_write(lapic, APIC_LDR, restored->ldr & APIC_LDR_XAPIC);
    page_write(lapic, APIC_ICR, (uint32_t)icr & APIC_ICR_BITS);
    page_write(lapic, APIC_ICR2, (uint32_t)(icr >> 32) & APIC_ICR2_DESTINATION);
}

static const uint16_t plain[] = {
    APIC_TPR, APIC_SVR, APIC_ESR, APIC_INITIAL_COUNT, APIC_DIVIDE,
};

static void copy_registers(struct lapic *lapic, const struct lapic_state *state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
        page_write(lapic, plain[i], get(state, plain[i]));
    }
    page_write(lapic, APIC_DFR, get(state, APIC_DFR) | APIC_DFR_FIXED_ONES);
    for (uint32_t i = 0; i < 3 * 8; i++) {
        uint32_t offset = APIC_ISR + i * APIC_REGISTER_STRIDE; /* ISR, TMR, IRR */
        page_write(lapic, offset, get(state, offset));
    }
    lapic->software_enabled = lapic_software_enabled(lapic);
}

static void copy_lvt(struct lapic *lapic, const struct lapic_state *state)
{
    uint32_t forced = lapic->software_enabled ? 0 : APIC_LVT_MASKED;
    for (uint32_t offset = APIC_LVT_CMCI; offset <= APIC_LVT_ERROR;
         offset += APIC_REGISTER_STRIDE) {
        bool is_lvt = offset != APIC_ICR && offset != APIC_ICR2;
        if (is_lvt && register_at(lapic, offset) != NULL) {
            uint32_t value = get(state, offset) & ~(APIC_LVT_STATUS | APIC_LVT_REMOTE_IRR);
            page_write(lapic, offset, value | forced);
        }
    }
    lvt_restore_lint0(lapic, get(state, APIC_LVT_LINT0), (uint8_t)get(state, LAPIC_STATE_LINT0));
}

/* 64 vectors of a bank. */
static uint64_t vectors(const struct lapic *lapic, uint32_t bank, unsigned word)
{
    uint32_t offset = bank + word * 2 * APIC_REGISTER_STRIDE;
    uint64_t high = page_read(lapic, offset + APIC_REGISTER_STRIDE);
    return high << 32 | page_read(lapic, offset);
}

/* Level-triggered vectors that await their EOI, and nothing posted or detected before. */
static void restart_delivery(struct lapic *lapic)
{
    pi_discard(lapic->pi);
    atomic_store(&lapic->esr_pending, lapic->restored.errors);
    for (unsigned word = 0; word < 4; word++) {
        uint64_t live = vectors(lapic, APIC_IRR, word) | vectors(lapic, APIC_ISR, word);
        atomic_store(&lapic->level_posted[word], live & vectors(lapic, APIC_TMR, word));
    }
    lapic->status_stale = true;
    priority_update_ppr(lapic);
    atomic_fetch_or(&lapic->requests, LAPIC_REQUEST_EOI_EXITS);
}

int lapic_set_state(struct lapic *lapic, const struct lapic_state *state, const char **reason)
{
    *reason = check_reachable(lapic);
    *reason = *reason != NULL ? *reason : check(lapic, state);
    if (*reason != NULL) {
        return ERR_INVALID;
    }
    uint64_t deadline = lapic->restored.deadline;
    struct timer_count left = { get(state, APIC_CURRENT_COUNT), get(state, LAPIC_STATE_FRACTION) };
    lapic->restored = (struct lapic_restored){
        .valid = true,
        .id = get(state, APIC_ID),
        .ldr = get(state, APIC_LDR),
        .icr = (uint64_t)get(state, APIC_ICR2) << 32 | get(state, APIC_ICR),
        .deadline = deadline,
        .errors = lapic->restored.errors,
    };
    copy_registers(lapic, state);
    copy_lvt(lapic, state);
    place_mode_registers(lapic);
    timer_restore(lapic, left);
    timer_restore_deadline(lapic, deadline);
    restart_delivery(lapic);
    lapic_mode_changed(lapic);
    return RIVET_OK;
}

/* --- What belongs to it ----------------------------------------------------------------------- */

/* Without a state before it, the registers are those of the mode up to now. */
static void remember_registers(struct lapic *lapic)
{
    bool x2apic = lapic_mode(lapic) == LAPIC_X2APIC;
    uint64_t high = page_read(lapic, APIC_ICR2);

    lapic->restored.valid = true;
    lapic->restored.id = page_read(lapic, APIC_ID);
    lapic->restored.ldr = x2apic ? 0 : page_read(lapic, APIC_LDR);
    lapic->restored.icr = x2apic ? page_read_icr64(lapic) : high << 32 | page_read(lapic, APIC_ICR);
}

int lapic_restore_base(struct lapic *lapic, uint64_t base)
{
    bool enabled = (base & APIC_BASE_EN) != 0, x2apic = (base & APIC_BASE_EXTD) != 0;

    if ((base & lapic_base_reserved(lapic)) != 0 || (x2apic && !enabled) ||
        check_reachable(lapic) != NULL) {
        return ERR_INVALID;
    }
    if (!lapic->restored.valid) {
        remember_registers(lapic);
    }
    lapic_set_base(lapic, base);
    place_mode_registers(lapic);
    lapic_mode_changed(lapic);
    return RIVET_OK;
}

void lapic_restore_pending(struct lapic *lapic, const struct lapic_pending *pending)
{
    lapic->restored.errors = pending->errors;
    atomic_store(&lapic->esr_pending, pending->errors);
    atomic_store(&lapic->events, pending->events);
    atomic_fetch_and(&lapic->extint, ~(uint32_t)LAPIC_EXTINT_MESSAGE);
    if (pending->extint) {
        atomic_fetch_or(&lapic->extint, LAPIC_EXTINT_MESSAGE);
    }
    /* The first ends the restoring at the next entry. */
    apic_request(lapic, LAPIC_REQUEST_APICV | LAPIC_REQUEST_EXTINT);
}

void lapic_restore_tsc_offset(struct lapic *lapic, int64_t offset)
{
    lapic->tsc_offset = offset;
    timer_restore_deadline(lapic, lapic->timer.deadline);
}

void lapic_restore_deadline(struct lapic *lapic, uint64_t deadline)
{
    lapic->restored.deadline = deadline;
    timer_restore_deadline(lapic, deadline);
    atomic_fetch_or(&lapic->requests,
                    LAPIC_REQUEST_APICV); /* ends the restoring at the next entry */
}
