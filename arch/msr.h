/* SPDX-License-Identifier: MIT */
/* Model-specific registers: numbers and bits by their SDM names (SDM volume 4), and access to them. */
#pragma once

#include <stdint.h>

#include "arch/fixup.h"
#include "lib/bits.h"
#include "lib/error.h"

enum msr {
    IA32_P5_MC_ADDR = 0x00000000,
    IA32_P5_MC_TYPE = 0x00000001,
    IA32_MONITOR_FILTER_SIZE = 0x00000006,
    IA32_TIME_STAMP_COUNTER = 0x00000010,
    IA32_PLATFORM_ID = 0x00000017,
    IA32_APIC_BASE = 0x0000001B,
    MSR_EBL_CR_POWERON = 0x0000002A,
    MSR_SMI_COUNT = 0x00000034,
    IA32_FEATURE_CONTROL = 0x0000003A,
    IA32_TSC_ADJUST = 0x0000003B,
    IA32_SPEC_CTRL = 0x00000048,
    IA32_PRED_CMD = 0x00000049,
    IA32_BIOS_UPDT_TRIG = 0x00000079,
    IA32_BIOS_SIGN_ID = 0x0000008B,
    IA32_SMM_MONITOR_CTL = 0x0000009B,
    IA32_SMBASE = 0x0000009E,
    IA32_PMC0 = 0x000000C1,
    MSR_PLATFORM_INFO = 0x000000CE,
    IA32_CORE_CAPABILITIES = 0x000000CF,
    IA32_UMWAIT_CONTROL = 0x000000E1,
    IA32_MPERF = 0x000000E7,
    IA32_APERF = 0x000000E8,
    IA32_MTRRCAP = 0x000000FE,
    IA32_ARCH_CAPABILITIES = 0x0000010A,
    IA32_FLUSH_CMD = 0x0000010B,
    IA32_TSX_CTRL = 0x00000122,
    MSR_MISC_FEATURES_ENABLES = 0x00000140,
    IA32_SYSENTER_CS = 0x00000174,
    IA32_SYSENTER_ESP = 0x00000175,
    IA32_SYSENTER_EIP = 0x00000176,
    IA32_MCG_CAP = 0x00000179,
    IA32_MCG_STATUS = 0x0000017A,
    IA32_MCG_CTL = 0x0000017B,
    IA32_PERFEVTSEL0 = 0x00000186,
    IA32_PERF_STATUS = 0x00000198,
    IA32_PERF_CTL = 0x00000199,
    IA32_CLOCK_MODULATION = 0x0000019A,
    IA32_THERM_INTERRUPT = 0x0000019B,
    IA32_THERM_STATUS = 0x0000019C,
    IA32_MISC_ENABLE = 0x000001A0,
    IA32_ENERGY_PERF_BIAS = 0x000001B0,
    IA32_PACKAGE_THERM_STATUS = 0x000001B1,
    IA32_PACKAGE_THERM_INTERRUPT = 0x000001B2,
    IA32_XFD = 0x000001C4,
    IA32_XFD_ERR = 0x000001C5,
    IA32_DEBUGCTL = 0x000001D9,
    MSR_LASTBRANCHFROMIP = 0x000001DB,
    MSR_LASTBRANCHTOIP = 0x000001DC,
    MSR_LASTINTFROMIP = 0x000001DD,
    MSR_LASTINTTOIP = 0x000001DE,
    IA32_SMRR_PHYSBASE = 0x000001F2,
    IA32_SMRR_PHYSMASK = 0x000001F3,
    IA32_MTRR_PHYSBASE0 = 0x00000200,
    IA32_MTRR_PHYSMASK0 = 0x00000201,
    IA32_MTRR_FIX64K_00000 = 0x00000250,
    IA32_MTRR_FIX16K_80000 = 0x00000258,
    IA32_MTRR_FIX16K_A0000 = 0x00000259,
    IA32_MTRR_FIX4K_C0000 = 0x00000268,
    IA32_MTRR_FIX4K_F8000 = 0x0000026F,
    IA32_PAT = 0x00000277,
    IA32_MC0_CTL2 = 0x00000280,
    IA32_MTRR_DEF_TYPE = 0x000002FF,
    IA32_FIXED_CTR0 = 0x00000309,
    IA32_PERF_CAPABILITIES = 0x00000345,
    IA32_FIXED_CTR_CTRL = 0x0000038D,
    IA32_PERF_GLOBAL_STATUS = 0x0000038E,
    IA32_PERF_GLOBAL_CTRL = 0x0000038F,
    IA32_PERF_GLOBAL_OVF_CTRL = 0x00000390,
    IA32_PEBS_ENABLE = 0x000003F1,
    IA32_MC0_CTL = 0x00000400,
    IA32_MC0_STATUS = 0x00000401,
    IA32_MC0_ADDR = 0x00000402,
    IA32_MC0_MISC = 0x00000403,
    IA32_VMX_BASIC = 0x00000480,
    IA32_VMX_PINBASED_CTLS = 0x00000481,
    IA32_VMX_PROCBASED_CTLS = 0x00000482,
    IA32_VMX_EXIT_CTLS = 0x00000483,
    IA32_VMX_ENTRY_CTLS = 0x00000484,
    IA32_VMX_MISC = 0x00000485,
    IA32_VMX_CR0_FIXED0 = 0x00000486,
    IA32_VMX_CR0_FIXED1 = 0x00000487,
    IA32_VMX_CR4_FIXED0 = 0x00000488,
    IA32_VMX_CR4_FIXED1 = 0x00000489,
    IA32_VMX_VMCS_ENUM = 0x0000048A,
    IA32_VMX_PROCBASED_CTLS2 = 0x0000048B,
    IA32_VMX_EPT_VPID_CAP = 0x0000048C,
    IA32_VMX_TRUE_PINBASED_CTLS = 0x0000048D,
    IA32_VMX_TRUE_PROCBASED_CTLS = 0x0000048E,
    IA32_VMX_TRUE_EXIT_CTLS = 0x0000048F,
    IA32_VMX_TRUE_ENTRY_CTLS = 0x00000490,
    IA32_VMX_VMFUNC = 0x00000491,
    IA32_VMX_PROCBASED_CTLS3 = 0x00000492,
    IA32_VMX_EXIT_CTLS2 = 0x00000493,
    IA32_A_PMC0 = 0x000004C1,
    IA32_MCG_EXT_CTL = 0x000004D0,
    IA32_RTIT_CTL = 0x00000570,
    MSR_RAPL_POWER_UNIT = 0x00000606,
    MSR_PKG_ENERGY_STATUS = 0x00000611,
    IA32_U_CET = 0x000006A0,
    IA32_S_CET = 0x000006A2,
    IA32_PL0_SSP = 0x000006A4,
    IA32_PL3_SSP = 0x000006A7,
    IA32_INTERRUPT_SSP_TABLE_ADDR = 0x000006A8,
    IA32_TSC_DEADLINE = 0x000006E0,
    IA32_PKRS = 0x000006E1,
    IA32_PM_ENABLE = 0x00000770,
    IA32_HWP_CAPABILITIES = 0x00000771,
    IA32_HWP_REQUEST = 0x00000774,
    IA32_X2APIC_APICID = 0x00000802, /* the x2APIC registers: 0x800 + xAPIC offset / 16 */
    IA32_X2APIC_VERSION = 0x00000803,
    IA32_X2APIC_TPR = 0x00000808,
    IA32_X2APIC_PPR = 0x0000080A,
    IA32_X2APIC_EOI = 0x0000080B,
    IA32_X2APIC_LDR = 0x0000080D,
    IA32_X2APIC_SIVR = 0x0000080F,
    IA32_X2APIC_ISR0 = 0x00000810,
    IA32_X2APIC_TMR0 = 0x00000818,
    IA32_X2APIC_IRR0 = 0x00000820,
    IA32_X2APIC_ESR = 0x00000828,
    IA32_X2APIC_LVT_CMCI = 0x0000082F,
    IA32_X2APIC_ICR = 0x00000830,
    IA32_X2APIC_LVT_TIMER = 0x00000832,
    IA32_X2APIC_LVT_THERMAL = 0x00000833,
    IA32_X2APIC_LVT_PMI = 0x00000834,
    IA32_X2APIC_LVT_LINT0 = 0x00000835,
    IA32_X2APIC_LVT_LINT1 = 0x00000836,
    IA32_X2APIC_LVT_ERROR = 0x00000837,
    IA32_X2APIC_INIT_COUNT = 0x00000838,
    IA32_X2APIC_CUR_COUNT = 0x00000839,
    IA32_X2APIC_DIV_CONF = 0x0000083E,
    IA32_X2APIC_SELF_IPI = 0x0000083F,
    IA32_XSS = 0x00000DA0,
    IA32_EFER = 0xC0000080,
    IA32_STAR = 0xC0000081,
    IA32_LSTAR = 0xC0000082,
    IA32_CSTAR = 0xC0000083,
    IA32_FMASK = 0xC0000084,
    IA32_FS_BASE = 0xC0000100,
    IA32_GS_BASE = 0xC0000101,
    IA32_KERNEL_GS_BASE = 0xC0000102,
    IA32_TSC_AUX = 0xC0000103,
};

/* IA32_APIC_BASE */
#define APIC_BASE_BSP     BIT(8)
#define APIC_BASE_EXTD    BIT(10) /* x2APIC mode */
#define APIC_BASE_EN      BIT(11)
#define APIC_BASE_ADDRESS 0x000FFFFFFFFFF000ULL

/* IA32_FEATURE_CONTROL */
#define FEATURE_CONTROL_LOCK            BIT(0)
#define FEATURE_CONTROL_VMX_INSIDE_SMX  BIT(1)
#define FEATURE_CONTROL_VMX_OUTSIDE_SMX BIT(2)

/* IA32_MISC_ENABLE */
#define MISC_ENABLE_FAST_STRINGS     BIT(0)
#define MISC_ENABLE_TCC              BIT(3)
#define MISC_ENABLE_BTS_UNAVAILABLE  BIT(11)
#define MISC_ENABLE_PEBS_UNAVAILABLE BIT(12)
#define MISC_ENABLE_EIST             BIT(16)
#define MISC_ENABLE_MWAIT            BIT(18)
#define MISC_ENABLE_LIMIT_CPUID      BIT(22)
#define MISC_ENABLE_XTPR_DISABLE     BIT(23)
#define MISC_ENABLE_XD_DISABLE       BIT(34)

/* IA32_DEBUGCTL */
#define DEBUGCTL_LBR              BIT(0)
#define DEBUGCTL_BTF              BIT(1)
#define DEBUGCTL_FREEZE_WHILE_SMM BIT(14)

/* IA32_MTRRCAP, IA32_MTRR_DEF_TYPE */
#define MTRRCAP_VCNT       0xFFULL
#define MTRRCAP_FIX        BIT(8)
#define MTRRCAP_WC         BIT(10)
#define MTRR_DEF_TYPE_TYPE 0xFFULL
#define MTRR_DEF_TYPE_FE   BIT(10)
#define MTRR_DEF_TYPE_E    BIT(11)

/* Memory types, as in MTRRs, IA32_PAT, EPT entries and IA32_VMX_BASIC. */
enum memory_type {
    MEMORY_TYPE_UC = 0,
    MEMORY_TYPE_WC = 1,
    MEMORY_TYPE_WT = 4,
    MEMORY_TYPE_WP = 5,
    MEMORY_TYPE_WB = 6,
    MEMORY_TYPE_UC_MINUS = 7, /* IA32_PAT only */
};

/* Value of IA32_PAT after reset: WB, WT, UC-, UC, and the same again. */
#define PAT_RESET 0x0007040600070406ULL

/* IA32_EFER */
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* The MSR must exist (an exception panics). Any CPU, any context. */
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

/* The MSR must exist and accept value (an exception panics). Any CPU, any context. */
static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

/*
 * Read an MSR that may not exist: 0 and its value, or ERR_GP with *value unchanged. Any CPU with the
 * IDT loaded, any context but NMI.
 */
static inline int rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t low = 0;
    uint32_t high = 0;
    int error = ERR_GP;
    __asm__ volatile("1: rdmsr\n\t"
                     "xorl %2, %2\n"
                     "2:\n" EXCEPTION_FIXUP("1b", "2b")
                     : "+a"(low), "+d"(high), "+r"(error)
                     : "c"(msr)
                     : "memory", "cc");
    if (error == RIVET_OK) {
        *value = (uint64_t)high << 32 | low;
    }
    return error;
}

/* Write an MSR that may not exist or may refuse the value: 0 or ERR_GP. As rdmsr_safe otherwise. */
static inline int wrmsr_safe(uint32_t msr, uint64_t value)
{
    int error = ERR_GP;
    __asm__ volatile("1: wrmsr\n\t"
                     "xorl %0, %0\n"
                     "2:\n" EXCEPTION_FIXUP("1b", "2b")
                     : "+r"(error)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory", "cc");
    return error;
}
