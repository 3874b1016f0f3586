/* SPDX-License-Identifier: MIT */
/* Running one vCPU: what comes before each VM entry and after it (SDM volume 3, "VM Entries"). */
#include "vmx/run.h"

#include "arch/cpu.h"
#include "arch/tsc.h"
#include "arch/vectors.h"
#include "lib/log.h"
#include "vmx/apic_port.h"
#include "vmx/apicv_toggle.h"
#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"
#include "vmx/deadline.h"
#include "vmx/entry.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/halt.h"
#include "vmx/schedule.h"
#include "vmx/start.h"
#include "vmx/step.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

/* Take the vCPU out of its VM's run until the VM is reset, or for good. */
static void park(struct vcpu *vcpu)
{
    lapic_put(&vcpu->lapic);
    vcpu_unload();
    atomic_store(&vcpu->mode, VCPU_BLOCKED);
    atomic_store(&vcpu->parked, true);
    vm_vcpu_parked(vcpu->vm);
}

/* Whether a parked vCPU, woken by a kick, stays parked; it is blocked again then. */
static bool stays_parked(struct vcpu *vcpu)
{
    if (!atomic_load(&vcpu->parked)) {
        return false;
    }
    atomic_store(&vcpu->mode, VCPU_BLOCKED);
    if (atomic_load(&vcpu->parked)) {
        return true;
    }
    atomic_store(&vcpu->mode, VCPU_ROOT); /* released between the two looks */
    return false;
}

static void take_init_and_sipi(struct vcpu *vcpu)
{
    if (atomic_load(&vcpu->lapic.events) == 0) {
        return;
    }
    bool waits = vcpu->activity == VCPU_WAIT_FOR_SIPI;
    struct lapic_events events = lapic_take_events(&vcpu->lapic, waits);
    if (events.init) {
        lapic_reset(&vcpu->lapic, true);
        start_init(vcpu);
    }
    if (events.sipi >= 0 && vcpu->activity == VCPU_WAIT_FOR_SIPI) {
        start_sipi(vcpu, (uint8_t)events.sipi);
    }
}

static void poll_timer(struct vcpu *vcpu)
{
    uint64_t deadline = deadline_next(vcpu);
    if (deadline != UINT64_MAX) {
        uint64_t now = rdtsc();
        if (deadline <= now) {
            deadline_poll(vcpu, now);
        }
    }
}

/*
 * Serve all that must be served in root mode. True: enter the guest. False: the vCPU leaves this CPU,
 * blocked, parked, or still runnable. entered: it has been in guest mode in this turn. Parking a VM is a
 * turn of each of its vCPUs; were it counted, then of those that share a CPU the same one would run after
 * each, and with frequent parking no other.
 */
static bool settle(struct vcpu *vcpu, bool entered)
{
    for (;;) {
        if (atomic_load(&vcpu->vm->stopping) != 0) {
            if (!entered) {
                schedule_give_turn_back();
            }
            park(vcpu);
            return false;
        }
        if (vcpu->stale & STALE_START) {
            start_power_up(vcpu);
            vcpu->stale &= ~(uint32_t)STALE_START;
        }
        take_init_and_sipi(vcpu);
        poll_timer(vcpu);
        apicv_toggle_poll(vcpu->vm);
        if (vcpu->activity == VCPU_ACTIVE || halt_end(vcpu)) {
            return !this_cpu()->vmx->reschedule;
        }
        if (halt_block(vcpu)) {
            return false;
        }
    }
}

/* Requests that settle() must serve; looked for after mode was set to GUEST. */
static bool has_requests(struct vcpu *vcpu)
{
    return atomic_load_explicit(&vcpu->vm->stopping, memory_order_relaxed) != 0 ||
           atomic_load_explicit(&vcpu->lapic.events, memory_order_relaxed) != 0;
}

/* Arm the VMX-preemption timer for the next thing that needs root mode. */
static void arm_timer(struct vcpu *vcpu)
{
    uint64_t deadline = deadline_next(vcpu);
    uint64_t others = schedule_deadline();
    uint64_t toggle = apicv_toggle_deadline(vcpu->vm);
    deadline = others < deadline ? others : deadline;
    deadline = toggle < deadline ? toggle : deadline;

    uint32_t value = UINT32_MAX;
    if (deadline != UINT64_MAX) {
        unsigned shift = vmx_capabilities()->misc & VMX_MISC_TIMER_SHIFT;
        uint64_t now = rdtsc();
        uint64_t ticks = deadline > now ? (deadline - now + BIT(shift) - 1) >> shift : 0;
        value = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
    }
    if (value != vcpu->timer_value) {
        vcpu->timer_value = value;
        vmwrite(VMCS_PREEMPTION_TIMER_VALUE, value);
    }
}

/* VMLAUNCH or VMRESUME did not happen: the VM's controls are wrong, which is this VM's end. */
static void entry_refused(struct vcpu *vcpu)
{
    uint32_t error = (uint32_t)vmread(VMCS_INSTRUCTION_ERROR);
    log_warn("VM %s: vCPU %u: VM entry refused: %s (%u)", vcpu->vm->name, vcpu->index,
             vmx_instruction_error_name(error), error);
    vmcs_dump();
    vm_kill(vcpu->vm, "VM entry refused");
}

static void enter(struct vcpu *vcpu)
{
    event_prepare(vcpu);
    apic_port_flush(vcpu);
    if (vcpu->step->active) {
        step_prepare(vcpu);
    }
    if (halt_concerns(vcpu)) {
        halt_before_entry(vcpu);
    }
    arm_timer(vcpu);
    uint64_t entered = rdtsc();
    int failed = vcpu_enter(vcpu, vcpu->launched);
    vcpu->stats.guest_ticks += rdtsc() - entered;
    atomic_store_explicit(&vcpu->mode, VCPU_ROOT, memory_order_release);
    if (failed) {
        entry_refused(vcpu);
        return;
    }
    vcpu->launched = true;
    vcpu->interrupt_status_known = false;
    lapic_after_exit(&vcpu->lapic);
    if (halt_concerns(vcpu)) {
        halt_after_exit(vcpu);
    }
    exit_dispatch(vcpu);
}

void vcpu_run(struct vcpu *vcpu)
{
    if (stays_parked(vcpu)) {
        return;
    }
    vcpu_load(vcpu);
    lapic_load(&vcpu->lapic, vcpu->home->apic_id, VECTOR_POSTED);
    bool entered = false;
    while (settle(vcpu, entered)) {
        /* A full barrier, paired with the one in apic_port.c's poke. */
        atomic_store(&vcpu->mode, VCPU_GUEST);
        atomic_thread_fence(memory_order_seq_cst);
        if (has_requests(vcpu)) {
            atomic_store(&vcpu->mode, VCPU_ROOT);
        } else {
            enter(vcpu);
            entered = true;
        }
    }
}
