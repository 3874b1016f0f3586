/* SPDX-License-Identifier: MIT */
/*
 * MSRs of guests: which of the optional ones there are, which a guest reaches without an exit, and those
 * that live in the CPU while a vCPU is loaded.
 */
#include "vmx/msr.h"

#include "arch/cpuid.h"
#include "arch/memory.h"
#include "arch/msr.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/string.h"
#include "vmx/cpuid.h"
#include "vmx/msr_bitmap.h"
#include "vmx/msr_offered.h"

/* IA32_ARCH_CAPABILITIES bits that hold for guests too: immunities, without the MSRs behind the others. */
#define ARCH_CAPABILITIES_OFFERED                                                                \
    (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | \
     BIT(15) | BIT(17) | BIT(19) | BIT(20) | BIT(24) | BIT(26) | BIT(27))

#define MISC_ENABLE_RESET \
    (MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAILABLE)

#define SPEC_CTRL_IBRS  BIT(0)
#define SPEC_CTRL_STIBP BIT(1)
#define SPEC_CTRL_SSBD  BIT(2)

/* CPUID.(07H,0):EDX bits that announce MSRs. */
#define CPUID_7_EDX_IBRS_IBPB         BIT32(26)
#define CPUID_7_EDX_STIBP             BIT32(27)
#define CPUID_7_EDX_L1D_FLUSH         BIT32(28)
#define CPUID_7_EDX_ARCH_CAPABILITIES BIT32(29)
#define CPUID_7_EDX_SSBD              BIT32(31)
#define CPUID_7_ECX_RDPID             BIT32(22)
#define CPUID_D_1_EAX_XSAVES          BIT32(3)

struct msr_offered msr_offered;

static void decide_spec_ctrl(uint32_t leaf7_edx)
{
    msr_offered.spec_ctrl = 0;
    if (leaf7_edx & CPUID_7_EDX_IBRS_IBPB) {
        msr_offered.spec_ctrl |= SPEC_CTRL_IBRS;
    }
    if (leaf7_edx & CPUID_7_EDX_STIBP) {
        msr_offered.spec_ctrl |= SPEC_CTRL_STIBP;
    }
    if (leaf7_edx & CPUID_7_EDX_SSBD) {
        msr_offered.spec_ctrl |= SPEC_CTRL_SSBD;
    }
}

void msr_enable_cpu(void)
{
    struct cpuid_guest nobody = { .vcpu_count = 1 };
    struct cpuid leaf7 = cpuid_for_guest(&nobody, 7, 0);

    decide_spec_ctrl(leaf7.edx);
    msr_offered.prediction_command = leaf7.edx & CPUID_7_EDX_IBRS_IBPB;
    msr_offered.flush_command = leaf7.edx & CPUID_7_EDX_L1D_FLUSH;
    msr_offered.arch_capabilities = leaf7.edx & CPUID_7_EDX_ARCH_CAPABILITIES;
    if (msr_offered.arch_capabilities) {
        msr_offered.arch_capabilities_value =
            rdmsr(IA32_ARCH_CAPABILITIES) & ARCH_CAPABILITIES_OFFERED;
    }
    msr_offered.tsc_aux =
        (cpuid_for_guest(&nobody, 0x80000001, 0).edx & CPUID_80000001_EDX_RDTSCP) ||
        (leaf7.ecx & CPUID_7_ECX_RDPID);
    msr_offered.xss = cpuid_for_guest(&nobody, 0x0D, 1).eax & CPUID_D_1_EAX_XSAVES;
    if (rdmsr_safe(IA32_BIOS_SIGN_ID, &msr_offered.microcode) != RIVET_OK) {
        msr_offered.microcode = 0;
    }
}

void msr_reset(struct msr_state *msrs)
{
    *msrs = (struct msr_state){ .misc_enable = MISC_ENABLE_RESET };
    mtrr_reset(&msrs->mtrr, cpuid_physical_address_bits());
}

struct msr_state *msr_create(void)
{
    struct msr_state *msrs = memory_alloc_page();
    if (msrs) {
        msr_reset(msrs);
    }
    return msrs;
}

void msr_bitmap_init(uint8_t *bitmap)
{
    static const uint32_t direct[] = {
        IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP, IA32_STAR,    IA32_LSTAR,
        IA32_CSTAR,       IA32_FMASK,        IA32_FS_BASE,      IA32_GS_BASE, IA32_KERNEL_GS_BASE,
    };
    memset(bitmap, 0xFF, MSR_BITMAP_SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(direct); i++) {
        msr_bitmap_set(bitmap, direct[i], false, false);
    }
    if (msr_offered.tsc_aux) {
        msr_bitmap_set(bitmap, IA32_TSC_AUX, false, false);
    }
    if (msr_offered.spec_ctrl) {
        msr_bitmap_set(bitmap, IA32_SPEC_CTRL, false, false);
    }
    if (msr_offered.prediction_command) {
        msr_bitmap_set(bitmap, IA32_PRED_CMD, true, false);
    }
    if (msr_offered.flush_command) {
        msr_bitmap_set(bitmap, IA32_FLUSH_CMD, true, false);
    }
}

void msr_load(struct msr_state *msrs)
{
    wrmsr(IA32_STAR, msrs->star);
    wrmsr(IA32_LSTAR, msrs->lstar);
    wrmsr(IA32_CSTAR, msrs->cstar);
    wrmsr(IA32_FMASK, msrs->fmask);
    wrmsr(IA32_KERNEL_GS_BASE, msrs->kernel_gs_base);
    if (msr_offered.tsc_aux) {
        wrmsr(IA32_TSC_AUX, msrs->tsc_aux);
    }
    if (msr_offered.spec_ctrl) {
        wrmsr(IA32_SPEC_CTRL, msrs->spec_ctrl);
    }
}

void msr_save(struct msr_state *msrs)
{
    msrs->star = rdmsr(IA32_STAR);
    msrs->lstar = rdmsr(IA32_LSTAR);
    msrs->cstar = rdmsr(IA32_CSTAR);
    msrs->fmask = rdmsr(IA32_FMASK);
    msrs->kernel_gs_base = rdmsr(IA32_KERNEL_GS_BASE);
    if (msr_offered.tsc_aux) {
        msrs->tsc_aux = rdmsr(IA32_TSC_AUX);
    }
    if (msr_offered.spec_ctrl) {
        msrs->spec_ctrl = rdmsr(IA32_SPEC_CTRL);
    }
}
