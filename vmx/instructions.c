/* SPDX-License-Identifier: MIT */
/* Exits of instructions that need no module of their own (SDM volume 3, "Instructions That Cause VM Exits"). */

#include "arch/x86.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/policy.h"
#include "vmx/vcpu.h"

void exit_cpuid(struct vcpu *vcpu)
{
    struct cpuid answer = policy_cpuid(vcpu, (uint32_t)vcpu->gpr[RAX], (uint32_t)vcpu->gpr[RCX]);

    vcpu->gpr[RAX] = answer.eax;
    vcpu->gpr[RBX] = answer.ebx;
    vcpu->gpr[RCX] = answer.ecx;
    vcpu->gpr[RDX] = answer.edx;
    event_instruction_done(vcpu);
}

/* Guest RAM is write-back and its devices are software: only memory types set by guest PAT can notice. */
void exit_wbinvd(struct vcpu *vcpu)
{
    wbinvd();
    event_instruction_done(vcpu);
}

/* Discarding caches would lose other VMs' and Rivet's own data: write them back instead. */
void exit_invd(struct vcpu *vcpu)
{
    wbinvd();
    event_instruction_done(vcpu);
}
