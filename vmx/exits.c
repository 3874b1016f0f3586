/* SPDX-License-Identifier: MIT */
/* From exit reason to handler, and the handlers that are a few lines (SDM volume 3, chapter "VM Exits"). */
#include "vmx/exits.h"

#include <stddef.h>

#include "arch/exception.h"
#include "arch/interrupts.h"
#include "arch/msr.h"
#include "lib/log.h"
#include "vmx/event.h"
#include "vmx/exit_reasons.h"
#include "vmx/halt.h"
#include "vmx/schedule.h"
#include "vmx/task_switch.h"
#include "vmx/step.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

/* Exit qualification of debug exceptions: DR6 bits */
#define DEBUG_QUALIFICATION_DR6 (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(13) | BIT(14))

#define DR6_BREAKPOINTS 0xFULL
#define DR7_GD          BIT(13)

/* --- Exceptions and interrupts --------------------------------------------------------------------- */

/* IRET had ended NMI blocking before it faulted: it has not happened yet, so blocking is back. */
static void restore_nmi_blocking(void)
{
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
            vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) | INTERRUPTIBILITY_NMI);
}

/*
 * The exit came before the exception changed DR6, DR7 and IA32_DEBUGCTL, and its injection will not
 * (SDM, "Architectural State Before a VM Exit", "Event Injection").
 */
static void update_debug_registers(void)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    write_dr6((read_dr6() & ~DR6_BREAKPOINTS) | (qualification & DEBUG_QUALIFICATION_DR6));
    vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~DR7_GD);
    vmwrite(VMCS_GUEST_DEBUGCTL, vmread(VMCS_GUEST_DEBUGCTL) & ~(DEBUGCTL_LBR | DEBUGCTL_BTF));
}

/*
 * An exception that is intercepted only so that the guest cannot hang the CPU by it: the exit has broken
 * the loop, deliver it. During the delivery of another event it combines with that.
 */
static void pass_exception(struct vcpu *vcpu, uint32_t info)
{
    uint8_t vector = info & EVENT_VECTOR;
    if (vector == EXCEPTION_DB) {
        update_debug_registers();
    }
    if (vcpu->delivery_interrupted) {
        if (info & EVENT_ERROR_CODE) {
            event_raise_code(vcpu, vector, (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_ERROR_CODE));
        } else {
            event_raise(vcpu, vector);
        }
        return;
    }
    event_end_shadow();
    vcpu->event.info = info & (EVENT_VALID | EVENT_ERROR_CODE | EVENT_TYPE | EVENT_VECTOR);
    vcpu->event.error_code = (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_ERROR_CODE);
    vcpu->event.instruction_length = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
}

static void exit_exception_or_nmi(struct vcpu *vcpu)
{
    uint32_t info = (uint32_t)vmread(VMCS_EXIT_INTERRUPTION_INFORMATION);
    if ((info & EVENT_TYPE) == EVENT_TYPE_NMI) {
        exception_nmi();
        cpu_unblock_nmis();
        return;
    }
    if ((info & EVENT_VECTOR) == EXCEPTION_MC) {
        panic("machine check while VM %s ran", vcpu->vm->name);
    }
    if ((info & EVENT_NMI_UNBLOCKING_IRET) && !vcpu->delivery_interrupted) {
        restore_nmi_blocking();
    }
    pass_exception(vcpu, info);
}

static void exit_external_interrupt(struct vcpu *vcpu)
{
    (void)vcpu;
    interrupts_dispatch(vmread(VMCS_EXIT_INTERRUPTION_INFORMATION) & EVENT_VECTOR);
}

/* The window is open; the next entry injects what was waiting for it. */
static void exit_window(struct vcpu *vcpu)
{
    (void)vcpu;
}

static void exit_monitor_trap(struct vcpu *vcpu)
{
    (void)vcpu; /* step_exited has done the rest */
}

static void exit_init_signal(struct vcpu *vcpu)
{
    log_warn("VM %s: vCPU %u: INIT signal from outside, ignored", vcpu->vm->name, vcpu->index);
}

/* --- Instructions ------------------------------------------------------------------------------------ */

static void exit_undefined(struct vcpu *vcpu)
{
    event_raise(vcpu, EXCEPTION_UD);
}

static void exit_rdpmc(struct vcpu *vcpu)
{
    event_raise_code(vcpu, EXCEPTION_GP, 0);
}

/* A single-step trap, pending after HLT as after any instruction, ends it at once. */
static void exit_hlt(struct vcpu *vcpu)
{
    event_instruction_done(vcpu);
    if (!(vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) & PENDING_DEBUG_BS)) {
        halt_begin(vcpu);
    }
}

static void exit_pause(struct vcpu *vcpu)
{
    event_instruction_done(vcpu);
    schedule_yield();
}

/* --- Local APIC ---------------------------------------------------------------------------------------- */

static void exit_tpr_below_threshold(struct vcpu *vcpu)
{
    lapic_tpr_below_threshold(&vcpu->lapic);
}

static void exit_virtualized_eoi(struct vcpu *vcpu)
{
    vcpu->stats.eoi_exits++;
    lapic_eoi_induced(&vcpu->lapic, (uint8_t)vmread(VMCS_EXIT_QUALIFICATION));
}

static void exit_apic_write(struct vcpu *vcpu)
{
    lapic_apic_write(&vcpu->lapic, vmread(VMCS_EXIT_QUALIFICATION) & 0xFFF);
}

static void exit_preemption_timer(struct vcpu *vcpu)
{
    (void)vcpu; /* its own timer is polled before each entry */
    schedule_deadline_check();
}

/* --- Faults of the VM as a whole ------------------------------------------------------------------------- */

static void exit_ept_misconfiguration(struct vcpu *vcpu)
{
    panic("VM %s: EPT misconfiguration at guest-physical %llx", vcpu->vm->name,
          (unsigned long long)vmread(VMCS_GUEST_PHYSICAL_ADDRESS));
}

static void (*const handlers[EXIT_REASON_COUNT])(struct vcpu *vcpu) = {
    [EXIT_REASON_EXCEPTION_OR_NMI] = exit_exception_or_nmi,
    [EXIT_REASON_EXTERNAL_INTERRUPT] = exit_external_interrupt,
    [EXIT_REASON_TRIPLE_FAULT] = event_triple_fault,
    [EXIT_REASON_INIT_SIGNAL] = exit_init_signal,
    [EXIT_REASON_INTERRUPT_WINDOW] = exit_window,
    [EXIT_REASON_NMI_WINDOW] = exit_window,
    [EXIT_REASON_TASK_SWITCH] = exit_task_switch,
    [EXIT_REASON_CPUID] = exit_cpuid,
    [EXIT_REASON_GETSEC] = exit_undefined,
    [EXIT_REASON_HLT] = exit_hlt,
    [EXIT_REASON_INVD] = exit_invd,
    [EXIT_REASON_RDPMC] = exit_rdpmc,
    [EXIT_REASON_VMCALL] = exit_vmcall,
    [EXIT_REASON_VMCLEAR] = exit_undefined,
    [EXIT_REASON_VMLAUNCH] = exit_undefined,
    [EXIT_REASON_VMPTRLD] = exit_undefined,
    [EXIT_REASON_VMPTRST] = exit_undefined,
    [EXIT_REASON_VMREAD] = exit_undefined,
    [EXIT_REASON_VMRESUME] = exit_undefined,
    [EXIT_REASON_VMWRITE] = exit_undefined,
    [EXIT_REASON_VMXOFF] = exit_undefined,
    [EXIT_REASON_VMXON] = exit_undefined,
    [EXIT_REASON_CR_ACCESS] = exit_cr_access,
    [EXIT_REASON_IO_INSTRUCTION] = exit_io,
    [EXIT_REASON_RDMSR] = exit_rdmsr,
    [EXIT_REASON_WRMSR] = exit_wrmsr,
    [EXIT_REASON_MWAIT] = exit_undefined,
    [EXIT_REASON_MONITOR_TRAP_FLAG] = exit_monitor_trap,
    [EXIT_REASON_MONITOR] = exit_undefined,
    [EXIT_REASON_PAUSE] = exit_pause,
    [EXIT_REASON_TPR_BELOW_THRESHOLD] = exit_tpr_below_threshold,
    [EXIT_REASON_APIC_ACCESS] = exit_apic_access,
    [EXIT_REASON_VIRTUALIZED_EOI] = exit_virtualized_eoi,
    [EXIT_REASON_GDTR_IDTR_ACCESS] = exit_descriptor_table,
    [EXIT_REASON_LDTR_TR_ACCESS] = exit_descriptor_table,
    [EXIT_REASON_EPT_VIOLATION] = exit_ept_violation,
    [EXIT_REASON_EPT_MISCONFIGURATION] = exit_ept_misconfiguration,
    [EXIT_REASON_INVEPT] = exit_undefined,
    [EXIT_REASON_PREEMPTION_TIMER] = exit_preemption_timer,
    [EXIT_REASON_INVVPID] = exit_undefined,
    [EXIT_REASON_WBINVD] = exit_wbinvd,
    [EXIT_REASON_XSETBV] = exit_xsetbv,
    [EXIT_REASON_APIC_WRITE] = exit_apic_write,
    [EXIT_REASON_VMFUNC] = exit_undefined,
    [EXIT_REASON_ENCLS] = exit_undefined,
};

/* Reasons that can cut short the delivery of an event ("Information for VM Exits During Event Delivery"). */
static bool can_interrupt_delivery(uint32_t reason)
{
    return reason == EXIT_REASON_EXCEPTION_OR_NMI || reason == EXIT_REASON_TASK_SWITCH ||
           reason == EXIT_REASON_APIC_ACCESS || reason == EXIT_REASON_EPT_VIOLATION ||
           reason == EXIT_REASON_EPT_MISCONFIGURATION;
}

static void entry_failed(struct vcpu *vcpu, uint32_t reason)
{
    log_warn("VM %s: vCPU %u: VM entry failed: %s, qualification %llx", vcpu->vm->name, vcpu->index,
             exit_reason_name(reason), (unsigned long long)vmread(VMCS_EXIT_QUALIFICATION));
    vmcs_dump();
    vm_kill(vcpu->vm, "VM entry failed");
}

void exit_dispatch(struct vcpu *vcpu)
{
    uint32_t field = (uint32_t)vmread(VMCS_EXIT_REASON);
    uint32_t reason = field & EXIT_REASON_BASIC;
    vcpu->exit_reason = reason;
    if (reason < EXIT_REASON_COUNT) {
        vcpu->stats.exits[reason]++;
    }
    if (field & EXIT_REASON_ENTRY_FAILURE) {
        entry_failed(vcpu, reason);
        return;
    }
    if (can_interrupt_delivery(reason)) {
        event_collect(vcpu);
    }
    if (vcpu->step->active) {
        step_exited(vcpu);
    }
    if (reason >= EXIT_REASON_COUNT || handlers[reason] == NULL) {
        vm_kill(vcpu->vm, "vCPU %u: exit reason %u (%s), which cannot be, at RIP %llx", vcpu->index,
                reason, exit_reason_name(reason), (unsigned long long)vmread(VMCS_GUEST_RIP));
        return;
    }
    handlers[reason](vcpu);
}
