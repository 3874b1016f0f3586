/* SPDX-License-Identifier: MIT */
/*
 * Control registers of guests (SDM volume 3, "Control Registers"). The guest owns every bit whose
 * change the CPU handles by itself in unrestricted-guest mode. Rivet owns in CR0 PE and PG (long mode
 * needs the "IA-32e mode guest" control), CD and NW (caching is the host's) and NE; in CR4 VMXE, MCE (a
 * machine check in the guest is the host's) and whatever CPUID hides.
 */

#include "vmx/cr.h"

#include "apic/lapic.h"
#include "arch/cpuid.h"
#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmx/capabilities.h"
#include "vmx/cpuid.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/policy.h"
#include "vmx/umip.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"
#include "vmx/vpid.h"

#define CR0_GUEST_OWNED (CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM)
#define CR0_DEFINED     (CR0_GUEST_OWNED | CR0_PE | CR0_ET | CR0_NE | CR0_NW | CR0_CD | CR0_PG)

/* Exit qualification for control-register accesses. */
#define CR_ACCESS_NUMBER      0xFULL
#define CR_ACCESS_TYPE        (3ULL << 4)
#define CR_ACCESS_REGISTER    (0xFULL << 8)
#define CR_ACCESS_LMSW_SOURCE (0xFFFFULL << 16)
enum { CR_ACCESS_MOV_TO, CR_ACCESS_MOV_FROM, CR_ACCESS_CLTS, CR_ACCESS_LMSW };

#define CR3_PCID 0xFFFULL

#define SEGMENT_TYPE 0xFULL
#define SEGMENT_L    BIT(13)
enum { SEGMENT_TYPE_TSS16_BUSY = 3 };

/* PDPTE bits that must be 0 in PAE paging, beside those above MAXPHYADDR. */
#define PDPTE_P        BIT(0)
#define PDPTE_RESERVED (BIT(1) | BIT(2) | (0xFULL << 5))

/* CR4 bits that guests can have although the CPU has not. */
static uint64_t emulated_cr4(void)
{
    return umip_is_emulated() ? CR4_UMIP : 0;
}

/* CR4 bits that the guest may set: those that a CPUID bit announces. */
static uint64_t cr4_allowed(const struct vcpu *vcpu)
{
    struct cpuid leaf1 = policy_cpuid(vcpu, 1, 0);
    struct cpuid leaf7 = policy_cpuid(vcpu, 7, 0);
    const struct {
        uint64_t cr4;
        uint32_t announced;
    } features[] = {
        { CR4_VME | CR4_PVI, leaf1.edx & CPUID_1_EDX_VME },
        { CR4_TSD, leaf1.edx & CPUID_1_EDX_TSC },
        { CR4_DE, leaf1.edx & CPUID_1_EDX_DE },
        { CR4_PSE, leaf1.edx & CPUID_1_EDX_PSE },
        { CR4_PAE, leaf1.edx & CPUID_1_EDX_PAE },
        { CR4_MCE, leaf1.edx & CPUID_1_EDX_MCE },
        { CR4_PGE, leaf1.edx & CPUID_1_EDX_PGE },
        { CR4_PCE, 1 },
        { CR4_OSFXSR, leaf1.edx & CPUID_1_EDX_FXSR },
        { CR4_OSXMMEXCPT, leaf1.edx & CPUID_1_EDX_SSE },
        { CR4_UMIP, leaf7.ecx & BIT32(2) },
        { CR4_LA57, leaf7.ecx & BIT32(16) },
        { CR4_FSGSBASE, leaf7.ebx & BIT32(0) },
        { CR4_PCIDE, leaf1.ecx & CPUID_1_ECX_PCID },
        { CR4_OSXSAVE, leaf1.ecx & CPUID_1_ECX_XSAVE },
        { CR4_SMEP, leaf7.ebx & BIT32(7) },
        { CR4_SMAP, leaf7.ebx & BIT32(20) },
        { CR4_PKE, leaf7.ecx & BIT32(3) },
    };
    uint64_t allowed = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        if (features[i].announced) {
            allowed |= features[i].cr4;
        }
    }
    return allowed & (vmx_capabilities()->cr4_fixed1 | emulated_cr4());
}

uint64_t cr0_read(void)
{
    return (vmread(VMCS_GUEST_CR0) & CR0_GUEST_OWNED) |
           (vmread(VMCS_CR0_READ_SHADOW) & ~CR0_GUEST_OWNED);
}

uint64_t cr4_read(void)
{
    uint64_t mask = vmread(VMCS_CR4_GUEST_HOST_MASK);
    return (vmread(VMCS_GUEST_CR4) & ~mask) | (vmread(VMCS_CR4_READ_SHADOW) & mask);
}

/* The CPU's CR0 for a guest that sees value. CD and NW stay clear: VM entry ignores them anyway. */
static void load_cr0(uint64_t value)
{
    uint64_t required = vmx_capabilities()->cr0_fixed0 & ~(CR0_PE | CR0_PG);
    vmwrite(VMCS_CR0_READ_SHADOW, value);
    vmwrite(VMCS_GUEST_CR0, (value & ~(CR0_CD | CR0_NW)) | required);
}

static void load_cr4(struct vcpu *vcpu, uint64_t value)
{
    uint64_t host = read_cr4() & CR4_MCE;
    uint64_t guests = value & ~(CR4_MCE | emulated_cr4());
    vmwrite(VMCS_CR4_READ_SHADOW, value);
    vmwrite(VMCS_GUEST_CR4, guests | host | vmx_capabilities()->cr4_fixed0);
    if (umip_is_emulated()) {
        umip_set(vcpu, (value & CR4_UMIP) != 0);
    }
}

static void load_efer(uint64_t efer, uint64_t cr0)
{
    bool long_mode = (efer & EFER_LME) && (cr0 & CR0_PG);
    uint64_t controls = vmread(VMCS_ENTRY_CONTROLS);

    efer = long_mode ? efer | EFER_LMA : efer & ~EFER_LMA;
    vmwrite(VMCS_GUEST_EFER, efer);
    vmwrite(VMCS_ENTRY_CONTROLS, long_mode ? controls | ENTRY_IA32E_MODE_GUEST
                                           : controls & ~(uint64_t)ENTRY_IA32E_MODE_GUEST);
}

void cr_set(struct vcpu *vcpu, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    vmwrite(VMCS_CR0_GUEST_HOST_MASK, ~CR0_GUEST_OWNED);
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, ~cr4_allowed(vcpu) | CR4_MCE | emulated_cr4());
    load_cr0(cr0 | CR0_ET);
    load_cr4(vcpu, cr4);
    load_efer(efer, cr0);
    vpid_flush(vcpu);
}

/* --- CR0 ------------------------------------------------------------------------------------------- */

static bool pdpte_valid(uint64_t pdpte)
{
    uint64_t beyond = ~0ULL << cpuid_physical_address_bits();
    return !(pdpte & PDPTE_P) || !(pdpte & (PDPTE_RESERVED | beyond));
}

/* Load the PDPTE registers from memory at CR3 (SDM volume 3, "PDPTE Registers"). */
static int load_pdptes(struct vcpu *vcpu)
{
    uint64_t pdptes[4];
    uint64_t address = vmread(VMCS_GUEST_CR3) & 0xFFFFFFE0U;
    const void *memory = vm_memory(vcpu->vm, address, sizeof(pdptes));

    if (memory) {
        memcpy(pdptes, memory, sizeof(pdptes));
    } else {
        memset(pdptes, 0xFF, sizeof(pdptes));
    }
    for (unsigned i = 0; i < 4; i++) {
        if (!pdpte_valid(pdptes[i])) {
            return ERR_GP;
        }
    }
    vmwrite(VMCS_GUEST_PDPTE0, pdptes[0]);
    vmwrite(VMCS_GUEST_PDPTE1, pdptes[1]);
    vmwrite(VMCS_GUEST_PDPTE2, pdptes[2]);
    vmwrite(VMCS_GUEST_PDPTE3, pdptes[3]);
    return RIVET_OK;
}

/* Turning paging on with EFER.LME set enters IA-32e mode. */
static bool may_enter_long_mode(uint64_t cr4)
{
    return (cr4 & CR4_PAE) && !(vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEGMENT_L) &&
           field_get(SEGMENT_TYPE, vmread(VMCS_GUEST_TR_ACCESS_RIGHTS)) != SEGMENT_TYPE_TSS16_BUSY;
}

static bool may_leave_paging(uint64_t cr4, uint64_t efer)
{
    bool in_64_bit_mode = (efer & EFER_LMA) && (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEGMENT_L);
    return !in_64_bit_mode && !(cr4 & CR4_PCIDE);
}

static bool cr0_valid(uint64_t value, uint64_t old)
{
    uint64_t efer = vmread(VMCS_GUEST_EFER);
    bool paging_on = (value & CR0_PG) && !(old & CR0_PG);
    bool paging_off = !(value & CR0_PG) && (old & CR0_PG);

    if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD))) {
        return false;
    }
    if (paging_on && (efer & EFER_LME) && !may_enter_long_mode(cr4_read())) {
        return false;
    }
    return !paging_off || may_leave_paging(cr4_read(), efer);
}

int cr0_write(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = cr0_read();
    uint64_t efer = vmread(VMCS_GUEST_EFER);
    uint64_t changed;

    if (!cr0_valid(value, old)) {
        return ERR_GP;
    }
    value = (value & CR0_DEFINED) | CR0_ET;
    changed = value ^ old;
    bool pae_paging = (value & CR0_PG) && (cr4_read() & CR4_PAE) && !(efer & EFER_LME);
    if (pae_paging && (changed & (CR0_PG | CR0_CD | CR0_NW)) && load_pdptes(vcpu) != RIVET_OK) {
        return ERR_GP;
    }
    load_cr0(value);
    if (changed & CR0_PG) {
        load_efer(efer, value);
        vpid_flush(vcpu);
    }
    return RIVET_OK;
}

static bool cr4_valid(const struct vcpu *vcpu, uint64_t value, uint64_t old)
{
    bool long_mode = vmread(VMCS_GUEST_EFER) & EFER_LMA;
    bool pcid_on = (value & CR4_PCIDE) && !(old & CR4_PCIDE);

    if (value & ~cr4_allowed(vcpu)) {
        return false;
    }
    if (long_mode && (!(value & CR4_PAE) || ((value ^ old) & CR4_LA57))) {
        return false;
    }
    return !pcid_on || (long_mode && !(vmread(VMCS_GUEST_CR3) & CR3_PCID));
}

int cr3_switch(struct vcpu *vcpu, uint64_t value)
{
    vmwrite(VMCS_GUEST_CR3, value);
    vpid_flush(vcpu);
    return (cr4_read() & CR4_PAE) ? load_pdptes(vcpu) : RIVET_OK;
}

/* Reached by a change of MCE or of what is emulated, which may come with changes of any other bit. */
static int cr4_write(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = cr4_read();
    uint64_t changed = value ^ old;
    bool pae_paging =
        (cr0_read() & CR0_PG) && (value & CR4_PAE) && !(vmread(VMCS_GUEST_EFER) & EFER_LMA);

    if (!cr4_valid(vcpu, value, old)) {
        return ERR_GP;
    }
    if (pae_paging && (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) &&
        load_pdptes(vcpu) != RIVET_OK) {
        return ERR_GP;
    }
    load_cr4(vcpu, value);
    if (changed & ~(CR4_MCE | CR4_OSXSAVE | CR4_OSFXSR | CR4_OSXMMEXCPT)) {
        vpid_flush(vcpu);
    }
    return RIVET_OK;
}

int efer_write(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = vmread(VMCS_GUEST_EFER);
    uint64_t allowed = EFER_SCE | EFER_LME | EFER_LMA;

    if (policy_cpuid(vcpu, 0x80000001, 0).edx & CPUID_80000001_EDX_NX) {
        allowed |= EFER_NXE;
    }
    if (value & ~allowed) {
        return ERR_GP;
    }
    if (((value ^ old) & EFER_LME) && (cr0_read() & CR0_PG)) {
        return ERR_GP;
    }
    load_efer(value, cr0_read());
    if ((value ^ old) & EFER_NXE) {
        vpid_flush(vcpu);
    }
    return RIVET_OK;
}

/* --- Exits ----------------------------------------------------------------------------------------- */

static uint64_t source_register(const struct vcpu *vcpu, uint64_t qualification)
{
    unsigned reg = (unsigned)field_get(CR_ACCESS_REGISTER, qualification);
    uint64_t value = reg == RSP ? vmread(VMCS_GUEST_RSP) : vcpu->gpr[reg];
    bool in_64_bit_mode =
        (vmread(VMCS_GUEST_EFER) & EFER_LMA) && (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & SEGMENT_L);
    return in_64_bit_mode ? value : (uint32_t)value;
}

static int mov_to_cr(struct vcpu *vcpu, unsigned number, uint64_t value)
{
    switch (number) {
    case 0:
        return cr0_write(vcpu, value);
    case 4:
        return cr4_write(vcpu, value);
    case 8:
        if (value > 15) {
            return ERR_GP;
        }
        lapic_write_cr8(&vcpu->lapic, (uint8_t)value);
        return RIVET_OK;
    default:
        panic("exit for MOV to CR%u, which is not intercepted", number);
    }
}

static void mov_from_cr(struct vcpu *vcpu, unsigned number, unsigned reg)
{
    ASSERT(number == 8);
    if (reg == RSP) {
        vmwrite(VMCS_GUEST_RSP, lapic_read_cr8(&vcpu->lapic));
    } else {
        vcpu->gpr[reg] = lapic_read_cr8(&vcpu->lapic);
    }
}

/* LMSW sets CR0[3:0] and cannot clear PE. */
static int lmsw(struct vcpu *vcpu, uint64_t source)
{
    uint64_t cr0 = cr0_read();
    return cr0_write(vcpu, (cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (source & 0xF));
}

void exit_cr_access(struct vcpu *vcpu)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned number = (unsigned)field_get(CR_ACCESS_NUMBER, qualification);
    int error = RIVET_OK;

    switch (field_get(CR_ACCESS_TYPE, qualification)) {
    case CR_ACCESS_MOV_TO:
        error = mov_to_cr(vcpu, number, source_register(vcpu, qualification));
        break;
    case CR_ACCESS_MOV_FROM:
        mov_from_cr(vcpu, number, (unsigned)field_get(CR_ACCESS_REGISTER, qualification));
        break;
    case CR_ACCESS_LMSW:
        error = lmsw(vcpu, field_get(CR_ACCESS_LMSW_SOURCE, qualification));
        break;
    default:
        panic("exit for CLTS, which is not intercepted");
    }
    if (error) {
        event_raise_code(vcpu, EXCEPTION_GP, 0);
    } else {
        event_instruction_done(vcpu);
    }
}
