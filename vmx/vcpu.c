/* SPDX-License-Identifier: MIT */
/* Creating vCPUs, their VMCS, and loading them on a CPU (SDM volume 3, chapter "VMCS"). */
#include "vmx/vcpu.h"

#include "arch/cpu.h"
#include "arch/descriptor.h"
#include "arch/memory.h"
#include "arch/msr.h"
#include "arch/paging.h"
#include "arch/vectors.h"
#include "arch/x86.h"
#include "lib/log.h"
#include "lib/print.h"
#include "lib/string.h"
#include "vmx/apic_window.h"
#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"
#include "vmx/msr.h"
#include "vmx/start.h"
#include "vmx/step.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"
#include "vmx/xstate.h"

/*
 * PAUSE-loop exiting: PAUSEs at most this many TSC ticks apart are one loop; a loop longer than the
 * window exits. A spinning lock holder's critical section is far shorter than the window.
 */
enum { PLE_GAP = 128, PLE_WINDOW = 4096 };

/*
 * #DB and #AC can recur without end while one is being delivered, and so hold the CPU for good; a
 * machine check is the host's.
 */
#define INTERCEPTED_EXCEPTIONS (BIT32(EXCEPTION_DB) | BIT32(EXCEPTION_AC) | BIT32(EXCEPTION_MC))

static uint16_t new_vpid(void)
{
    static uint16_t last;
    return vmx_has(CONTROL_SECONDARY, SECONDARY_ENABLE_VPID) ? ++last : 0;
}

/* Nobody in root mode touches the page from now on. */
static void withdraw(struct vcpu *vcpu, const void *virtual_page)
{
    vcpu->hole.address = (uintptr_t)virtual_page;
    lib_snprintf(vcpu->hole.name, sizeof(vcpu->hole.name),
                 "the protected virtual-APIC page of VM %s, vCPU %u", vcpu->vm->name, vcpu->index);
    paging_withdraw(&vcpu->hole);
}

static bool create_lapic(struct vcpu *vcpu)
{
    bool protected = vcpu->vm->apic.features.protected;
    void *page = memory_alloc_page();
    void *virtual_page = protected ? memory_alloc_page() : page;
    struct pi_desc *pi = memory_alloc_page();
    if (page == NULL || virtual_page == NULL || pi == NULL) {
        return false;
    }
    if (protected) {
        withdraw(vcpu, virtual_page);
    }
    lapic_init(&vcpu->lapic, &vcpu->vm->apic, vcpu->index, page, virtual_page, pi);
    return true;
}

struct vcpu *vcpu_create(struct vm *vm, unsigned index, unsigned home_cpu)
{
    struct vcpu *vcpu = memory_alloc(sizeof(*vcpu), PAGE_SIZE);
    if (vcpu == NULL) {
        return NULL;
    }
    vcpu->vmcs = memory_alloc_page();
    vcpu->msr_bitmap = memory_alloc_page();
    vcpu->xstate = xstate_create();
    vcpu->msrs = msr_create();
    vcpu->step = step_create();
    vcpu->apic_window = apic_window_create();
    if (vcpu->step == NULL || vcpu->apic_window == NULL || vcpu->vmcs == NULL ||
        vcpu->msr_bitmap == NULL || vcpu->xstate == NULL || vcpu->msrs == NULL) {
        return NULL;
    }
    vcpu->vm = vm;
    vcpu->index = index;
    vcpu->home = cpu_by_index(home_cpu);
    vcpu->vpid = new_vpid();
    msr_bitmap_init(vcpu->msr_bitmap);
    if (!create_lapic(vcpu)) {
        return NULL;
    }
    vcpu_reset(vcpu);
    vm->vcpus[index] = vcpu;
    vm->vcpu_count++;
    return vcpu;
}

void vcpu_set_boot_state(struct vcpu *vcpu, const struct vcpu_boot_state *state)
{
    vcpu->boot = *state;
}

void vcpu_reset(struct vcpu *vcpu)
{
    atomic_store(&vcpu->nmi_pending, 0);
    xstate_reset(vcpu->xstate);
    msr_reset(vcpu->msrs);
    lapic_reset(&vcpu->lapic, false);
    vcpu->interrupt_status = 0;
    vcpu->interrupt_status_known = true;
    vcpu->activity = VCPU_ACTIVE; /* until the start is applied */
    vcpu->stale = STALE_APIC_CONTROLS | STALE_EOI_EXIT_BITMAP | STALE_TPR_THRESHOLD |
                  STALE_INTERRUPT_STATUS | STALE_START;
}

static void write_host_state(void)
{
    const struct arch_cpu *arch = this_cpu()->arch;
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmwrite(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_FS_SELECTOR, SELECTOR_NULL);
    vmwrite(VMCS_HOST_GS_SELECTOR, SELECTOR_NULL);
    vmwrite(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, (uintptr_t)this_cpu());
    vmwrite(VMCS_HOST_TR_BASE, (uintptr_t)&arch->tss);
    vmwrite(VMCS_HOST_GDTR_BASE, (uintptr_t)arch->gdt);
    vmwrite(VMCS_HOST_IDTR_BASE, descriptor_idt().base);
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_PAT, rdmsr(IA32_PAT));
    vmwrite(VMCS_HOST_EFER, rdmsr(IA32_EFER));
    vmwrite(VMCS_HOST_RIP, (uintptr_t)vcpu_exit_point);
}

/* Controls whose fields exist only with a feature. */
static void write_optional_fields(struct vcpu *vcpu)
{
    if (vmx_has(CONTROL_SECONDARY, SECONDARY_ENABLE_VPID)) {
        vmwrite(VMCS_VPID, vcpu->vpid);
    }
    if (vmx_has(CONTROL_SECONDARY, SECONDARY_PAUSE_LOOP_EXITING)) {
        vmwrite(VMCS_PLE_GAP, PLE_GAP);
        vmwrite(VMCS_PLE_WINDOW, PLE_WINDOW);
    }
    if (vmx_has(CONTROL_SECONDARY, SECONDARY_ENABLE_XSAVES)) {
        vmwrite(VMCS_XSS_EXITING_BITMAP, 0);
    }
    if (vmx_has(CONTROL_PRIMARY, PRIMARY_USE_TPR_SHADOW)) {
        vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, (uintptr_t)vcpu->lapic.virtual_page);
    }
    if (vmx_has(CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_APIC_ACCESSES)) {
        vmwrite(VMCS_APIC_ACCESS_ADDRESS, (uintptr_t)vm_apic_access_page());
    }
    if (vmx_has(CONTROL_PIN, PIN_POSTED_INTERRUPTS)) {
        vmwrite(VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, VECTOR_POSTED);
        vmwrite(VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, (uintptr_t)vcpu->lapic.pi);
    }
}

/* Those parts of the controls that the local APIC's mode decides are written by apic_port_flush. */
static void write_controls(struct vcpu *vcpu)
{
    const uint32_t *value = vmx_capabilities()->controls.value;
    vcpu->pin_controls = value[CONTROL_PIN];
    vcpu->primary_controls = value[CONTROL_PRIMARY];
    if (!vmx_has(CONTROL_PRIMARY, PRIMARY_USE_TPR_SHADOW)) {
        vcpu->primary_controls |= PRIMARY_CR8_LOAD_EXITING | PRIMARY_CR8_STORE_EXITING;
    }
    vcpu->secondary_controls = value[CONTROL_SECONDARY];
    vmwrite(VMCS_PIN_CONTROLS, vcpu->pin_controls);
    vmwrite(VMCS_PRIMARY_CONTROLS, vcpu->primary_controls);
    vmwrite(VMCS_SECONDARY_CONTROLS, vcpu->secondary_controls);
    vmwrite(VMCS_EXIT_CONTROLS, value[CONTROL_EXIT]);
    vmwrite(VMCS_ENTRY_CONTROLS, value[CONTROL_ENTRY]);
    vmwrite(VMCS_EXCEPTION_BITMAP, INTERCEPTED_EXCEPTIONS);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MASK, 0);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFORMATION, 0);
    vmwrite(VMCS_IO_BITMAP_A_ADDRESS, (uintptr_t)vcpu->vm->io_bitmap);
    vmwrite(VMCS_IO_BITMAP_B_ADDRESS, (uintptr_t)vcpu->vm->io_bitmap + PAGE_SIZE);
    vmwrite(VMCS_MSR_BITMAPS_ADDRESS, (uintptr_t)vcpu->msr_bitmap);
    vmwrite(VMCS_VMCS_LINK_POINTER, ~0ULL);
    vmwrite(VMCS_TSC_OFFSET, (uint64_t)vcpu->tsc_offset);
    vmwrite(VMCS_PREEMPTION_TIMER_VALUE, vcpu->timer_value);
    write_optional_fields(vcpu);
}

static void load_vmcs(struct vcpu *vcpu)
{
    if (vcpu->vmcs_ready) {
        vmcs_load(vcpu->vmcs);
        return;
    }
    *(uint32_t *)vcpu->vmcs = (uint32_t)(vmx_capabilities()->basic & VMX_BASIC_REVISION);
    vmcs_clear(vcpu->vmcs);
    vmcs_load(vcpu->vmcs);
    write_host_state();
    write_controls(vcpu);
    vcpu->vmcs_ready = true;
}

void vcpu_unload(void)
{
    struct vcpu *vcpu = this_cpu()->vmx->current;
    if (vcpu == NULL) {
        return;
    }
    this_cpu()->vmx->current = NULL;
    xstate_save(vcpu->xstate);
    msr_save(vcpu->msrs);
    vcpu->cr2 = read_cr2();
    vcpu->dr[0] = read_dr0();
    vcpu->dr[1] = read_dr1();
    vcpu->dr[2] = read_dr2();
    vcpu->dr[3] = read_dr3();
    vcpu->dr6 = read_dr6();
}

void vcpu_load(struct vcpu *vcpu)
{
    struct vmx_cpu *cpu = this_cpu()->vmx;
    if (cpu->current == vcpu) {
        return;
    }
    vcpu_unload();
    load_vmcs(vcpu);
    xstate_load(vcpu->xstate);
    msr_load(vcpu->msrs);
    write_cr2(vcpu->cr2);
    write_dr0(vcpu->dr[0]);
    write_dr1(vcpu->dr[1]);
    write_dr2(vcpu->dr[2]);
    write_dr3(vcpu->dr[3]);
    write_dr6(vcpu->dr6);
    cpu->current = vcpu;
}
