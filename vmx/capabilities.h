/* SPDX-License-Identifier: MIT */
/*
 * What VMX offers on this machine, the same on every CPU (SDM volume 3, appendix "VMX Capability
 * Reporting Facility").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apic/vm.h"
#include "vmx/controls.h"

/* IA32_VMX_BASIC */
#define VMX_BASIC_REVISION      0x7FFFFFFFULL
#define VMX_BASIC_VMCS_SIZE     (0x1FFFULL << 32)
#define VMX_BASIC_32BIT         BIT(48)
#define VMX_BASIC_MEMORY_TYPE   (0xFULL << 50)
#define VMX_BASIC_TRUE_CONTROLS BIT(55)

/* IA32_VMX_MISC */
#define VMX_MISC_TIMER_SHIFT  0x1FULL
#define VMX_MISC_ACTIVITY_HLT BIT(6)

/* IA32_VMX_EPT_VPID_CAP */
#define EPT_CAP_WALK_LENGTH_4  BIT(6)
#define EPT_CAP_WRITE_BACK     BIT(14)
#define EPT_CAP_2M             BIT(16)
#define EPT_CAP_1G             BIT(17)
#define EPT_CAP_INVEPT         BIT(20)
#define EPT_CAP_ACCESSED_DIRTY BIT(21)
#define EPT_CAP_INVEPT_SINGLE  BIT(25)
#define EPT_CAP_INVEPT_ALL     BIT(26)
#define EPT_CAP_INVVPID        BIT(32)
#define EPT_CAP_INVVPID_SINGLE BIT(41)
#define EPT_CAP_INVVPID_ALL    BIT(42)

struct vmx_capabilities {
    uint64_t basic;    /* IA32_VMX_BASIC */
    uint64_t misc;     /* IA32_VMX_MISC */
    uint64_t ept_vpid; /* IA32_VMX_EPT_VPID_CAP */
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    struct control_result controls;
};

/* Read this CPU's; fatal, naming CPU, MSR, bit and SDM name, when a required one is missing. */
void capabilities_read(struct vmx_capabilities *capabilities);

/* Log the optional controls that are missing, in one line. Boot CPU. */
void capabilities_log(const struct vmx_capabilities *capabilities);

/* The machine's. Any CPU after vmx_check_cpu on the boot CPU. */
const struct vmx_capabilities *vmx_capabilities(void);

/* Whether an optional control is available. Any CPU after vmx_check_cpu on the boot CPU. */
bool vmx_has(enum control_word word, uint32_t bit);

/* The APIC features for apic_vm_init. Any CPU after vmx_enable_cpu on the boot CPU. */
struct apic_features vmx_apic_features(void);

/* The SDM's name of something that this machine lacks for protected VMs, or NULL. As vmx_has. */
const char *vmx_missing_for_protected(void);
