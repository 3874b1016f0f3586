/* SPDX-License-Identifier: MIT */
/* CPUID leaves and feature bits of the host (SDM volume 2, "CPUID"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/bits.h"

struct cpuid {
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
};

/* CPUID.01H:ECX */
#define CPUID_1_ECX_SSE3         BIT32(0)
#define CPUID_1_ECX_PCLMULQDQ    BIT32(1)
#define CPUID_1_ECX_DTES64       BIT32(2)
#define CPUID_1_ECX_MONITOR      BIT32(3)
#define CPUID_1_ECX_DS_CPL       BIT32(4)
#define CPUID_1_ECX_VMX          BIT32(5)
#define CPUID_1_ECX_SMX          BIT32(6)
#define CPUID_1_ECX_EIST         BIT32(7)
#define CPUID_1_ECX_TM2          BIT32(8)
#define CPUID_1_ECX_SSSE3        BIT32(9)
#define CPUID_1_ECX_CNXT_ID      BIT32(10)
#define CPUID_1_ECX_SDBG         BIT32(11)
#define CPUID_1_ECX_FMA          BIT32(12)
#define CPUID_1_ECX_CMPXCHG16B   BIT32(13)
#define CPUID_1_ECX_XTPR         BIT32(14)
#define CPUID_1_ECX_PDCM         BIT32(15)
#define CPUID_1_ECX_PCID         BIT32(17)
#define CPUID_1_ECX_DCA          BIT32(18)
#define CPUID_1_ECX_SSE4_1       BIT32(19)
#define CPUID_1_ECX_SSE4_2       BIT32(20)
#define CPUID_1_ECX_X2APIC       BIT32(21)
#define CPUID_1_ECX_MOVBE        BIT32(22)
#define CPUID_1_ECX_POPCNT       BIT32(23)
#define CPUID_1_ECX_TSC_DEADLINE BIT32(24)
#define CPUID_1_ECX_AESNI        BIT32(25)
#define CPUID_1_ECX_XSAVE        BIT32(26)
#define CPUID_1_ECX_OSXSAVE      BIT32(27)
#define CPUID_1_ECX_AVX          BIT32(28)
#define CPUID_1_ECX_F16C         BIT32(29)
#define CPUID_1_ECX_RDRAND       BIT32(30)
#define CPUID_1_ECX_HYPERVISOR   BIT32(31) /* not defined by the SDM; set by every hypervisor */

/* CPUID.01H:EDX */
#define CPUID_1_EDX_FPU   BIT32(0)
#define CPUID_1_EDX_VME   BIT32(1)
#define CPUID_1_EDX_DE    BIT32(2)
#define CPUID_1_EDX_PSE   BIT32(3)
#define CPUID_1_EDX_TSC   BIT32(4)
#define CPUID_1_EDX_MSR   BIT32(5)
#define CPUID_1_EDX_PAE   BIT32(6)
#define CPUID_1_EDX_MCE   BIT32(7)
#define CPUID_1_EDX_CX8   BIT32(8)
#define CPUID_1_EDX_APIC  BIT32(9)
#define CPUID_1_EDX_SEP   BIT32(11)
#define CPUID_1_EDX_MTRR  BIT32(12)
#define CPUID_1_EDX_PGE   BIT32(13)
#define CPUID_1_EDX_MCA   BIT32(14)
#define CPUID_1_EDX_CMOV  BIT32(15)
#define CPUID_1_EDX_PAT   BIT32(16)
#define CPUID_1_EDX_PSE36 BIT32(17)
#define CPUID_1_EDX_PSN   BIT32(18)
#define CPUID_1_EDX_CLFSH BIT32(19)
#define CPUID_1_EDX_DS    BIT32(21)
#define CPUID_1_EDX_ACPI  BIT32(22)
#define CPUID_1_EDX_MMX   BIT32(23)
#define CPUID_1_EDX_FXSR  BIT32(24)
#define CPUID_1_EDX_SSE   BIT32(25)
#define CPUID_1_EDX_SSE2  BIT32(26)
#define CPUID_1_EDX_SS    BIT32(27)
#define CPUID_1_EDX_HTT   BIT32(28)
#define CPUID_1_EDX_TM    BIT32(29)
#define CPUID_1_EDX_PBE   BIT32(31)

/* CPUID.80000001H:EDX */
#define CPUID_80000001_EDX_SYSCALL BIT32(11)
#define CPUID_80000001_EDX_NX      BIT32(20)
#define CPUID_80000001_EDX_PAGE1GB BIT32(26)
#define CPUID_80000001_EDX_RDTSCP  BIT32(27)
#define CPUID_80000001_EDX_LM      BIT32(29)

/* CPUID.80000007H:EDX */
#define CPUID_80000007_EDX_INVARIANT_TSC BIT32(8)

/* Execute CPUID. Any CPU, any context. */
static inline struct cpuid cpuid_read(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

/* Whether the leaf exists, by the maximum that its range (basic or extended) reports. */
static inline bool cpuid_has_leaf(uint32_t leaf)
{
    uint32_t maximum = cpuid_read(leaf & 0x80000000U, 0).eax;
    return maximum >= leaf && (maximum & 0x80000000U) == (leaf & 0x80000000U);
}
