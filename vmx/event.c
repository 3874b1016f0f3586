/* SPDX-License-Identifier: MIT */
/* Events for the guest (SDM volume 3, "Event Injection", "Information for VM Exits During Event Delivery"). */
#include "vmx/event.h"

#include "apic/pi.h"
#include "arch/msr.h"
#include "lib/log.h"
#include "vmx/capabilities.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

#define INTERRUPTIBILITY_SHADOW (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)

static bool has_event(const struct vcpu *vcpu)
{
    return (vcpu->event.info & EVENT_VALID) != 0;
}

/* --- Exceptions -------------------------------------------------------------------------------- */

void event_triple_fault(struct vcpu *vcpu)
{
    if (vcpu->vm->reset_on_triple_fault) {
        log_info("VM %s: vCPU %u: triple fault at RIP %llx: reset", vcpu->vm->name, vcpu->index,
                 (unsigned long long)vmread(VMCS_GUEST_RIP));
        vm_request_reset(vcpu->vm);
    } else {
        vm_kill(vcpu->vm, "vCPU %u: triple fault at RIP %llx, CR2 %llx, CR3 %llx", vcpu->index,
                (unsigned long long)vmread(VMCS_GUEST_RIP), (unsigned long long)read_cr2(),
                (unsigned long long)vmread(VMCS_GUEST_CR3));
    }
}

/* SDM volume 3, table "Interrupt and Exception Classes". */
static bool is_contributory(uint8_t vector)
{
    return vector == EXCEPTION_DE || (vector >= EXCEPTION_TS && vector <= EXCEPTION_GP) ||
           vector == EXCEPTION_CP;
}

/* Whether second, raised while first was being delivered, makes a double fault of both. */
static bool makes_double_fault(uint8_t first, uint8_t second)
{
    return (is_contributory(first) && is_contributory(second)) ||
           (first == EXCEPTION_PF && (is_contributory(second) || second == EXCEPTION_PF));
}

void event_end_shadow(void)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    if (state & INTERRUPTIBILITY_SHADOW) {
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, state & ~INTERRUPTIBILITY_SHADOW);
    }
}

/* The exception replaces an NMI whose delivery it cut short; NMIs stay blocked as that began. */
static void block_nmi_again(const struct vcpu *vcpu)
{
    if (vcpu->delivery_interrupted && (vcpu->event.info & EVENT_TYPE) == EVENT_TYPE_NMI) {
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) | INTERRUPTIBILITY_NMI);
    }
}

static void raise(struct vcpu *vcpu, uint8_t vector, bool has_code, uint32_t error_code)
{
    bool nested = vcpu->delivery_interrupted &&
                  (vcpu->event.info & EVENT_TYPE) == EVENT_TYPE_HARDWARE_EXCEPTION;
    uint8_t first = vcpu->event.info & EVENT_VECTOR;
    if (nested && first == EXCEPTION_DF) {
        event_triple_fault(vcpu);
        return;
    }
    if (nested && makes_double_fault(first, vector)) {
        vector = EXCEPTION_DF;
        has_code = true;
        error_code = 0;
    }
    block_nmi_again(vcpu);
    event_end_shadow();
    if (vector != EXCEPTION_DB) {
        /* The pushed RFLAGS of a fault has RF set; entry pushes the guest's as they are. */
        vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
    }
    /* In real-address mode no exception pushes an error code. */
    has_code = has_code && (vmread(VMCS_GUEST_CR0) & CR0_PE) != 0;
    vcpu->event = (struct vcpu_event){
        .info = EVENT_VALID | EVENT_TYPE_HARDWARE_EXCEPTION | vector |
                (has_code ? EVENT_ERROR_CODE : 0),
        .error_code = error_code,
    };
}

void event_raise(struct vcpu *vcpu, uint8_t vector)
{
    raise(vcpu, vector, false, 0);
}

void event_raise_code(struct vcpu *vcpu, uint8_t vector, uint32_t error_code)
{
    raise(vcpu, vector, true, error_code);
}

void event_raise_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error_code)
{
    write_cr2(address);
    raise(vcpu, EXCEPTION_PF, true, error_code);
}

/* --- The end of an emulated instruction ---------------------------------------------------------- */

void event_iteration_done(struct vcpu *vcpu)
{
    if ((vmread(VMCS_GUEST_RFLAGS) & RFLAGS_TF) && !(vmread(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF)) {
        vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
                vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) | PENDING_DEBUG_BS);
    }
    vcpu->delivery_interrupted = false;
}

void event_instruction_skip(struct vcpu *vcpu, unsigned length)
{
    uint64_t rip = vmread(VMCS_GUEST_RIP) + length;
    bool long_mode = (vmread(VMCS_ENTRY_CONTROLS) & ENTRY_IA32E_MODE_GUEST) != 0;
    vmwrite(VMCS_GUEST_RIP, long_mode ? rip : (uint32_t)rip);
    event_end_shadow();
    uint64_t rflags = vmread(VMCS_GUEST_RFLAGS);
    if (rflags & RFLAGS_RF) {
        /* EPT violations and APIC accesses save it set; a completed instruction has cleared it. */
        vmwrite(VMCS_GUEST_RFLAGS, rflags & ~RFLAGS_RF);
    }
    if ((rflags & RFLAGS_TF) && !(vmread(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF)) {
        vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
                vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) | PENDING_DEBUG_BS);
    }
    vcpu->delivery_interrupted = false;
}

void event_instruction_done(struct vcpu *vcpu)
{
    event_instruction_skip(vcpu, (unsigned)vmread(VMCS_EXIT_INSTRUCTION_LENGTH));
}

/* --- Around VM entry ------------------------------------------------------------------------------- */

void event_collect(struct vcpu *vcpu)
{
    uint32_t info = (uint32_t)vmread(VMCS_IDT_VECTORING_INFORMATION);
    vcpu->delivery_interrupted = (info & EVENT_VALID) != 0;
    if (!vcpu->delivery_interrupted) {
        return;
    }
    uint32_t type = info & EVENT_TYPE;
    vcpu->event.info = info & (EVENT_VALID | EVENT_ERROR_CODE | EVENT_TYPE | EVENT_VECTOR);
    if (info & EVENT_ERROR_CODE) {
        vcpu->event.error_code = (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR_CODE);
    }
    if (type >= EVENT_TYPE_SOFTWARE_INTERRUPT) {
        vcpu->event.instruction_length = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
    }
    if (type == EVENT_TYPE_NMI) {
        /* Its delivery has set the blocking that must not stop its re-injection. */
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & ~INTERRUPTIBILITY_NMI);
    }
}

bool event_nmi_deliverable(const struct vcpu *vcpu)
{
    return !has_event(vcpu) && !(vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) &
                                 (INTERRUPTIBILITY_SHADOW | INTERRUPTIBILITY_NMI));
}

static bool interrupt_deliverable(const struct vcpu *vcpu)
{
    return !has_event(vcpu) && (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) &&
           !(vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & INTERRUPTIBILITY_SHADOW);
}

void event_post_nmi(struct vcpu *vcpu)
{
    uint32_t count = atomic_load(&vcpu->nmi_pending);
    while (count < 2 && !atomic_compare_exchange_weak(&vcpu->nmi_pending, &count, count + 1)) {
    }
}

/* In its NMI handler, or about to enter it, a CPU latches one NMI. */
static void limit_nmis(struct vcpu *vcpu)
{
    bool entering = has_event(vcpu) && (vcpu->event.info & EVENT_TYPE) == EVENT_TYPE_NMI;
    if (entering || (vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & INTERRUPTIBILITY_NMI)) {
        uint32_t two = 2;
        atomic_compare_exchange_strong(&vcpu->nmi_pending, &two, 1);
    }
}

static uint32_t nmi_window(void)
{
    bool sti = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & INTERRUPTIBILITY_STI;
    return sti ? PRIMARY_INTERRUPT_WINDOW_EXITING : PRIMARY_NMI_WINDOW_EXITING;
}

/*
 * A waiting NMI goes in, or stays latched until its window. Returns the window needed, or 0. A CPU may
 * open the NMI window in spite of blocking by STI, where the NMI cannot be injected: then the interrupt
 * window, which opens one instruction later, is the one to wait for.
 */
static uint32_t prepare_nmi(struct vcpu *vcpu)
{
    if (atomic_load_explicit(&vcpu->nmi_pending, memory_order_relaxed) == 0) {
        return 0;
    }
    limit_nmis(vcpu);
    if (!event_nmi_deliverable(vcpu)) {
        return nmi_window();
    }
    vcpu->event.info = EVENT_VALID | EVENT_TYPE_NMI | EXCEPTION_NMI;
    /* The window for a second one opens when the handler of this one has ended. */
    return atomic_fetch_sub(&vcpu->nmi_pending, 1) > 1 ? PRIMARY_NMI_WINDOW_EXITING : 0;
}

/* The same for the interrupt that the local APIC chooses. */
static uint32_t prepare_interrupt(struct vcpu *vcpu)
{
    /* With APICv active the CPU itself looks at RFLAGS.IF; if that ends in this call a window opens. */
    if (pi_has_posted(vcpu->lapic.pi)) {
        vcpu->stats.synced++;
    }
    bool can_inject = !lapic_apicv_active(&vcpu->lapic) && interrupt_deliverable(vcpu);
    struct lapic_entry entry = lapic_before_entry(&vcpu->lapic, can_inject);
    if (entry.inject >= 0) {
        vcpu->event.info =
            EVENT_VALID | EVENT_TYPE_EXTERNAL_INTERRUPT | ((uint32_t)entry.inject & EVENT_VECTOR);
        vcpu->stats.injected++;
    }
    return entry.interrupt_window ? PRIMARY_INTERRUPT_WINDOW_EXITING : 0;
}

static void set_windows(struct vcpu *vcpu, uint32_t windows)
{
    uint32_t all = PRIMARY_NMI_WINDOW_EXITING | PRIMARY_INTERRUPT_WINDOW_EXITING;
    uint32_t controls = (vcpu->primary_controls & ~all) | windows;
    if (controls != vcpu->primary_controls) {
        vcpu->primary_controls = controls;
        vmwrite(VMCS_PRIMARY_CONTROLS, controls);
    }
}

void event_prepare(struct vcpu *vcpu)
{
    uint32_t windows = prepare_nmi(vcpu);
    windows |= prepare_interrupt(vcpu);
    set_windows(vcpu, windows);
    if (!has_event(vcpu)) {
        return;
    }
    uint32_t info = vcpu->event.info;
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFORMATION, info);
    if (info & EVENT_ERROR_CODE) {
        vmwrite(VMCS_ENTRY_EXCEPTION_ERROR_CODE, vcpu->event.error_code);
    }
    if ((info & EVENT_TYPE) >= EVENT_TYPE_SOFTWARE_INTERRUPT) {
        vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, vcpu->event.instruction_length);
    }
    vcpu->event.info = 0;
    vcpu->delivery_interrupted = false;
}
