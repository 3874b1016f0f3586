/* SPDX-License-Identifier: MIT */
/*
 * Guest state at a vCPU's starts: boot protocol, power-up, INIT, start-up IPI (SDM volume 3, table
 * "IA-32 Processor States Following Power-up, Reset, or INIT").
 */
#pragma once

#include <stdint.h>

struct vcpu;

/* Fill the guest state: vCPU 0 its boot state, others waiting for SIPI. Owner, VMCS current. */
void start_power_up(struct vcpu *vcpu);

/* What INIT does to the processor but for its local APIC. Owner, VMCS current. */
void start_init(struct vcpu *vcpu);

/* Start-up IPI with that vector, after INIT. Owner, VMCS current. */
void start_sipi(struct vcpu *vcpu, uint8_t vector);
