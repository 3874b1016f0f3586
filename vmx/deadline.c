/* SPDX-License-Identifier: MIT */
/* What has to happen at a time on behalf of a vCPU: its local APIC timer and its VM's devices. */
#include "vmx/deadline.h"

#include "vmx/vcpu.h"
#include "vmx/vm.h"

static uint64_t device_deadline(const struct vcpu *vcpu)
{
    return vcpu->index == 0 ? atomic_load(&vcpu->vm->device_deadline) : UINT64_MAX;
}

uint64_t deadline_next(const struct vcpu *vcpu)
{
    uint64_t device = device_deadline(vcpu);
    uint64_t timer = lapic_timer_deadline(&vcpu->lapic);
    return device < timer ? device : timer;
}

void deadline_poll(struct vcpu *vcpu, uint64_t now)
{
    if (lapic_timer_deadline(&vcpu->lapic) <= now) {
        vcpu->stats.timer_expired++;
        lapic_timer_poll(&vcpu->lapic, now);
    }
    if (device_deadline(vcpu) <= now) {
        vcpu->vm->on_device_deadline(vcpu->vm, now);
    }
}
