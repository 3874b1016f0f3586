/* SPDX-License-Identifier: MIT */
/*
 * What has to happen at a time on behalf of a vCPU: its local APIC timer, and for vCPU 0 the devices
 * of its VM (vm->device_deadline) and the saving of its local APICs (state_cycle.h).
 */
#pragma once

#include <stdint.h>

struct vcpu;

/* Host TSC of the earliest; UINT64_MAX when there is none. Home CPU. */
uint64_t deadline_next(const struct vcpu *vcpu);

/* Do what is due at host TSC now. Home CPU, root mode. */
void deadline_poll(struct vcpu *vcpu, uint64_t now);
