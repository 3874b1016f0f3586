/* SPDX-License-Identifier: MIT */
/* A local APIC's window over memory (SDM volume 3, "Relocating the Local APIC Registers"). */
#include "vmx/apic_window.h"

#include <stddef.h>

#include "apic/lapic.h"
#include "apic/regs.h"
#include "arch/memory.h"
#include "lib/error.h"
#include "vmx/ept.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vpid.h"

struct apic_window {
    struct ept_overlay overlay;
    struct ept view;
    bool used;
};

struct apic_window *apic_window_create(void)
{
    struct apic_window *window = memory_alloc(sizeof(*window), PAGE_SIZE);
    bool ready = window != NULL && ept_overlay_init(&window->overlay) == RIVET_OK;
    return ready ? window : NULL;
}

static bool hides_memory(const struct vcpu *vcpu, uint64_t base)
{
    uint64_t hpa, left;
    unsigned rights;
    return lapic_mode(&vcpu->lapic) == LAPIC_XAPIC &&
           ept_lookup(&vcpu->vm->ept, base, &hpa, &rights, &left) == RIVET_OK;
}

void apic_window_update(struct vcpu *vcpu)
{
    struct apic_window *window = vcpu->apic_window;
    uint64_t base = lapic_read_base(&vcpu->lapic) & APIC_BASE_ADDRESS;

    window->used = hides_memory(vcpu, base);
    if (window->used) {
        ept_overlay_build(&window->overlay, &vcpu->vm->ept, base, 0, 0, &window->view);
        ept_flush(ept_pointer(&window->view));
    }
}

const struct ept *apic_window_view(const struct vcpu *vcpu)
{
    return vcpu->apic_window->used ? &vcpu->apic_window->view : NULL;
}
