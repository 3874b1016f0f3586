/* SPDX-License-Identifier: MIT */
/*
 * Ticket spinlock. Rivet runs with interrupts off in root mode (except while it idles), so a lock
 * needs no interrupt-saving variant: its holder is never interrupted but by NMI, #MC and #DF,
 * whose handlers take no lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct spinlock {
    _Atomic uint32_t next;
    _Atomic uint32_t serving;
};

/* Wait for and take the lock: everything its last holder wrote is visible. Not recursive. */
static inline void spin_lock(struct spinlock *lock)
{
    uint32_t ticket = atomic_fetch_add_explicit(&lock->next, 1, memory_order_relaxed);
    while (atomic_load_explicit(&lock->serving, memory_order_acquire) != ticket) {
        __builtin_ia32_pause();
    }
}

/* Release the lock; only its holder may. */
static inline void spin_unlock(struct spinlock *lock)
{
    uint32_t next = atomic_load_explicit(&lock->serving, memory_order_relaxed) + 1;
    atomic_store_explicit(&lock->serving, next, memory_order_release);
}
