/* SPDX-License-Identifier: MIT */
/* Running one vCPU (SDM volume 3, chapters "VM Entries" and "VM Exits"). */
#pragma once

struct vcpu;

/*
 * Run a vCPU on its home CPU until it blocks, its VM stops, or another one must run. Interrupts off.
 */
void vcpu_run(struct vcpu *vcpu);
