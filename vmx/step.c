/* SPDX-License-Identifier: MIT */
/* Instructions that the CPU executes for Rivet, one at a time (SDM volume 3, "Monitor Trap Flag"). */
#include "vmx/step.h"

#include <stddef.h>

#include "arch/memory.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmx/apic_port.h"
#include "vmx/controls.h"
#include "vmx/event.h"
#include "vmx/exit_reasons.h"
#include "vmx/mmio.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"
#include "vmx/vpid.h"

struct step *step_create(void)
{
    struct step *step = memory_alloc(sizeof(*step), PAGE_SIZE);
    if (step == NULL) {
        return NULL;
    }
    step->page = memory_alloc_page();
    return step->page != NULL && ept_overlay_init(&step->overlay) == RIVET_OK ? step : NULL;
}

/* Read or write the parts of the access that the page stands for; at most 8 bytes at a time. */
static void exchange(struct vcpu *vcpu, bool write)
{
    struct step *step = vcpu->step;
    for (unsigned part = 0; part < 2; part++) {
        uint64_t gpa = step->access.gpa[part];
        unsigned left = step->access.size[part];
        if (align_down(gpa, PAGE_SIZE) != step->base) {
            continue;
        }
        for (unsigned size; left != 0; left -= size, gpa += size) {
            size = left < 8 ? left : 8;
            uint8_t *bytes = step->page + (gpa - step->base);
            uint64_t value = 0;
            if (write) {
                memcpy(&value, bytes, size);
                mmio_write(vcpu, gpa, size, value);
            } else {
                value = mmio_read(vcpu, gpa, size);
                memcpy(bytes, &value, size);
            }
        }
    }
}

static void set_monitor_trap(struct vcpu *vcpu, bool on)
{
    vcpu->primary_controls &= ~PRIMARY_MONITOR_TRAP_FLAG;
    vcpu->primary_controls |= on ? PRIMARY_MONITOR_TRAP_FLAG : 0;
    vmwrite(VMCS_PRIMARY_CONTROLS, vcpu->primary_controls);
}

static void block_events(struct vcpu *vcpu)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & ~INTERRUPTIBILITY_STI;
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, state | INTERRUPTIBILITY_MOV_SS);
    event_iteration_done(vcpu); /* with TF, VM entry wants a shadow to have a single step pending */
}

static void start(struct vcpu *vcpu)
{
    set_monitor_trap(vcpu, true);
    block_events(vcpu);
    vcpu->step->active = true;
}

void step_begin(struct vcpu *vcpu, uint64_t base, const struct step_access *access)
{
    struct step *step = vcpu->step;

    step->base = base;
    step->access = *access;
    step->without = 0;
    exchange(vcpu, false);
    ept_overlay_build(&step->overlay, apic_port_ept(vcpu), base, (uintptr_t)step->page, EPT_RWX,
                      &step->view);
    ept_flush(ept_pointer(&step->view));
    start(vcpu);
}

void step_begin_without(struct vcpu *vcpu, uint32_t controls)
{
    vcpu->step->base = STEP_NO_PAGE;
    vcpu->step->access = (struct step_access){ .write = false };
    vcpu->step->without = controls;
    vcpu->secondary_controls &= ~controls;
    vmwrite(VMCS_SECONDARY_CONTROLS, vcpu->secondary_controls);
    start(vcpu);
}

void step_prepare(struct vcpu *vcpu)
{
    if (vcpu->step->base != STEP_NO_PAGE) {
        vmwrite(VMCS_EPT_POINTER, ept_pointer(&vcpu->step->view));
    }
}

void step_cancel(struct vcpu *vcpu)
{
    if (vcpu->step->active) {
        vcpu->step->active = false;
        set_monitor_trap(vcpu, false);
        vmwrite(VMCS_EPT_POINTER, ept_pointer(apic_port_ept(vcpu)));
        vcpu->secondary_controls |= vcpu->step->without;
        vmwrite(VMCS_SECONDARY_CONTROLS, vcpu->secondary_controls);
    }
}

/* Exits that say nothing of the guest: the instruction is still to come, or has its trap pending. */
static bool comes_from_outside(uint32_t reason)
{
    if (reason == EXIT_REASON_EXCEPTION_OR_NMI) {
        return (vmread(VMCS_EXIT_INTERRUPTION_INFORMATION) & EVENT_TYPE) == EVENT_TYPE_NMI;
    }
    return reason == EXIT_REASON_EXTERNAL_INTERRUPT || reason == EXIT_REASON_PREEMPTION_TIMER ||
           reason == EXIT_REASON_INIT_SIGNAL;
}

void step_exited(struct vcpu *vcpu)
{
    struct step *step = vcpu->step;
    if (comes_from_outside(vcpu->exit_reason)) {
        return;
    }
    step_cancel(vcpu);
    bool device = vcpu->exit_reason == EXIT_REASON_EPT_VIOLATION ||
                  vcpu->exit_reason == EXIT_REASON_APIC_ACCESS;
    if (device && step->base != STEP_NO_PAGE) {
        vm_kill(vcpu->vm, "vCPU %u: instruction that accesses two devices at RIP %llx", vcpu->index,
                (unsigned long long)vmread(VMCS_GUEST_RIP));
        return;
    }
    bool done = vcpu->exit_reason == EXIT_REASON_MONITOR_TRAP_FLAG &&
                vmread(VMCS_GUEST_RIP) == step->access.next_rip;
    if (step->access.write && done) {
        exchange(vcpu, true);
    }
}
