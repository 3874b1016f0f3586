/* SPDX-License-Identifier: MIT */
/* VMX on this machine: may it run, and turning it on (SDM volume 3, chapter "Introduction to VMX"). */
#pragma once

/*
 * Check this CPU: VMX present, not locked off in IA32_FEATURE_CONTROL, every control Rivet cannot live
 * without, VMCS size and memory type. fatal() with CPU, MSR, bit and SDM name otherwise. The boot CPU
 * logs which optional controls are missing, the others check that they offer the same. Every CPU.
 */
void vmx_check_cpu(void);

/* VMXON on this CPU, and its per-CPU state for the scheduler. Every CPU after vmx_check_cpu. */
void vmx_enable_cpu(void);
