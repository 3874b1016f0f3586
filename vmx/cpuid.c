/* SPDX-License-Identifier: MIT */
/* CPUID policy: the host's answers through a table of masks (SDM volume 2, "CPUID"). Pure logic. */

#include "vmx/cpuid.h"

#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/bits.h"

enum {
    MAX_BASIC_LEAF = 0x16, /* 1FH where the host has it */
    TOPOLOGY_V2_LEAF = 0x1F,
    HYPERVISOR_LEAF = 0x40000000,
    KVM_FEATURES_LEAF = 0x40000001,
    KVM_FEATURE_PV_EOI = 1 << 6,
    MAX_HYPERVISOR_LEAF = KVM_FEATURES_LEAF,
    RIVET_LEAF = 0x40000100, /* where those look who search signatures in steps of 100H */
    RIVET_FEATURES_LEAF = 0x40000101,
    RIVET_FEATURE_VAPIC = 1 << 0,
    MAX_RIVET_LEAF = RIVET_FEATURES_LEAF,
    MAX_EXTENDED_LEAF = (int)0x80000008,
    ANY_SUBLEAF = -1,
};

enum { TOPOLOGY_SMT = 1, TOPOLOGY_CORE = 2 };

#define ALL 0xFFFFFFFFU

/* CPUID.06H:EAX */
#define CPUID_6_EAX_ARAT BIT32(2)

/* CPUID.(07H,0):EBX */
#define CPUID_7_EBX_FSGSBASE        BIT32(0)
#define CPUID_7_EBX_TSC_ADJUST      BIT32(1)
#define CPUID_7_EBX_BMI1            BIT32(3)
#define CPUID_7_EBX_AVX2            BIT32(5)
#define CPUID_7_EBX_FDP_EXCPTN_ONLY BIT32(6)
#define CPUID_7_EBX_SMEP            BIT32(7)
#define CPUID_7_EBX_BMI2            BIT32(8)
#define CPUID_7_EBX_ERMS            BIT32(9)
#define CPUID_7_EBX_INVPCID         BIT32(10)
#define CPUID_7_EBX_NO_FPU_SEGMENTS BIT32(13)
#define CPUID_7_EBX_AVX512F         BIT32(16)
#define CPUID_7_EBX_AVX512DQ        BIT32(17)
#define CPUID_7_EBX_RDSEED          BIT32(18)
#define CPUID_7_EBX_ADX             BIT32(19)
#define CPUID_7_EBX_SMAP            BIT32(20)
#define CPUID_7_EBX_AVX512_IFMA     BIT32(21)
#define CPUID_7_EBX_CLFLUSHOPT      BIT32(23)
#define CPUID_7_EBX_CLWB            BIT32(24)
#define CPUID_7_EBX_AVX512PF        BIT32(26)
#define CPUID_7_EBX_AVX512ER        BIT32(27)
#define CPUID_7_EBX_AVX512CD        BIT32(28)
#define CPUID_7_EBX_SHA             BIT32(29)
#define CPUID_7_EBX_AVX512BW        BIT32(30)
#define CPUID_7_EBX_AVX512VL        BIT32(31)
#define CPUID_7_EBX_AVX512                                                                         \
    (CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_AVX512_IFMA | CPUID_7_EBX_AVX512PF | \
     CPUID_7_EBX_AVX512ER | CPUID_7_EBX_AVX512CD | CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL)

/* CPUID.(07H,0):ECX */
#define CPUID_7_ECX_PREFETCHWT1      BIT32(0)
#define CPUID_7_ECX_AVX512_VBMI      BIT32(1)
#define CPUID_7_ECX_UMIP             BIT32(2)
#define CPUID_7_ECX_PKU              BIT32(3)
#define CPUID_7_ECX_OSPKE            BIT32(4)
#define CPUID_7_ECX_AVX512_VBMI2     BIT32(6)
#define CPUID_7_ECX_GFNI             BIT32(8)
#define CPUID_7_ECX_VAES             BIT32(9)
#define CPUID_7_ECX_VPCLMULQDQ       BIT32(10)
#define CPUID_7_ECX_AVX512_VNNI      BIT32(11)
#define CPUID_7_ECX_AVX512_BITALG    BIT32(12)
#define CPUID_7_ECX_AVX512_VPOPCNTDQ BIT32(14)
#define CPUID_7_ECX_LA57             BIT32(16)
#define CPUID_7_ECX_RDPID            BIT32(22)
#define CPUID_7_ECX_CLDEMOTE         BIT32(25)
#define CPUID_7_ECX_MOVDIRI          BIT32(27)
#define CPUID_7_ECX_MOVDIR64B        BIT32(28)
#define CPUID_7_ECX_AVX512                                                          \
    (CPUID_7_ECX_AVX512_VBMI | CPUID_7_ECX_AVX512_VBMI2 | CPUID_7_ECX_AVX512_VNNI | \
     CPUID_7_ECX_AVX512_BITALG | CPUID_7_ECX_AVX512_VPOPCNTDQ)

/* CPUID.(07H,0):EDX */
#define CPUID_7_EDX_AVX512_4VNNIW       BIT32(2)
#define CPUID_7_EDX_AVX512_4FMAPS       BIT32(3)
#define CPUID_7_EDX_FSRM                BIT32(4)
#define CPUID_7_EDX_AVX512_VP2INTERSECT BIT32(8)
#define CPUID_7_EDX_MD_CLEAR            BIT32(10)
#define CPUID_7_EDX_SERIALIZE           BIT32(14)
#define CPUID_7_EDX_AVX512_FP16         BIT32(23)
#define CPUID_7_EDX_IBRS_IBPB           BIT32(26)
#define CPUID_7_EDX_STIBP               BIT32(27)
#define CPUID_7_EDX_L1D_FLUSH           BIT32(28)
#define CPUID_7_EDX_ARCH_CAPABILITIES   BIT32(29)
#define CPUID_7_EDX_SSBD                BIT32(31)
#define CPUID_7_EDX_AVX512                                                                     \
    (CPUID_7_EDX_AVX512_4VNNIW | CPUID_7_EDX_AVX512_4FMAPS | CPUID_7_EDX_AVX512_VP2INTERSECT | \
     CPUID_7_EDX_AVX512_FP16)

/* CPUID.(07H,1):EAX */
#define CPUID_7_1_EAX_AVX_VNNI    BIT32(4)
#define CPUID_7_1_EAX_AVX512_BF16 BIT32(5)
#define CPUID_7_1_EAX_FZRM        BIT32(10)
#define CPUID_7_1_EAX_FSRS        BIT32(11)
#define CPUID_7_1_EAX_FSRC        BIT32(12)

/* CPUID.(0DH,1):EAX */
#define CPUID_D_1_EAX_XSAVEOPT BIT32(0)
#define CPUID_D_1_EAX_XSAVEC   BIT32(1)
#define CPUID_D_1_EAX_XGETBV_1 BIT32(2)
#define CPUID_D_1_EAX_XSAVES   BIT32(3)

/* CPUID.80000001H:ECX */
#define CPUID_80000001_ECX_LAHF      BIT32(0)
#define CPUID_80000001_ECX_LZCNT     BIT32(5)
#define CPUID_80000001_ECX_PREFETCHW BIT32(8)

static struct cpuid_machine machine;
static uint32_t max_basic_leaf;
static unsigned physical_address_bits;
static bool pages_1g;

/*
 * What passes of the host's answer, and what is set whatever the host says. A leaf that is not here
 * reads zero unless computed[] below has it. Hidden because nothing virtualizes it: MONITOR, VMX, SMX,
 * DS and debug store, EIST, thermal and power management (06H, TM, ACPI), PDCM and the PMU (0AH), TSX,
 * SGX (12H), MPX, cache and memory QoS (0FH, 10H), PT (14H), WAITPKG, UINTR, CET, PKS, AMX, key locker,
 * LAM, HRESET, architectural LBR (1CH).
 */
static const struct {
    uint32_t leaf;
    int subleaf;
    struct cpuid pass, set;
} rules[] = {
    { 0x00, ANY_SUBLEAF, .pass = { 0, ALL, ALL, ALL } },
    {
        0x01,
        ANY_SUBLEAF,
        .pass = {
            .eax = ALL,
            .ebx = 0x0000FFFF, /* brand index, CLFLUSH line size */
            .ecx = CPUID_1_ECX_SSE3 | CPUID_1_ECX_PCLMULQDQ | CPUID_1_ECX_SSSE3 | CPUID_1_ECX_FMA |
                   CPUID_1_ECX_CMPXCHG16B | CPUID_1_ECX_PCID | CPUID_1_ECX_SSE4_1 |
                   CPUID_1_ECX_SSE4_2 | CPUID_1_ECX_MOVBE | CPUID_1_ECX_POPCNT |
                   CPUID_1_ECX_AESNI | CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_F16C |
                   CPUID_1_ECX_RDRAND,
            .edx = CPUID_1_EDX_FPU | CPUID_1_EDX_VME | CPUID_1_EDX_DE | CPUID_1_EDX_PSE |
                   CPUID_1_EDX_TSC | CPUID_1_EDX_MSR | CPUID_1_EDX_PAE | CPUID_1_EDX_MCE |
                   CPUID_1_EDX_CX8 | CPUID_1_EDX_SEP | CPUID_1_EDX_MTRR | CPUID_1_EDX_PGE |
                   CPUID_1_EDX_MCA | CPUID_1_EDX_CMOV | CPUID_1_EDX_PAT | CPUID_1_EDX_PSE36 |
                   CPUID_1_EDX_CLFSH | CPUID_1_EDX_MMX | CPUID_1_EDX_FXSR | CPUID_1_EDX_SSE |
                   CPUID_1_EDX_SSE2 | CPUID_1_EDX_SS,
        },
        .set = { .ecx = CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE | CPUID_1_ECX_HYPERVISOR },
    },
    { 0x02, ANY_SUBLEAF, .pass = { ALL, ALL, ALL, ALL } },
    { 0x04, ANY_SUBLEAF, .pass = { 0x00003FFF, ALL, ALL, ALL } },
    { 0x06, ANY_SUBLEAF, .set = { .eax = CPUID_6_EAX_ARAT } },
    {
        0x07,
        0,
        .pass = {
            .ebx = CPUID_7_EBX_FSGSBASE | CPUID_7_EBX_BMI1 | CPUID_7_EBX_AVX2 |
                   CPUID_7_EBX_FDP_EXCPTN_ONLY | CPUID_7_EBX_SMEP | CPUID_7_EBX_BMI2 |
                   CPUID_7_EBX_ERMS | CPUID_7_EBX_INVPCID | CPUID_7_EBX_NO_FPU_SEGMENTS |
                   CPUID_7_EBX_AVX512 | CPUID_7_EBX_RDSEED | CPUID_7_EBX_ADX | CPUID_7_EBX_SMAP |
                   CPUID_7_EBX_CLFLUSHOPT | CPUID_7_EBX_CLWB | CPUID_7_EBX_SHA,
            .ecx = CPUID_7_ECX_PREFETCHWT1 | CPUID_7_ECX_AVX512 | CPUID_7_ECX_UMIP |
                   CPUID_7_ECX_PKU | CPUID_7_ECX_GFNI | CPUID_7_ECX_VAES |
                   CPUID_7_ECX_VPCLMULQDQ | CPUID_7_ECX_LA57 | CPUID_7_ECX_RDPID |
                   CPUID_7_ECX_CLDEMOTE | CPUID_7_ECX_MOVDIRI | CPUID_7_ECX_MOVDIR64B,
            .edx = CPUID_7_EDX_AVX512 | CPUID_7_EDX_FSRM | CPUID_7_EDX_MD_CLEAR |
                   CPUID_7_EDX_SERIALIZE | CPUID_7_EDX_IBRS_IBPB | CPUID_7_EDX_STIBP |
                   CPUID_7_EDX_L1D_FLUSH | CPUID_7_EDX_ARCH_CAPABILITIES | CPUID_7_EDX_SSBD,
        },
        .set = { .ebx = CPUID_7_EBX_TSC_ADJUST },
    },
    {
        0x07,
        1,
        .pass = { .eax = CPUID_7_1_EAX_AVX_VNNI | CPUID_7_1_EAX_AVX512_BF16 |
                         CPUID_7_1_EAX_FZRM | CPUID_7_1_EAX_FSRS | CPUID_7_1_EAX_FSRC },
    },
    {
        0x0D,
        1,
        .pass = { .eax = CPUID_D_1_EAX_XSAVEOPT | CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XGETBV_1 |
                         CPUID_D_1_EAX_XSAVES },
    },
    /* EBX, ECX, EDX: "KVMKVMKVM"; Linux then takes x2APIC without interrupt remapping. */
    { HYPERVISOR_LEAF, ANY_SUBLEAF,
      .set = { MAX_HYPERVISOR_LEAF, 0x4B4D564B, 0x564B4D56, 0x0000004D } },
    /* PV EOI only: the clocksource stays the TSC. */
    { KVM_FEATURES_LEAF, ANY_SUBLEAF, .set = { .eax = KVM_FEATURE_PV_EOI } },
    /* EBX, ECX, EDX: "RivetRivet". */
    { RIVET_LEAF, ANY_SUBLEAF, .set = { MAX_RIVET_LEAF, 0x65766952, 0x76695274, 0x00007465 } },
    { RIVET_FEATURES_LEAF, ANY_SUBLEAF, .set = { .eax = RIVET_FEATURE_VAPIC } },
    { 0x80000000, ANY_SUBLEAF, .set = { (uint32_t)MAX_EXTENDED_LEAF, 0, 0, 0 } },
    {
        0x80000001,
        ANY_SUBLEAF,
        .pass = {
            .ecx = CPUID_80000001_ECX_LAHF | CPUID_80000001_ECX_LZCNT |
                   CPUID_80000001_ECX_PREFETCHW,
            .edx = CPUID_80000001_EDX_SYSCALL | CPUID_80000001_EDX_NX |
                   CPUID_80000001_EDX_PAGE1GB | CPUID_80000001_EDX_RDTSCP |
                   CPUID_80000001_EDX_LM,
        },
    },
    { 0x80000002, ANY_SUBLEAF, .pass = { ALL, ALL, ALL, ALL } },
    { 0x80000003, ANY_SUBLEAF, .pass = { ALL, ALL, ALL, ALL } },
    { 0x80000004, ANY_SUBLEAF, .pass = { ALL, ALL, ALL, ALL } },
    { 0x80000006, ANY_SUBLEAF, .pass = { 0, 0, ALL, 0 } },
    { 0x80000007, ANY_SUBLEAF, .set = { .edx = CPUID_80000007_EDX_INVARIANT_TSC } },
    { 0x80000008, ANY_SUBLEAF, .pass = { .eax = 0x0000FFFF } },
};

static unsigned bits_for(unsigned count)
{
    return count <= 1 ? 0 : 32 - (unsigned)__builtin_clz(count - 1);
}

static void feature_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    (void)subleaf;
    answer->ebx |= guest->vcpu_index << 24;
    if (guest->vcpu_count > 1) {
        answer->ebx |= 1U << bits_for(guest->vcpu_count) << 16;
        answer->edx |= CPUID_1_EDX_HTT;
    }
    if (guest->apic_enabled) {
        answer->edx |= CPUID_1_EDX_APIC;
    }
    if (guest->no_x2apic) {
        answer->ecx &= ~CPUID_1_ECX_X2APIC;
    }
    if (guest->cr4 & CR4_OSXSAVE) {
        answer->ecx |= CPUID_1_ECX_OSXSAVE;
    }
}

/* Each vCPU is a core of one package: L1 and L2 are its own, L3 is everybody's. */
static void cache_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    uint32_t last_core = (1U << bits_for(guest->vcpu_count)) - 1;
    uint32_t level = answer->eax >> 5 & 7;
    (void)subleaf;

    if ((answer->eax & 0x1F) == 0) {
        return;
    }
    answer->eax |= last_core << 26;
    if (level >= 3) {
        answer->eax |= last_core << 14;
    }
}

static void structured_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    if (subleaf == 1) {
        if (!(machine.xcr0 & XCR0_ZMM_HI256)) {
            answer->eax &= ~CPUID_7_1_EAX_AVX512_BF16;
        }
        return;
    }
    if (subleaf != 0) {
        return;
    }
    answer->eax = 1;
    if (!(machine.xcr0 & XCR0_ZMM_HI256)) {
        answer->ebx &= ~CPUID_7_EBX_AVX512;
        answer->ecx &= ~CPUID_7_ECX_AVX512;
        answer->edx &= ~CPUID_7_EDX_AVX512;
    }
    if (!(machine.xcr0 & XCR0_PKRU)) {
        answer->ecx &= ~CPUID_7_ECX_PKU;
    }
    if ((guest->cr4 & CR4_PKE) && (answer->ecx & CPUID_7_ECX_PKU)) {
        answer->ecx |= CPUID_7_ECX_OSPKE;
    }
    if (machine.umip) {
        answer->ecx |= CPUID_7_ECX_UMIP;
    }
    if (!machine.invpcid) {
        answer->ebx &= ~CPUID_7_EBX_INVPCID;
    }
    if (!machine.rdtscp) {
        answer->ecx &= ~CPUID_7_ECX_RDPID;
    }
}

static void topology_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    *answer = (struct cpuid){ .ecx = subleaf & 0xFF, .edx = guest->vcpu_index };
    if (subleaf == 0) {
        answer->ebx = 1;
        answer->ecx |= TOPOLOGY_SMT << 8;
    } else if (subleaf == 1) {
        answer->eax = bits_for(guest->vcpu_count);
        answer->ebx = guest->vcpu_count;
        answer->ecx |= TOPOLOGY_CORE << 8;
    }
}

static void kvm_features_leaf(const struct cpuid_guest *guest, uint32_t subleaf,
                              struct cpuid *answer)
{
    (void)subleaf;
    if (guest->no_pv_eoi) {
        answer->eax &= ~(uint32_t)KVM_FEATURE_PV_EOI;
    }
}

/* Both are memory that software and the guest share, and hidden together. */
static void rivet_features_leaf(const struct cpuid_guest *guest, uint32_t subleaf,
                                struct cpuid *answer)
{
    (void)subleaf;
    if (guest->no_pv_eoi) {
        answer->eax &= ~(uint32_t)RIVET_FEATURE_VAPIC;
    }
}

/* Size of an XSAVE area, standard format, for these components; from the host's offsets. */
static uint32_t standard_size(uint64_t components)
{
    uint32_t size = 576;
    for (unsigned i = 2; i < 63; i++) {
        if (components & BIT(i)) {
            struct cpuid part = machine.read(0x0D, i);
            if (part.eax + part.ebx > size) {
                size = part.eax + part.ebx;
            }
        }
    }
    return size;
}

static uint32_t compacted_size(uint64_t components)
{
    uint32_t size = 576;
    for (unsigned i = 2; i < 63; i++) {
        if (components & BIT(i)) {
            struct cpuid part = machine.read(0x0D, i);
            if (part.ecx & 2) {
                size = (uint32_t)align_up(size, 64);
            }
            size += part.eax;
        }
    }
    return size;
}

static void xsave_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    if (subleaf == 0) {
        *answer = (struct cpuid){ (uint32_t)machine.xcr0, standard_size(guest->xcr0),
                                  standard_size(machine.xcr0), (uint32_t)(machine.xcr0 >> 32) };
    } else if (subleaf == 1) {
        if (!machine.xsaves) {
            answer->eax &= ~CPUID_D_1_EAX_XSAVES;
        }
        if (answer->eax & (CPUID_D_1_EAX_XSAVEC | CPUID_D_1_EAX_XSAVES)) {
            answer->ebx = compacted_size(guest->xcr0 | guest->xss);
        }
        answer->ecx = (uint32_t)machine.xss;
        answer->edx = (uint32_t)(machine.xss >> 32);
    } else if (subleaf < 63 && ((machine.xcr0 | machine.xss) & BIT(subleaf))) {
        *answer = machine.read(0x0D, subleaf);
    }
}

/* Crystal clock = TSC = input clock of the local APIC's timer. */
static void tsc_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    (void)guest;
    (void)subleaf;
    *answer = (struct cpuid){ 1, 1, (uint32_t)machine.tsc_hz, 0 };
}

static void frequency_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    uint32_t mhz = (uint32_t)((machine.tsc_hz + 500000) / 1000000);
    (void)guest;
    (void)subleaf;
    *answer = (struct cpuid){ mhz, mhz, 100, 0 };
}

static void extended_feature_leaf(const struct cpuid_guest *guest, uint32_t subleaf,
                                  struct cpuid *answer)
{
    (void)subleaf;
    if (!machine.rdtscp) {
        answer->edx &= ~CPUID_80000001_EDX_RDTSCP;
    }
    if (guest->misc_enable & MISC_ENABLE_XD_DISABLE) {
        answer->edx &= ~CPUID_80000001_EDX_NX;
    }
}

static void vendor_leaf(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer)
{
    (void)subleaf;
    answer->eax = guest->misc_enable & MISC_ENABLE_LIMIT_CPUID ? 2 : max_basic_leaf;
}

/* Leaves whose answer depends on the guest; called after masking, in leaf order. */
static const struct {
    uint32_t leaf;
    void (*compute)(const struct cpuid_guest *guest, uint32_t subleaf, struct cpuid *answer);
} computed[] = {
    { KVM_FEATURES_LEAF, kvm_features_leaf },
    { RIVET_FEATURES_LEAF, rivet_features_leaf },
    { 0x00, vendor_leaf },
    { 0x01, feature_leaf },
    { 0x04, cache_leaf },
    { 0x07, structured_leaf },
    { 0x0B, topology_leaf },
    { 0x0D, xsave_leaf },
    { 0x15, tsc_leaf },
    { 0x16, frequency_leaf },
    { TOPOLOGY_V2_LEAF, topology_leaf },
    { 0x80000001, extended_feature_leaf },
};

/* Beyond the maximum of its range a leaf reads as the highest basic leaf. */
static uint32_t existing_leaf(uint32_t leaf)
{
    if (leaf >= 0x80000000U) {
        return leaf <= (uint32_t)MAX_EXTENDED_LEAF ? leaf : max_basic_leaf;
    }
    if ((leaf >= HYPERVISOR_LEAF && leaf <= MAX_HYPERVISOR_LEAF) ||
        (leaf >= RIVET_LEAF && leaf <= MAX_RIVET_LEAF)) {
        return leaf;
    }
    return leaf <= max_basic_leaf ? leaf : max_basic_leaf;
}

static struct cpuid masked(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        if (rules[i].leaf != leaf ||
            (rules[i].subleaf != ANY_SUBLEAF && (uint32_t)rules[i].subleaf != subleaf)) {
            continue;
        }
        struct cpuid host = machine.read(leaf, subleaf);
        const struct cpuid *pass = &rules[i].pass, *set = &rules[i].set;
        return (struct cpuid){ (host.eax & pass->eax) | set->eax, (host.ebx & pass->ebx) | set->ebx,
                               (host.ecx & pass->ecx) | set->ecx,
                               (host.edx & pass->edx) | set->edx };
    }
    return (struct cpuid){ 0, 0, 0, 0 };
}

void cpuid_init(const struct cpuid_machine *host)
{
    machine = *host;
    physical_address_bits = machine.read(0x80000008, 0).eax & 0xFF;
    pages_1g = machine.read(0x80000001, 0).edx & CPUID_80000001_EDX_PAGE1GB;
    max_basic_leaf = machine.read(0, 0).eax >= TOPOLOGY_V2_LEAF ? TOPOLOGY_V2_LEAF : MAX_BASIC_LEAF;
}

struct cpuid cpuid_for_guest(const struct cpuid_guest *guest, uint32_t leaf, uint32_t subleaf)
{
    uint32_t existing = existing_leaf(leaf);
    struct cpuid answer = masked(existing, subleaf);

    for (unsigned i = 0; i < ARRAY_SIZE(computed); i++) {
        if (computed[i].leaf == existing) {
            computed[i].compute(guest, subleaf, &answer);
        }
    }
    return answer;
}

unsigned cpuid_physical_address_bits(void)
{
    return physical_address_bits;
}

bool cpuid_offers_1g_pages(void)
{
    return pages_1g;
}
