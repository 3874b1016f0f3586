/* SPDX-License-Identifier: MIT */
/* CR4.UMIP by descriptor-table exiting (SDM volume 3, "Instructions That Cause VM Exits Conditionally"). */
#include "vmx/umip.h"

#include "arch/x86.h"
#include "vmx/capabilities.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/guest_memory.h"
#include "vmx/step.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"

/* VM-exit instruction information of both exits: 0 SGDT or SLDT, 1 SIDT or STR, 2 and 3 loads. */
#define INFO_LOADS BIT(29)

bool umip_is_emulated(void)
{
    return vmx_has(CONTROL_SECONDARY, SECONDARY_DESCRIPTOR_TABLE_EXITING) &&
           !(vmx_capabilities()->cr4_fixed1 & CR4_UMIP);
}

void umip_set(struct vcpu *vcpu, bool on)
{
    vcpu->secondary_controls &= ~SECONDARY_DESCRIPTOR_TABLE_EXITING;
    vcpu->secondary_controls |= on ? SECONDARY_DESCRIPTOR_TABLE_EXITING : 0;
    vmwrite(VMCS_SECONDARY_CONTROLS, vcpu->secondary_controls);
}

/* Loads fault in user mode by themselves. */
void exit_descriptor_table(struct vcpu *vcpu)
{
    if (guest_cpl() != 0 && !(vmread(VMCS_EXIT_INSTRUCTION_INFORMATION) & INFO_LOADS)) {
        event_raise_code(vcpu, EXCEPTION_GP, 0);
    } else {
        step_begin_without(vcpu, SECONDARY_DESCRIPTOR_TABLE_EXITING);
    }
}
