/* SPDX-License-Identifier: MIT */
/*
 * The posted-interrupt descriptor and its protocol (SDM volume 3, "Posted-Interrupt Processing").
 *
 * Poster: PIR bit, then ON by a locked exchange; whoever moves ON from 0 to 1 notifies.
 * Owner: clear ON by a locked operation (a full barrier), then empty PIR. A bit set after its word
 * was emptied finds ON clear and notifies again: nothing is lost.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apic/lapic.h"

/* Fields of pi_desc.control. */
#define PI_ON   (1ULL << 0)
#define PI_SN   (1ULL << 1)
#define PI_NV   0xFF0000ULL
#define PI_NDST 0xFFFFFFFF00000000ULL

/* Set vector's bit, then ON; true when ON was clear: the caller notifies. Any CPU. */
bool pi_post(struct pi_desc *pi, uint8_t vector);

/* Is ON set? Any CPU; only the owner can rely on a "no". */
static inline bool pi_has_posted(const struct pi_desc *pi)
{
    return (atomic_load_explicit(&pi->control, memory_order_acquire) & PI_ON) != 0;
}

/*
 * Clear ON and move every bit of PIR into taken (overwritten). False, and taken unchanged, when ON
 * was clear. Owner.
 */
bool pi_take(struct pi_desc *pi, uint64_t taken[4]);

/* Drop everything posted. Owner. */
void pi_discard(struct pi_desc *pi);

/* The vCPU will run on a CPU: NV, NDST, SN clear; ON set if a bit was posted under SN. Owner. */
void pi_load(struct pi_desc *pi, uint32_t ndst, uint8_t notification_vector);

/* The vCPU will block: NV := wake-up vector. False, and unchanged, when ON is set. Owner. */
bool pi_block(struct pi_desc *pi, uint8_t wakeup_vector);

/* The vCPU is runnable and does not run: SN set, hardware posters stay quiet. Owner. */
void pi_put(struct pi_desc *pi);
