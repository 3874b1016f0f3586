/* SPDX-License-Identifier: MIT */
/* What guests are offered, put together: CPUID, MSRs and extended state follow one decision. */
#pragma once

#include <stdint.h>

#include "arch/cpuid.h"

struct vcpu;

/*
 * Prepare this CPU for guests' extended state and MSRs; the first call also decides the CPUID policy.
 * Every CPU, the boot CPU first, after tsc_calibrate and vmx_check_cpu, before vCPUs are created.
 */
void policy_enable_cpu(void);

/* CPUID as the vCPU sees it now. Owner, VMCS current. */
struct cpuid policy_cpuid(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf);
