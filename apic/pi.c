/* SPDX-License-Identifier: MIT */
/* The posted-interrupt descriptor (SDM volume 3, "Posted-Interrupt Processing"). */
#include "apic/pi.h"

#include "lib/bits.h"

bool pi_post(struct pi_desc *pi, uint8_t vector)
{
    atomic_fetch_or_explicit(&pi->pir[vector / 64U], BIT(vector % 64U), memory_order_seq_cst);
    return (atomic_fetch_or_explicit(&pi->control, PI_ON, memory_order_seq_cst) & PI_ON) == 0;
}

static void empty_pir(struct pi_desc *pi, uint64_t taken[4])
{
    for (unsigned i = 0; i < 4; i++) {
        taken[i] = 0;
        if (atomic_load_explicit(&pi->pir[i], memory_order_relaxed) != 0) {
            taken[i] = atomic_exchange_explicit(&pi->pir[i], 0, memory_order_seq_cst);
        }
    }
}

bool pi_take(struct pi_desc *pi, uint64_t taken[4])
{
    if (!pi_has_posted(pi)) {
        return false;
    }
    atomic_fetch_and_explicit(&pi->control, ~PI_ON, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    empty_pir(pi, taken);
    return true;
}

void pi_discard(struct pi_desc *pi)
{
    uint64_t dropped[4];
    atomic_fetch_and_explicit(&pi->control, ~PI_ON, memory_order_seq_cst);
    empty_pir(pi, dropped);
}

static bool pir_is_empty(const struct pi_desc *pi)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < 4; i++) {
        any |= atomic_load_explicit(&pi->pir[i], memory_order_relaxed);
    }
    return any == 0;
}

void pi_load(struct pi_desc *pi, uint32_t ndst, uint8_t notification_vector)
{
    uint64_t old = atomic_load_explicit(&pi->control, memory_order_relaxed);
    uint64_t new;
    do {
        new = field_set(PI_NDST, old & ~PI_SN, ndst);
        new = field_set(PI_NV, new, notification_vector);
    } while (!atomic_compare_exchange_weak_explicit(&pi->control, &old, new, memory_order_seq_cst,
                                                    memory_order_relaxed));
    /* Hardware that posted under SN set its PIR bit but not ON: only ON makes the owner look. */
    atomic_thread_fence(memory_order_seq_cst);
    if ((old & PI_SN) != 0 && !pir_is_empty(pi)) {
        atomic_fetch_or_explicit(&pi->control, PI_ON, memory_order_seq_cst);
    }
}

bool pi_block(struct pi_desc *pi, uint8_t wakeup_vector)
{
    uint64_t old = atomic_load_explicit(&pi->control, memory_order_relaxed);
    uint64_t new;
    do {
        if ((old & PI_ON) != 0) {
            return false;
        }
        new = field_set(PI_NV, old, wakeup_vector);
    } while (!atomic_compare_exchange_weak_explicit(&pi->control, &old, new, memory_order_seq_cst,
                                                    memory_order_relaxed));
    return true;
}

void pi_put(struct pi_desc *pi)
{
    atomic_fetch_or_explicit(&pi->control, PI_SN, memory_order_seq_cst);
}

/* --- The local APIC's descriptor, for the scheduler ------------------------------------------ */

void lapic_load(struct lapic *lapic, uint32_t host_apic_id, uint8_t notification_vector)
{
    pi_load(lapic->pi, host_apic_id, notification_vector);
}

/* An error interrupt is not posted yet but will be, at the owner's next look. */
bool lapic_block(struct lapic *lapic, uint8_t wakeup_vector)
{
    return pi_block(lapic->pi, wakeup_vector) &&
           (atomic_load(&lapic->requests) & LAPIC_REQUEST_ERROR) == 0;
}

void lapic_put(struct lapic *lapic)
{
    pi_put(lapic->pi);
}
