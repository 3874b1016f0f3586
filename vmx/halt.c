/* SPDX-License-Identifier: MIT */
/* vCPUs that wait: HLT and wait-for-SIPI (SDM volume 3, "Guest Non-Register State", "INIT and SIPI"). */
#include "vmx/halt.h"

#include "arch/cpu.h"
#include "arch/vectors.h"
#include "arch/x86.h"
#include "vmx/event.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

void halt_begin(struct vcpu *vcpu)
{
    vcpu->activity = VCPU_HLT;
    vcpu->stats.halts++;
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
    return nmi_waits(vcpu) || (asked && interrupts_enabled());
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
