/* SPDX-License-Identifier: MIT */
/* What has to happen at a time on behalf of a vCPU: its local APIC timer, its VM's devices and state. */
#include "vmx/deadline.h"

#include "vmx/state_cycle.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

static uint64_t device_deadline(const struct vcpu *vcpu)
{
    return vcpu->index == 0 ? atomic_load(&vcpu->vm->device_deadline) : UINT64_MAX;
}

static uint64_t state_deadline(const struct vcpu *vcpu)
{
    return vcpu->index == 0 ? state_cycle_deadline(vcpu->vm) : UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t deadline_next(const struct vcpu *vcpu)
{
    uint64_t timer = lapic_timer_deadline(&vcpu->lapic);
    return earlier(timer, earlier(device_deadline(vcpu), state_deadline(vcpu)));
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
    if (state_deadline(vcpu) <= now) {
        state_cycle_poll(vcpu->vm, now);
    }
}
