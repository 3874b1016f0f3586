/* SPDX-License-Identifier: MIT */
/* vCPUs that wait: HLT and wait-for-SIPI (SDM volume 3, "Guest Non-Register State", "INIT and SIPI"). */
#include "vmx/halt.h"

#include "arch/cpu.h"
#include "arch/vectors.h"
#include "arch/x86.h"
#include "drivers/host_apic.h"
#include "vmx/event.h"
#include "vmx/exit_reasons.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

/* Guest activity state ("Guest Non-Register State") */
enum { ACTIVITY_ACTIVE = 0, ACTIVITY_HLT = 1 };

void halt_begin(struct vcpu *vcpu)
{
    vcpu->activity = VCPU_HLT;
    vcpu->halt_entries = 0;
    vcpu->stats.halts++;
    lapic_halt_begins(&vcpu->lapic);
}

static bool nmi_waits(const struct vcpu *vcpu)
{
    return atomic_load(&vcpu->nmi_pending) && event_nmi_deliverable(vcpu);
}

static bool interrupts_enabled(void)
{
    return (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) != 0;
}

/* Whether the local APIC has an interrupt that ends HLT; what was posted is in vIRR afterwards. */
static bool interrupt_waits(struct vcpu *vcpu)
{
    if (!interrupts_enabled()) {
        return false;
    }
    lapic_before_entry(&vcpu->lapic, false);
    return lapic_has_extint(&vcpu->lapic) || lapic_has_interrupt(&vcpu->lapic) >= 0;
}

bool halt_end(struct vcpu *vcpu)
{
    if (vcpu->activity == VCPU_HLT) {
        lapic_raise_lint0(&vcpu->lapic);
    }
    if (vcpu->activity == VCPU_HLT && lapic_is_protected(&vcpu->lapic) && !nmi_waits(vcpu)) {
        return interrupts_enabled() && lapic_may_wake(&vcpu->lapic);
    }
    if (vcpu->activity == VCPU_HLT && (nmi_waits(vcpu) || interrupt_waits(vcpu))) {
        vcpu->activity = VCPU_ACTIVE;
    }
    return vcpu->activity == VCPU_ACTIVE;
}

/* Whether there is something that a blocked vCPU must not sleep over. After mode was set to BLOCKED. */
static bool attention(struct vcpu *vcpu)
{
    if (atomic_load(&vcpu->vm->stopping) != 0 || atomic_load(&vcpu->lapic.events) != 0) {
        return true;
    }
    if (vcpu->activity == VCPU_WAIT_FOR_SIPI) {
        return false;
    }
    bool asked =
        !lapic_block(&vcpu->lapic, VECTOR_POSTED_WAKEUP) || lapic_has_requests(&vcpu->lapic);
    return nmi_waits(vcpu) || lapic_lint0_asks(&vcpu->lapic) || (asked && interrupts_enabled());
}

bool halt_block(struct vcpu *vcpu)
{
    atomic_store(&vcpu->mode, VCPU_BLOCKED);
    atomic_thread_fence(memory_order_seq_cst);
    if (!attention(vcpu)) {
        return true;
    }
    atomic_store(&vcpu->mode, VCPU_ROOT);
    lapic_load(&vcpu->lapic, vcpu->home->apic_id, VECTOR_POSTED);
    return false;
}

/* --- Protected vCPUs: hardware decides ---------------------------------------------------------------- */

/*
 * The first time the vCPU stays in HLT as long as any guest may run. If that has decided nothing, a
 * kick of its own waits behind the entry: virtual-interrupt delivery goes before it, so that the exit
 * is the answer.
 */
void halt_before_entry(struct vcpu *vcpu)
{
    bool halted = vcpu->activity == VCPU_HLT;
    if (halted != vcpu->halt_in_vmcs) {
        vcpu->halt_in_vmcs = halted;
        vmwrite(VMCS_GUEST_ACTIVITY_STATE, halted ? ACTIVITY_HLT : ACTIVITY_ACTIVE);
    }
    if (halted && vcpu->halt_entries++ > 0) {
        host_apic_send(vcpu->home->apic_id, VECTOR_KICK);
    }
}

void halt_after_exit(struct vcpu *vcpu)
{
    vcpu->halt_in_vmcs = vmread(VMCS_GUEST_ACTIVITY_STATE) == ACTIVITY_HLT;
    if (!vcpu->halt_in_vmcs) {
        vcpu->activity = VCPU_ACTIVE;
    } else if (vmread(VMCS_EXIT_REASON) == EXIT_REASON_EXTERNAL_INTERRUPT) {
        lapic_confirm_halt(&vcpu->lapic);
    }
}
