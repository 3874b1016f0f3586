/* SPDX-License-Identifier: MIT */
/*
 * What apic/ needs of its hypervisor (apic/port.h), done with VMX.
 *
 * Who wants a vCPU's attention writes its request (PIR and ON, an event, a flag) and then, after a full
 * barrier, reads the vCPU's mode. The vCPU writes its mode and then, after a full barrier, looks for
 * requests: GUEST before the entry, BLOCKED before it is taken off its CPU. So at least one side sees
 * the other: the request is found before the entry, or the notification arrives at a CPU that is in the
 * guest or will be with the interrupt pending.
 */
#include "apic/port.h"

#include "apic/lapic.h"
#include "arch/cpu.h"
#include "arch/msr.h"
#include "arch/paging.h"
#include "arch/tsc.h"
#include "arch/vectors.h"
#include "drivers/host_apic.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmx/apic_port.h"
#include "vmx/apic_window.h"
#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"
#include "vmx/event.h"
#include "vmx/msr_bitmap.h"
#include "vmx/schedule.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

uint64_t apic_port_tsc(void)
{
    uint64_t stopped = this_cpu()->vmx->stopped_clock;
    return stopped != 0 ? stopped : rdtsc();
}

void apic_port_stop_clock(void)
{
    this_cpu()->vmx->stopped_clock = rdtsc();
}

void apic_port_run_clock(void)
{
    this_cpu()->vmx->stopped_clock = 0;
}

/* --- Attention ------------------------------------------------------------------------------------- */

/* Returns whether the vector was sent. */
static bool poke(struct vcpu *vcpu, uint8_t vector)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t mode = atomic_load(&vcpu->mode);
    if (mode == VCPU_GUEST) {
        /* Also to this CPU, when it is on its way into the guest: the interrupt stays pending. */
        host_apic_send(vcpu->home->apic_id, vector);
        return true;
    }
    if (mode == VCPU_BLOCKED && atomic_compare_exchange_strong(&vcpu->mode, &mode, VCPU_ROOT)) {
        schedule_notice(vcpu);
    }
    return false;
}

void apic_port_kick(struct lapic *lapic)
{
    poke(vcpu_of_lapic(lapic), VECTOR_KICK);
}

void apic_port_notify(struct lapic *lapic)
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    /* Right with any vector, whatever apicv_active becomes meanwhile: at worst it is an exit. */
    bool posted = lapic->apicv_active && lapic->vm->features.posted_interrupts;
    if (poke(vcpu, posted ? VECTOR_POSTED : VECTOR_KICK) && posted) {
        __atomic_fetch_add(&vcpu->stats.posted, 1, __ATOMIC_RELAXED);
    }
}

/* NV is that vector, and interrupts are off: posted-interrupt processing takes it after the entry. */
void apic_port_notify_self(struct lapic *lapic)
{
    host_apic_send(vcpu_of_lapic(lapic)->home->apic_id, VECTOR_POSTED);
}

/* The same page again, emptied: no CPU has it mapped, and its vCPU is in root mode. */
void apic_port_fresh_page(struct lapic *lapic)
{
    paging_wipe((uintptr_t)lapic->virtual_page);
}

void apic_port_nmi(struct lapic *lapic)
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    event_post_nmi(vcpu);
    poke(vcpu, VECTOR_KICK);
}

int apic_port_acknowledge_extint(struct lapic *lapic)
{
    struct vm *vm = vcpu_of_lapic(lapic)->vm;
    return vm->acknowledge_extint != NULL ? vm->acknowledge_extint(vm) : -1;
}

void apic_port_log(struct lapic *lapic, const char *text, uint64_t value)
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    log_info("VM %s: vCPU %u: local APIC: %s (%llx)", vcpu->vm->name, vcpu->index, text,
             (unsigned long long)value);
}

/* --- VMCS fields: kept here until the next entry --------------------------------------------------- */

uint16_t apic_port_read_interrupt_status(struct lapic *lapic)
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    if (!vcpu->interrupt_status_known) {
        vcpu->interrupt_status = (uint16_t)vmread(VMCS_GUEST_INTERRUPT_STATUS);
        vcpu->interrupt_status_known = true;
    }
    return vcpu->interrupt_status;
}

void apic_port_write_interrupt_status(struct lapic *lapic, uint16_t status)
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    if (!vcpu->interrupt_status_known || vcpu->interrupt_status != status) {
        vcpu->interrupt_status = status;
        vcpu->interrupt_status_known = true;
        vcpu->stale |= STALE_INTERRUPT_STATUS;
    }
}

void apic_port_write_eoi_exit_bitmap(struct lapic *lapic, const uint64_t bitmap[4])
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    if (memcmp(vcpu->eoi_exit_bitmap, bitmap, sizeof(vcpu->eoi_exit_bitmap)) != 0) {
        memcpy(vcpu->eoi_exit_bitmap, bitmap, sizeof(vcpu->eoi_exit_bitmap));
        vcpu->stale |= STALE_EOI_EXIT_BITMAP;
    }
}

void apic_port_write_tpr_threshold(struct lapic *lapic, uint8_t threshold)
{
    struct vcpu *vcpu = vcpu_of_lapic(lapic);
    if (vcpu->tpr_threshold != threshold) {
        vcpu->tpr_threshold = threshold;
        vcpu->stale |= STALE_TPR_THRESHOLD;
    }
}

void apic_port_refresh_controls(struct lapic *lapic)
{
    vcpu_of_lapic(lapic)->stale |= STALE_APIC_CONTROLS;
}

/* --- Writing them ------------------------------------------------------------------------------------ */

static void write_msr_bitmap(struct vcpu *vcpu, bool x2apic)
{
    msr_bitmap_intercept(vcpu->msr_bitmap, 0x800, 0x100);
    if (!x2apic) {
        return;
    }
    msr_bitmap_set_64(vcpu->msr_bitmap, 0x800, ~lapic_direct_reads(&vcpu->lapic),
                      ~lapic_direct_writes(&vcpu->lapic));
}

/* Whether the guest's xAPIC is where the APIC-access page is. */
static bool has_access_page(const struct lapic *lapic)
{
    return lapic_mode(lapic) == LAPIC_XAPIC && lapic->vm->features.apic_accesses &&
           (lapic_read_base(lapic) & APIC_BASE_ADDRESS) == APIC_ACCESS_GPA;
}

static uint32_t apic_secondary_controls(const struct lapic *lapic, bool xapic, bool x2apic)
{
    uint32_t controls = 0;
    controls |= xapic ? SECONDARY_VIRTUALIZE_APIC_ACCESSES : 0;
    controls |= x2apic ? SECONDARY_VIRTUALIZE_X2APIC_MODE : 0;
    if (lapic_apicv_active(lapic)) {
        controls |= SECONDARY_VIRTUAL_INTERRUPT_DELIVERY;
        controls |= lapic->vm->features.register_virt ? SECONDARY_APIC_REGISTER_VIRT : 0;
    }
    return controls;
}

const struct ept *apic_port_ept(const struct vcpu *vcpu)
{
    if (has_access_page(&vcpu->lapic)) {
        return &vcpu->vm->ept_xapic;
    }
    const struct ept *view = apic_window_view(vcpu);
    return view != NULL ? view : &vcpu->vm->ept;
}

static void write_apic_controls(struct vcpu *vcpu)
{
    struct lapic *lapic = &vcpu->lapic;
    bool active = lapic_apicv_active(lapic);
    bool xapic = has_access_page(lapic);
    bool x2apic = lapic_mode(lapic) == LAPIC_X2APIC && lapic->vm->features.x2apic_mode;

    vcpu->secondary_controls &=
        ~(SECONDARY_VIRTUALIZE_APIC_ACCESSES | SECONDARY_VIRTUALIZE_X2APIC_MODE |
          SECONDARY_APIC_REGISTER_VIRT | SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
    vcpu->secondary_controls |= apic_secondary_controls(lapic, xapic, x2apic);
    vcpu->pin_controls &= ~PIN_POSTED_INTERRUPTS;
    if (active && lapic->vm->features.posted_interrupts) {
        vcpu->pin_controls |= PIN_POSTED_INTERRUPTS;
    }
    vmwrite(VMCS_PIN_CONTROLS, vcpu->pin_controls);
    vmwrite(VMCS_SECONDARY_CONTROLS, vcpu->secondary_controls);
    apic_window_update(vcpu);
    vmwrite(VMCS_EPT_POINTER, ept_pointer(apic_port_ept(vcpu)));
    write_msr_bitmap(vcpu, x2apic);
}

static void write_delivery_fields(struct vcpu *vcpu)
{
    if (vcpu->stale & STALE_EOI_EXIT_BITMAP) {
        for (unsigned i = 0; i < 4; i++) {
            vmwrite(VMCS_EOI_EXIT_BITMAP_0 + 2 * i, vcpu->eoi_exit_bitmap[i]);
        }
    }
    if (vcpu->stale & STALE_INTERRUPT_STATUS) {
        vmwrite(VMCS_GUEST_INTERRUPT_STATUS, vcpu->interrupt_status);
    }
}

void apic_port_flush(struct vcpu *vcpu)
{
    if (vcpu->lapic.tsc_offset != vcpu->tsc_offset) {
        vcpu->tsc_offset = vcpu->lapic.tsc_offset;
        vmwrite(VMCS_TSC_OFFSET, (uint64_t)vcpu->tsc_offset);
    }
    if (vcpu->stale == 0) {
        return;
    }
    const struct apic_features *features = &vcpu->lapic.vm->features;
    if (vcpu->stale & STALE_APIC_CONTROLS) {
        write_apic_controls(vcpu);
    }
    if (features->interrupt_delivery) {
        write_delivery_fields(vcpu);
    }
    if ((vcpu->stale & STALE_TPR_THRESHOLD) && features->tpr_shadow) {
        vmwrite(VMCS_TPR_THRESHOLD, vcpu->tpr_threshold);
    }
    vcpu->stale = 0;
}
