/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches, which VMX leaves to the hypervisor (SDM volume 3, "Task Switching" and
 * "Treatment of Task Switches").
 */
#pragma once

struct vcpu;

/* Exit reason 9. Owner, root mode, VMCS current. */
void exit_task_switch(struct vcpu *vcpu);
