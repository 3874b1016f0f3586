/* SPDX-License-Identifier: MIT */
/* Guest state at a vCPU's starts (SDM volume 3, chapter "Processor Management and Initialization"). */
#include "vmx/start.h"

#include "arch/cpuid.h"
#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/string.h"
#include "vmx/cr.h"
#include "vmx/segment.h"
#include "vmx/step.h"
#include "vmx/vcpu.h"
#include "vmx/vmcs.h"

/* Segment access rights (SDM volume 3, table "Format of Access Rights") */
#define AR_CODE_REAL 0x009BU
#define AR_DATA_REAL 0x0093U
#define AR_CODE_64   0xA09BU
#define AR_CODE_32   0xC09BU
#define AR_DATA_FLAT 0xC093U
#define AR_LDT       0x0082U
#define AR_TSS_BUSY  0x008BU

struct segment {
    uint16_t selector;
    uint64_t base;
    uint32_t limit;
    uint32_t access_rights;
};

static void write_segment(unsigned segment, const struct segment *value)
{
    vmwrite(vmcs_segment(VMCS_GUEST_ES_SELECTOR, segment), value->selector);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_BASE, segment), value->base);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_LIMIT, segment), value->limit);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_ACCESS_RIGHTS, segment), value->access_rights);
}

static void write_segments(const struct segment *code, const struct segment *data)
{
    for (unsigned segment = SEGMENT_ES; segment <= SEGMENT_GS; segment++) {
        write_segment(segment, segment == SEGMENT_CS ? code : data);
    }
}

/* State that all starts have in common. */
static void write_common(struct vcpu *vcpu, uint64_t rip)
{
    memset(vcpu->gpr, 0, sizeof(vcpu->gpr));
    vcpu->gpr[RDX] = cpuid_read(1, 0).eax;
    vcpu->event.info = 0;
    step_cancel(vcpu);
    vmwrite(VMCS_GUEST_RIP, rip);
    vmwrite(VMCS_GUEST_RSP, 0);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    vmwrite(VMCS_GUEST_CR3, 0);
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, 0);
    write_segment(SEGMENT_LDTR, &(struct segment){ 0, 0, 0xFFFF, AR_LDT });
    write_segment(SEGMENT_TR, &(struct segment){ 0, 0, 0xFFFF, AR_TSS_BUSY });
    vmwrite(VMCS_GUEST_GDTR_BASE, 0);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, 0xFFFF);
    vmwrite(VMCS_GUEST_IDTR_BASE, 0);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, 0xFFFF);
    write_cr2(0);
    write_dr0(0);
    write_dr1(0);
    write_dr2(0);
    write_dr3(0);
    write_dr6(DR6_RESET);
}

/* What power-up resets and INIT leaves alone. */
static void write_power_up(struct vcpu *vcpu)
{
    vmwrite(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_SYSENTER_EIP, 0);
    vmwrite(VMCS_GUEST_PAT, PAT_RESET);
    cr_set(vcpu, CR0_ET | CR0_CD | CR0_NW, 0, 0);
}

static void start_boot(struct vcpu *vcpu)
{
    const struct vcpu_boot_state *boot = &vcpu->boot;
    write_common(vcpu, boot->rip);
    memcpy(vcpu->gpr, boot->gpr, sizeof(vcpu->gpr));
    vmwrite(VMCS_GUEST_RSP, boot->rsp);
    vmwrite(VMCS_GUEST_GDTR_BASE, boot->gdt_base);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, boot->gdt_limit);
    uint32_t code = boot->long_mode ? AR_CODE_64 : AR_CODE_32;
    write_segments(&(struct segment){ boot->cs, 0, 0xFFFFFFFF, code },
                   &(struct segment){ boot->ds, 0, 0xFFFFFFFF, AR_DATA_FLAT });
    if (boot->long_mode) {
        cr_set(vcpu, CR0_PE | CR0_ET | CR0_NE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA);
        vmwrite(VMCS_GUEST_CR3, boot->cr3);
    } else {
        cr_set(vcpu, CR0_PE | CR0_ET, 0, 0);
    }
    if (boot->virtual_wire) {
        lapic_set_virtual_wire(&vcpu->lapic);
    }
    vcpu->activity = VCPU_ACTIVE;
}

/* "MP Initialization Protocol": after INIT the BSP flag decides, which the guest can write. */
static enum vcpu_activity activity_after_init(const struct vcpu *vcpu)
{
    bool bsp = (lapic_read_base(&vcpu->lapic) & APIC_BASE_BSP) != 0;
    return bsp ? VCPU_ACTIVE : VCPU_WAIT_FOR_SIPI;
}

void start_init(struct vcpu *vcpu)
{
    write_common(vcpu, 0xFFF0);
    write_segments(&(struct segment){ 0xF000, 0xFFFF0000, 0xFFFF, AR_CODE_REAL },
                   &(struct segment){ 0, 0, 0xFFFF, AR_DATA_REAL });
    cr_set(vcpu, CR0_ET | (cr0_read() & (CR0_CD | CR0_NW)), 0, 0);
    atomic_store(&vcpu->nmi_pending, 0);
    vcpu->activity = activity_after_init(vcpu);
}

void start_sipi(struct vcpu *vcpu, uint8_t vector)
{
    /* The wait-for-SIPI state blocks NMIs, and the processor starts without one. */
    atomic_store(&vcpu->nmi_pending, 0);
    struct segment code = { (uint16_t)(vector << 8), (uint64_t)vector << 12, 0xFFFF, AR_CODE_REAL };
    write_segment(SEGMENT_CS, &code);
    vmwrite(VMCS_GUEST_RIP, 0);
    vcpu->activity = VCPU_ACTIVE;
}

void start_power_up(struct vcpu *vcpu)
{
    write_power_up(vcpu);
    if (vcpu->index == 0) {
        start_boot(vcpu);
    } else {
        start_init(vcpu);
    }
}
