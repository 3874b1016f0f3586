/* SPDX-License-Identifier: MIT */
/* Puts together what guests are offered. */

#include "vmx/policy.h"

#include "arch/msr.h"
#include "arch/tsc.h"
#include "vmx/capabilities.h"
#include "vmx/cpuid.h"
#include "vmx/cr.h"
#include "vmx/msr.h"
#include "vmx/umip.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/xstate.h"

static void decide_cpuid(void)
{
    struct cpuid_machine machine = {
        .read = cpuid_read,
        .tsc_hz = tsc_hz(),
        .xcr0 = xstate_supported_xcr0(),
        .xss = xstate_supported_xss(),
        .rdtscp = vmx_has(CONTROL_SECONDARY, SECONDARY_ENABLE_RDTSCP),
        .invpcid = vmx_has(CONTROL_SECONDARY, SECONDARY_ENABLE_INVPCID),
        .umip = umip_is_emulated(),
        .xsaves = vmx_has(CONTROL_SECONDARY, SECONDARY_ENABLE_XSAVES),
    };
    cpuid_init(&machine);
}

void policy_enable_cpu(void)
{
    static bool decided;
    xstate_enable_cpu();
    if (!decided) {
        decide_cpuid();
        decided = true;
    }
    msr_enable_cpu();
}

struct cpuid policy_cpuid(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_guest guest = {
        .vcpu_index = vcpu->index,
        .vcpu_count = vcpu->vm->vcpu_count,
        .cr4 = cr4_read(),
        .xcr0 = xstate_xcr0(vcpu->xstate),
        .xss = xstate_xss(vcpu->xstate),
        .apic_enabled = lapic_read_base(&vcpu->lapic) & APIC_BASE_EN,
        .no_x2apic = vcpu->vm->apic.features.no_x2apic,
        .no_pv_eoi = vcpu->vm->apic.features.protected,
        .misc_enable = vcpu->msrs->misc_enable,
    };
    return cpuid_for_guest(&guest, leaf, subleaf);
}
