/* SPDX-License-Identifier: MIT */
/* What CPUID tells guests (SDM volume 2, "CPUID"): the host's answer through one table of masks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/cpuid.h"

/* What the answer depends on beside the host CPU. Guest state as CPUID shows it. */
struct cpuid_guest {
    unsigned vcpu_index; /* x2APIC id */
    unsigned vcpu_count;
    uint64_t cr4;
    uint64_t xcr0, xss;
    bool apic_enabled; /* IA32_APIC_BASE.EN */
    bool no_x2apic;    /* hidden from this guest */
    bool no_pv_eoi;    /* likewise */
    uint64_t misc_enable;
};

/* What of the machine the policy follows. */
struct cpuid_machine {
    struct cpuid (*read)(uint32_t leaf, uint32_t subleaf); /* the host's CPUID */
    uint64_t tsc_hz;
    uint64_t xcr0, xss;           /* supported for guests */
    bool rdtscp, invpcid, xsaves; /* the VMX controls that these instructions need are available */
    bool umip;                    /* offered whether the CPU has it or not (umip.h) */
};

/* Decide the policy. Boot CPU, once, after tsc_calibrate, xstate_enable_cpu and vmx_check_cpu. */
void cpuid_init(const struct cpuid_machine *machine);

/* CPUID as that guest sees it. Any CPU. */
struct cpuid cpuid_for_guest(const struct cpuid_guest *guest, uint32_t leaf, uint32_t subleaf);

/* Physical-address width that guests see, in bits; whether they have 1 GiB pages. After cpuid_init. */
unsigned cpuid_physical_address_bits(void);
bool cpuid_offers_1g_pages(void);
