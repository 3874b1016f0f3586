/* SPDX-License-Identifier: MIT */
/* Periodic APICv activation and inhibition of a VM, as a test of both directions. */
#include "vmx/apicv_toggle.h"

#include "arch/tsc.h"
#include "lib/bits.h"
#include "vmx/vm.h"

enum { TOGGLE_US = 300 };

static uint64_t period(void)
{
    return tsc_hz() / 1000000 * TOGGLE_US;
}

void apicv_toggle_start(struct vm *vm)
{
    atomic_store(&vm->apicv_toggle_at, rdtsc() + period());
}

uint64_t apicv_toggle_deadline(const struct vm *vm)
{
    return atomic_load_explicit(&vm->apicv_toggle_at, memory_order_relaxed);
}

void apicv_toggle_poll(struct vm *vm)
{
    uint64_t at = apicv_toggle_deadline(vm);
    if (at == UINT64_MAX) {
        return;
    }
    uint64_t now = rdtsc();
    if (now < at || !atomic_compare_exchange_strong(&vm->apicv_toggle_at, &at, now + period())) {
        return;
    }
    bool inhibited = (atomic_load(&vm->apic.inhibits) & BIT32(APICV_INHIBIT_MONITOR)) != 0;
    apicv_set_inhibit(&vm->apic, APICV_INHIBIT_MONITOR, !inhibited);
    atomic_fetch_add(&vm->apicv_switches, 1);
}
