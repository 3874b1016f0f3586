/* SPDX-License-Identifier: MIT */
/* The negotiation table of VMX controls (SDM volume 3, appendix "VMX Capability Reporting Facility"). */
#include "vmx/controls.h"

#include <stddef.h>

#include "arch/msr.h"

#define REQUIRED(word, bit, name)              \
    {                                          \
        CONTROL_##word, bit, true, false, name \
    }
#define ON_DEMAND(word, bit, name)            \
    {                                         \
        CONTROL_##word, bit, true, true, name \
    }
#define OPTIONAL_ON_DEMAND(word, bit, name)    \
    {                                          \
        CONTROL_##word, bit, false, true, name \
    }
#define OPTIONAL(word, bit, name)               \
    {                                           \
        CONTROL_##word, bit, false, false, name \
    }

static const struct control_rule rules[] = {
    REQUIRED(PIN, PIN_EXTERNAL_INTERRUPT_EXITING, "external-interrupt exiting"),
    REQUIRED(PIN, PIN_NMI_EXITING, "NMI exiting"),
    REQUIRED(PIN, PIN_VIRTUAL_NMIS, "virtual NMIs"),
    REQUIRED(PIN, PIN_PREEMPTION_TIMER, "activate VMX-preemption timer"),
    OPTIONAL(PIN, PIN_POSTED_INTERRUPTS, "process posted interrupts"),

    ON_DEMAND(PRIMARY, PRIMARY_INTERRUPT_WINDOW_EXITING, "interrupt-window exiting"),
    REQUIRED(PRIMARY, PRIMARY_USE_TSC_OFFSETTING, "use TSC offsetting"),
    REQUIRED(PRIMARY, PRIMARY_HLT_EXITING, "HLT exiting"),
    REQUIRED(PRIMARY, PRIMARY_MWAIT_EXITING, "MWAIT exiting"),
    REQUIRED(PRIMARY, PRIMARY_RDPMC_EXITING, "RDPMC exiting"),
    ON_DEMAND(PRIMARY, PRIMARY_CR8_LOAD_EXITING, "CR8-load exiting"),
    ON_DEMAND(PRIMARY, PRIMARY_CR8_STORE_EXITING, "CR8-store exiting"),
    OPTIONAL(PRIMARY, PRIMARY_USE_TPR_SHADOW, "use TPR shadow"),
    ON_DEMAND(PRIMARY, PRIMARY_NMI_WINDOW_EXITING, "NMI-window exiting"),
    REQUIRED(PRIMARY, PRIMARY_USE_IO_BITMAPS, "use I/O bitmaps"),
    ON_DEMAND(PRIMARY, PRIMARY_MONITOR_TRAP_FLAG, "monitor trap flag"),
    REQUIRED(PRIMARY, PRIMARY_USE_MSR_BITMAPS, "use MSR bitmaps"),
    REQUIRED(PRIMARY, PRIMARY_MONITOR_EXITING, "MONITOR exiting"),
    REQUIRED(PRIMARY, PRIMARY_SECONDARY_CONTROLS, "activate secondary controls"),

    OPTIONAL(SECONDARY, SECONDARY_VIRTUALIZE_APIC_ACCESSES, "virtualize APIC accesses"),
    REQUIRED(SECONDARY, SECONDARY_ENABLE_EPT, "enable EPT"),
    OPTIONAL_ON_DEMAND(SECONDARY, SECONDARY_DESCRIPTOR_TABLE_EXITING, "descriptor-table exiting"),
    OPTIONAL(SECONDARY, SECONDARY_ENABLE_RDTSCP, "enable RDTSCP"),
    OPTIONAL(SECONDARY, SECONDARY_VIRTUALIZE_X2APIC_MODE, "virtualize x2APIC mode"),
    OPTIONAL(SECONDARY, SECONDARY_ENABLE_VPID, "enable VPID"),
    OPTIONAL(SECONDARY, SECONDARY_WBINVD_EXITING, "WBINVD exiting"),
    REQUIRED(SECONDARY, SECONDARY_UNRESTRICTED_GUEST, "unrestricted guest"),
    OPTIONAL(SECONDARY, SECONDARY_APIC_REGISTER_VIRT, "APIC-register virtualization"),
    OPTIONAL(SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY, "virtual-interrupt delivery"),
    OPTIONAL(SECONDARY, SECONDARY_PAUSE_LOOP_EXITING, "PAUSE-loop exiting"),
    OPTIONAL(SECONDARY, SECONDARY_ENABLE_INVPCID, "enable INVPCID"),
    OPTIONAL(SECONDARY, SECONDARY_ENABLE_XSAVES, "enable XSAVES/XRSTORS"),

    REQUIRED(EXIT, EXIT_SAVE_DEBUG_CONTROLS, "save debug controls"),
    REQUIRED(EXIT, EXIT_HOST_ADDRESS_SPACE_SIZE, "host address-space size"),
    REQUIRED(EXIT, EXIT_ACKNOWLEDGE_INTERRUPT, "acknowledge interrupt on exit"),
    REQUIRED(EXIT, EXIT_SAVE_PAT, "save IA32_PAT"),
    REQUIRED(EXIT, EXIT_LOAD_PAT, "load IA32_PAT"),
    REQUIRED(EXIT, EXIT_SAVE_EFER, "save IA32_EFER"),
    REQUIRED(EXIT, EXIT_LOAD_EFER, "load IA32_EFER"),

    REQUIRED(ENTRY, ENTRY_LOAD_DEBUG_CONTROLS, "load debug controls"),
    ON_DEMAND(ENTRY, ENTRY_IA32E_MODE_GUEST, "IA-32e mode guest"),
    REQUIRED(ENTRY, ENTRY_LOAD_PAT, "load IA32_PAT"),
    REQUIRED(ENTRY, ENTRY_LOAD_EFER, "load IA32_EFER"),
};

static const struct {
    uint32_t number;
    const char *name;
} msrs[CONTROL_WORDS] = {
    [CONTROL_PIN] = { IA32_VMX_TRUE_PINBASED_CTLS, "IA32_VMX_TRUE_PINBASED_CTLS" },
    [CONTROL_PRIMARY] = { IA32_VMX_TRUE_PROCBASED_CTLS, "IA32_VMX_TRUE_PROCBASED_CTLS" },
    [CONTROL_SECONDARY] = { IA32_VMX_PROCBASED_CTLS2, "IA32_VMX_PROCBASED_CTLS2" },
    [CONTROL_EXIT] = { IA32_VMX_TRUE_EXIT_CTLS, "IA32_VMX_TRUE_EXIT_CTLS" },
    [CONTROL_ENTRY] = { IA32_VMX_TRUE_ENTRY_CTLS, "IA32_VMX_TRUE_ENTRY_CTLS" },
};

const struct control_rule *control_rules(unsigned *count)
{
    *count = ARRAY_SIZE(rules);
    return rules;
}

uint32_t control_msr(enum control_word word)
{
    return msrs[word].number;
}

const char *control_msr_name(enum control_word word)
{
    return msrs[word].name;
}

/*
 * What VM entry demands of the combination (SDM, "VM-Execution Control Fields" of the entry checks):
 * everything that reads the virtual-APIC page needs the TPR shadow, posting needs virtual-interrupt
 * delivery.
 */
static void drop_dependents(uint32_t available[CONTROL_WORDS])
{
    if (!(available[CONTROL_PRIMARY] & PRIMARY_USE_TPR_SHADOW)) {
        available[CONTROL_SECONDARY] &=
            ~(SECONDARY_VIRTUALIZE_X2APIC_MODE | SECONDARY_APIC_REGISTER_VIRT |
              SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
    }
    if (!(available[CONTROL_SECONDARY] & SECONDARY_VIRTUAL_INTERRUPT_DELIVERY)) {
        available[CONTROL_PIN] &= ~PIN_POSTED_INTERRUPTS;
    }
}

const struct control_rule *control_negotiate(const struct control_capabilities *capabilities,
                                             struct control_result *result)
{
    uint32_t on_demand[CONTROL_WORDS] = { 0 };
    *result = (struct control_result){ 0 };
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        const struct control_rule *rule = &rules[i];
        if ((capabilities->word[rule->word] >> 32 & rule->bit) != 0) {
            result->available[rule->word] |= rule->bit;
        } else if (rule->required) {
            return rule;
        }
        if (rule->on_demand) {
            on_demand[rule->word] |= rule->bit;
        }
    }
    drop_dependents(result->available);
    for (unsigned word = 0; word < CONTROL_WORDS; word++) {
        uint32_t must_be_one = (uint32_t)capabilities->word[word];
        result->value[word] = must_be_one | (result->available[word] & ~on_demand[word]);
    }
    return NULL;
}
