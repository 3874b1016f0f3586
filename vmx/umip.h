/* SPDX-License-Identifier: MIT */
/*
 * User-mode instruction prevention (CR4.UMIP) for guests on a CPU that has none: SGDT, SIDT, SLDT and STR
 * exit while the guest has it on, and raise #GP in user mode. SMSW does not exit and stays allowed.
 */
#pragma once

#include <stdbool.h>

struct vcpu;

/* Whether guests get UMIP this way. Any CPU after vmx_check_cpu on the boot CPU. */
bool umip_is_emulated(void);

/* The guest's CR4.UMIP is on or off, and is emulated. Owner, root mode, VMCS current. */
void umip_set(struct vcpu *vcpu, bool on);
