/* SPDX-License-Identifier: MIT */
/* MSR policy of guests in one table (SDM volume 4): what a read returns, what a write does. */
#include "vmx/msr.h"

#include "apic/lapic.h"
#include "apic/paravirt.h"
#include "arch/msr.h"
#include "arch/tsc.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "vmx/cpuid.h"
#include "vmx/cr.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/msr_offered.h"
#include "vmx/policy.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"
#include "vmx/xstate.h"

#define MISC_ENABLE_WRITABLE                                                             \
    (MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_TCC | MISC_ENABLE_EIST | MISC_ENABLE_MWAIT | \
     MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_XTPR_DISABLE | MISC_ENABLE_XD_DISABLE)
#define MISC_ENABLE_PERFMON BIT(7)
#define MISC_ENABLE_READ_ONLY \
    (MISC_ENABLE_PERFMON | MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAILABLE)

#define MCG_STATUS_DEFINED      7ULL /* RIPV, EIPV, MCIP */
#define PLATFORM_INFO_MAX_RATIO (0xFFULL << 8)

/* --- Handlers --------------------------------------------------------------------------------------- */

static int read_zero(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    (void)msr;
    *value = 0;
    return RIVET_OK;
}

static int ignore_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    (void)msr;
    (void)value;
    return RIVET_OK;
}

/* The MSR does not exist and everybody knows: #GP without a log line. */
static int no_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    (void)msr;
    (void)value;
    return ERR_GP;
}

static int no_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    (void)msr;
    (void)value;
    return ERR_GP;
}

static uint64_t guest_tsc(const struct vcpu *vcpu)
{
    return rdtsc() + (uint64_t)vcpu->lapic.tsc_offset;
}

static void move_tsc(struct vcpu *vcpu, uint64_t delta)
{
    lapic_set_tsc_offset(&vcpu->lapic, (int64_t)((uint64_t)vcpu->lapic.tsc_offset + delta));
}

static int read_tsc(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = guest_tsc(vcpu);
    return RIVET_OK;
}

/* A write moves TSC and IA32_TSC_ADJUST by the same amount (SDM volume 3, "Time-Stamp Counter Adjustment"). */
static int write_tsc(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t delta = value - guest_tsc(vcpu);
    (void)msr;
    vcpu->msrs->tsc_adjust += delta;
    move_tsc(vcpu, delta);
    return RIVET_OK;
}

static int read_tsc_adjust(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = vcpu->msrs->tsc_adjust;
    return RIVET_OK;
}

static int write_tsc_adjust(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t delta = value - vcpu->msrs->tsc_adjust;
    (void)msr;
    vcpu->msrs->tsc_adjust = value;
    move_tsc(vcpu, delta);
    return RIVET_OK;
}

static int read_apic_base(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = lapic_read_base(&vcpu->lapic);
    return RIVET_OK;
}

static int write_apic_base(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    return lapic_write_base(&vcpu->lapic, value);
}

static int read_apic(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    return lapic_read_msr(&vcpu->lapic, msr, value);
}

static int write_apic(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return lapic_write_msr(&vcpu->lapic, msr, value);
}

static int read_pv_eoi(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = lapic_read_pv_eoi(&vcpu->lapic);
    return RIVET_OK;
}

static int write_pv_eoi(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    return lapic_write_pv_eoi(&vcpu->lapic, value);
}

/* Locked with VMX off: the guest has neither VMX nor SMX. */
static int read_feature_control(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    (void)msr;
    *value = FEATURE_CONTROL_LOCK;
    return RIVET_OK;
}

static int read_microcode(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    (void)msr;
    *value = msr_offered.microcode;
    return RIVET_OK;
}

static int read_platform_info(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    (void)msr;
    *value = field_set(PLATFORM_INFO_MAX_RATIO, 0, tsc_hz() / 100000000);
    return RIVET_OK;
}

static int read_arch_capabilities(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    (void)msr;
    *value = msr_offered.arch_capabilities_value;
    return msr_offered.arch_capabilities ? RIVET_OK : ERR_GP;
}

static int read_spec_ctrl(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    if (!msr_offered.spec_ctrl) {
        return ERR_GP;
    }
    *value = rdmsr(msr);
    return RIVET_OK;
}

static int write_spec_ctrl(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    if (!msr_offered.spec_ctrl || (value & ~msr_offered.spec_ctrl)) {
        return ERR_GP;
    }
    wrmsr(msr, value);
    return RIVET_OK;
}

/* Commands: bit 0, write only. */
static int write_command(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    bool exists = msr == IA32_PRED_CMD ? msr_offered.prediction_command : msr_offered.flush_command;
    (void)vcpu;
    if (!exists || (value & ~1ULL)) {
        return ERR_GP;
    }
    wrmsr(msr, value);
    return RIVET_OK;
}

static int read_misc_enable(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = vcpu->msrs->misc_enable;
    return RIVET_OK;
}

static int write_misc_enable(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t fixed = vcpu->msrs->misc_enable & MISC_ENABLE_READ_ONLY;
    (void)msr;
    if (value & ~(MISC_ENABLE_WRITABLE | MISC_ENABLE_READ_ONLY)) {
        return ERR_GP;
    }
    vcpu->msrs->misc_enable = (value & MISC_ENABLE_WRITABLE) | fixed;
    return RIVET_OK;
}

static int read_mcg_status(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = vcpu->msrs->mcg_status;
    return RIVET_OK;
}

static int write_mcg_status(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    if (value & ~MCG_STATUS_DEFINED) {
        return ERR_GP;
    }
    vcpu->msrs->mcg_status = value;
    return RIVET_OK;
}

static int read_mtrr(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    return mtrr_read(&vcpu->msrs->mtrr, msr, value);
}

static int write_mtrr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return mtrr_write(&vcpu->msrs->mtrr, msr, value, cpuid_physical_address_bits());
}

static int write_pat(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    (void)msr;
    if (!pat_valid(value)) {
        return ERR_GP;
    }
    vmwrite(VMCS_GUEST_PAT, value);
    return RIVET_OK;
}

/* MSRs that the VMCS loads and saves. */
static enum vmcs_field vmcs_field_of(uint32_t msr)
{
    switch (msr) {
    case IA32_SYSENTER_CS:
        return VMCS_GUEST_SYSENTER_CS;
    case IA32_SYSENTER_ESP:
        return VMCS_GUEST_SYSENTER_ESP;
    case IA32_SYSENTER_EIP:
        return VMCS_GUEST_SYSENTER_EIP;
    case IA32_DEBUGCTL:
        return VMCS_GUEST_DEBUGCTL;
    case IA32_PAT:
        return VMCS_GUEST_PAT;
    case IA32_EFER:
        return VMCS_GUEST_EFER;
    case IA32_FS_BASE:
        return VMCS_GUEST_FS_BASE;
    case IA32_GS_BASE:
        return VMCS_GUEST_GS_BASE;
    default:
        panic("MSR %x has no VMCS field", msr);
    }
}

static int read_vmcs(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    *value = vmread(vmcs_field_of(msr));
    return RIVET_OK;
}

static int write_vmcs(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    vmwrite(vmcs_field_of(msr), value);
    return RIVET_OK;
}

static bool is_canonical(uint64_t address)
{
    unsigned unused = vmread(VMCS_GUEST_CR4) & CR4_LA57 ? 64 - 57 : 64 - 48;
    return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static int write_vmcs_address(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return is_canonical(value) ? write_vmcs(vcpu, msr, value) : ERR_GP;
}

/* MSRs that hold the guest's value in the CPU while the vCPU is loaded. */
static int read_loaded(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu;
    *value = rdmsr(msr);
    return RIVET_OK;
}

static int write_loaded(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)vcpu;
    wrmsr(msr, value);
    return RIVET_OK;
}

static int write_loaded_address(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return is_canonical(value) ? write_loaded(vcpu, msr, value) : ERR_GP;
}

static int read_tsc_aux(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    return msr_offered.tsc_aux ? read_loaded(vcpu, msr, value) : ERR_GP;
}

static int write_tsc_aux(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return msr_offered.tsc_aux && value >> 32 == 0 ? write_loaded(vcpu, msr, value) : ERR_GP;
}

static int write_efer(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    return efer_write(vcpu, value);
}

static int read_xss(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = xstate_xss(vcpu->xstate);
    return msr_offered.xss ? RIVET_OK : ERR_GP;
}

static int write_xss(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    return msr_offered.xss ? xstate_write_xss(vcpu->xstate, value) : ERR_GP;
}

/* --- The table -------------------------------------------------------------------------------------- */

/*
 * In order of number; no two overlap. Writes of a bit outside valid raise #GP before the handler runs.
 * A row whose MSR the CPU reaches without an exit (msr_bitmap_init) is there for nested/.
 */
static const struct rule {
    uint32_t first, last;
    int (*read)(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
    int (*write)(struct vcpu *vcpu, uint32_t msr, uint64_t value);
    uint64_t valid;
} rules[] = {
    { IA32_P5_MC_ADDR, IA32_P5_MC_TYPE, read_zero, ignore_write, ~0ULL },
    { IA32_TIME_STAMP_COUNTER, IA32_TIME_STAMP_COUNTER, read_tsc, write_tsc, ~0ULL },
    { IA32_PLATFORM_ID, IA32_PLATFORM_ID, read_zero, no_write, 0 },
    { IA32_APIC_BASE, IA32_APIC_BASE, read_apic_base, write_apic_base, ~0ULL },
    { MSR_SMI_COUNT, MSR_SMI_COUNT, read_zero, no_write, 0 },
    { IA32_FEATURE_CONTROL, IA32_FEATURE_CONTROL, read_feature_control, no_write, 0 },
    { IA32_TSC_ADJUST, IA32_TSC_ADJUST, read_tsc_adjust, write_tsc_adjust, ~0ULL },
    { IA32_SPEC_CTRL, IA32_SPEC_CTRL, read_spec_ctrl, write_spec_ctrl, ~0ULL },
    { IA32_PRED_CMD, IA32_PRED_CMD, no_read, write_command, 1 },
    { IA32_BIOS_UPDT_TRIG, IA32_BIOS_UPDT_TRIG, no_read, ignore_write, ~0ULL },
    { IA32_BIOS_SIGN_ID, IA32_BIOS_SIGN_ID, read_microcode, ignore_write, ~0ULL },
    { MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, read_platform_info, no_write, 0 },
    { IA32_MTRRCAP, IA32_MTRRCAP, read_mtrr, write_mtrr, ~0ULL },
    { IA32_ARCH_CAPABILITIES, IA32_ARCH_CAPABILITIES, read_arch_capabilities, no_write, 0 },
    { IA32_FLUSH_CMD, IA32_FLUSH_CMD, no_read, write_command, 1 },
    { MSR_MISC_FEATURES_ENABLES, MSR_MISC_FEATURES_ENABLES, read_zero, ignore_write, 0 },
    { IA32_SYSENTER_CS, IA32_SYSENTER_CS, read_vmcs, write_vmcs, 0xFFFFFFFF },
    { IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, read_vmcs, write_vmcs_address, ~0ULL },
    { IA32_MCG_CAP, IA32_MCG_CAP, read_zero, no_write, 0 }, /* no banks */
    { IA32_MCG_STATUS, IA32_MCG_STATUS, read_mcg_status, write_mcg_status, ~0ULL },
    { IA32_MISC_ENABLE, IA32_MISC_ENABLE, read_misc_enable, write_misc_enable, ~0ULL },
    { IA32_DEBUGCTL, IA32_DEBUGCTL, read_vmcs, write_vmcs, DEBUGCTL_LBR | DEBUGCTL_BTF },
    { IA32_MTRR_PHYSBASE0, IA32_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE - 1, read_mtrr, write_mtrr,
      ~0ULL },
    { IA32_MTRR_FIX64K_00000, IA32_MTRR_FIX64K_00000, read_mtrr, write_mtrr, ~0ULL },
    { IA32_MTRR_FIX16K_80000, IA32_MTRR_FIX16K_A0000, read_mtrr, write_mtrr, ~0ULL },
    { IA32_MTRR_FIX4K_C0000, IA32_MTRR_FIX4K_F8000, read_mtrr, write_mtrr, ~0ULL },
    { IA32_PAT, IA32_PAT, read_vmcs, write_pat, ~0ULL },
    { IA32_MTRR_DEF_TYPE, IA32_MTRR_DEF_TYPE, read_mtrr, write_mtrr, ~0ULL },
    { IA32_MC0_CTL, IA32_VMX_BASIC - 1, no_read, no_write, 0 }, /* MC0-MC31 */
    { IA32_TSC_DEADLINE, IA32_TSC_DEADLINE, read_apic, write_apic, ~0ULL },
    { 0x800, 0x8FF, read_apic, write_apic, ~0ULL }, /* x2APIC registers */
    { IA32_XSS, IA32_XSS, read_xss, write_xss, ~0ULL },
    { MSR_PV_EOI, MSR_PV_EOI, read_pv_eoi, write_pv_eoi, ~0ULL },
    { IA32_EFER, IA32_EFER, read_vmcs, write_efer, ~0ULL },
    { IA32_STAR, IA32_STAR, read_loaded, write_loaded, ~0ULL },
    { IA32_LSTAR, IA32_CSTAR, read_loaded, write_loaded_address, ~0ULL },
    { IA32_FMASK, IA32_FMASK, read_loaded, write_loaded, 0xFFFFFFFF },
    { IA32_FS_BASE, IA32_GS_BASE, read_vmcs, write_vmcs_address, ~0ULL },
    { IA32_KERNEL_GS_BASE, IA32_KERNEL_GS_BASE, read_loaded, write_loaded_address, ~0ULL },
    { IA32_TSC_AUX, IA32_TSC_AUX, read_tsc_aux, write_tsc_aux, ~0ULL },
};

static const struct rule *find_rule(uint32_t msr)
{
    unsigned low = 0, high = ARRAY_SIZE(rules);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (msr > rules[middle].last) {
            low = middle + 1;
        } else if (msr < rules[middle].first) {
            high = middle;
        } else {
            return &rules[middle];
        }
    }
    return NULL;
}

/* Remember an unknown MSR; false when it is known already or the table is full. */
static bool remember_unknown(struct vm *vm, uint32_t msr)
{
    struct vm_said *said = &vm->said;
    bool first = true;

    spin_lock(&said->lock);
    for (unsigned i = 0; i < said->unknown_msr_count; i++) {
        first &= said->unknown_msrs[i] != msr;
    }
    first &= said->unknown_msr_count < VM_UNKNOWN_MSRS;
    if (first) {
        said->unknown_msrs[said->unknown_msr_count++] = msr;
    }
    spin_unlock(&said->lock);
    return first;
}

static int unknown_msr(struct vcpu *vcpu, uint32_t msr, const char *access)
{
    if (remember_unknown(vcpu->vm, msr)) {
        log_info("vm %s: vcpu %u: %s of unknown MSR %x: #GP", vcpu->vm->name, vcpu->index, access,
                 msr);
    }
    return ERR_GP;
}

int msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    const struct rule *rule = find_rule(msr);
    return rule ? rule->read(vcpu, msr, value) : unknown_msr(vcpu, msr, "read");
}

int msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    const struct rule *rule = find_rule(msr);
    if (!rule) {
        return unknown_msr(vcpu, msr, "write");
    }
    return value & ~rule->valid ? ERR_GP : rule->write(vcpu, msr, value);
}

void exit_rdmsr(struct vcpu *vcpu)
{
    uint64_t value;
    if (msr_read(vcpu, (uint32_t)vcpu->gpr[RCX], &value) != RIVET_OK) {
        event_raise_code(vcpu, EXCEPTION_GP, 0);
        return;
    }
    vcpu->gpr[RAX] = (uint32_t)value;
    vcpu->gpr[RDX] = value >> 32;
    event_instruction_done(vcpu);
}

void exit_wrmsr(struct vcpu *vcpu)
{
    uint64_t value = vcpu->gpr[RDX] << 32 | (uint32_t)vcpu->gpr[RAX];
    if (msr_write(vcpu, (uint32_t)vcpu->gpr[RCX], value) != RIVET_OK) {
        event_raise_code(vcpu, EXCEPTION_GP, 0);
        return;
    }
    event_instruction_done(vcpu);
}
