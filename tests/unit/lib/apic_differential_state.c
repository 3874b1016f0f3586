/* SPDX-License-Identifier: MIT */
/* Saved states of apic/ and of the slow reference side by side. */
#include <string.h>

#include "apic/ioapic.h"
#include "apic/state.h"
#include "lib/error.h"
#include "tests/unit/lib/apic_differential_parts.h"
#include "tests/unit/lib/apic_port_model.h"

/* The pieces of a saved local APIC, restored in the order that the digits of a number give. */
struct saved {
    struct lapic_state state;
    uint64_t base, deadline;
    int64_t tsc_offset;
    struct lapic_pending pending;
};

static void restore_piece(struct lapic *lapic, const struct saved *saved, unsigned piece)
{
    const char *reason = NULL;
    switch (piece) {
    case 0:
        same((uint64_t)lapic_set_state(lapic, &saved->state, &reason), RIVET_OK, "restore", 0);
        break;
    case 1:
        same((uint64_t)lapic_restore_base(lapic, saved->base), RIVET_OK, "restore", 1);
        break;
    case 2:
        lapic_restore_tsc_offset(lapic, saved->tsc_offset);
        break;
    case 3:
        lapic_restore_deadline(lapic, saved->deadline);
        break;
    default:
        lapic_restore_pending(lapic, &saved->pending);
        break;
    }
}

static void restore_all(struct lapic *lapic, const struct saved *saved, unsigned order)
{
    bool done[5] = { false };
    for (unsigned left = 5; left > 0; left--) {
        unsigned skip = order % left;
        unsigned piece = 0;
        order /= left;
        for (; done[piece] || skip > 0; piece++) {
            skip -= !done[piece];
        }
        done[piece] = true;
        restore_piece(lapic, saved, piece);
    }
}

/* Save, wipe, restore: the guest must not notice. */
static void save_and_restore(unsigned cpu)
{
    struct model_vcpu *vcpu = &model.vcpu[cpu];
    struct lapic *lapic = &vcpu->lapic;
    struct saved saved = { .base = lapic_read_base(lapic), .tsc_offset = lapic->tsc_offset };
    uint8_t order = next8();
    const char *reason;

    same((uint64_t)lapic_get_state(lapic, &saved.state, &reason), RIVET_OK, "save", 0);
    saved.deadline = lapic_get_deadline(lapic);
    saved.pending = lapic_get_pending(lapic);
    vcpu->in_guest = false;
    lapic_reset(lapic, false);
    lapic->tsc_offset = 0;
    restore_all(lapic, &saved, order);
    lapic_timer_poll(lapic, model.tsc);
}

enum { FRACTION = 0x394 };

static void put32(struct lapic_state *state, uint32_t offset, uint32_t value)
{
    memcpy(&state->regs[offset], &value, sizeof(value));
}

static void scribble_byte(struct lapic_state *state)
{
    unsigned offset = (next8() & 0x3F) * 16U;
    state->regs[offset + next8() % 4] = next8();
}

/* One vector in some of ISR, TMR and IRR; or LINT0 has sent it as a level. */
static void scribble_vector(struct lapic_state *state, uint8_t how)
{
    uint8_t vector = next8();
    unsigned place = vector / 32 * 16U + vector % 32 / 8;
    for (unsigned bank = 0; bank < 3; bank++) {
        state->regs[0x100 + 0x80 * bank + place] |= (uint8_t)((how >> bank & 1) << vector % 8);
    }
    if ((how & 8) != 0) {
        put32(state, 0x350, vector | (how & 0x10U) << 10 | (how & 0x20U) << 10);
    }
}

/* Time is told in whole steps of the reference. */
static void scribble_timer(struct lapic_state *state, uint8_t how)
{
    uint32_t initial = next8();
    put32(state, 0x320, (uint32_t)next8() | (how & 3U) << 17);
    put32(state, 0x380, initial);
    put32(state, 0x390, (how & 4) != 0 ? initial + (how >> 3 & 1) : next8());
    put32(state, FRACTION, (uint32_t)next8() * REF_TIME_STEP);
}

static void scribble(struct lapic_state *state)
{
    for (unsigned left = next8() % 8; left > 0; left--) {
        uint8_t how = next8();
        if (how < 0x40) {
            scribble_byte(state);
        } else if (how < 0xC0) {
            scribble_vector(state, how);
        } else {
            scribble_timer(state, how);
        }
    }
}

/* "Self-IPI Virtualization" sets a bit of VIRR and leaves VTMR as it was; the reference clears it. */
static uint8_t left_by_self_ipis(const struct model_vcpu *vcpu, uint32_t place)
{
    uint32_t in_tmr = place - 0x180;
    return in_tmr < 0x80 && in_tmr % 16 < 4 ? vcpu->self_ipis[in_tmr / 16 * 4 + in_tmr % 16] : 0;
}

/* The state that is saved, and another one set, which may be malformed. */
static void set_state(unsigned cpu)
{
    struct model_vcpu *vcpu = &model.vcpu[cpu];
    struct lapic_state state, expected;
    const char *reason = NULL;

    if (lapic_mode(&vcpu->lapic) == LAPIC_DISABLED) {
        return;
    }
    vcpu->in_guest = false;
    same((uint64_t)lapic_get_state(&vcpu->lapic, &state, &reason), RIVET_OK, "save", 0);
    ref_get_state(&ref, cpu, expected.regs);
    for (uint32_t i = 0; i < LAPIC_STATE_SIZE; i++) {
        uint8_t more = state.regs[i] & left_by_self_ipis(vcpu, i);
        same(state.regs[i] & ~more, expected.regs[i] & ~more, "saved state", i);
    }
    scribble(&state);
    int result = lapic_set_state(&vcpu->lapic, &state, &reason);
    same(result == RIVET_OK, ref_set_state(&ref, cpu, state.regs), "state accepted", 0);
    same(reason == NULL, result == RIVET_OK, "state refused for a reason", 0);
    if (result == RIVET_OK) {
        ioapic_retry(&model.vm); /* as whoever restores a state from elsewhere does at the end */
    }
}

void differential_state(unsigned cpu, uint8_t which)
{
    if ((which & 8) != 0) {
        set_state(cpu);
    } else {
        save_and_restore(cpu);
    }
}
