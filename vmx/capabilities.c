/* SPDX-License-Identifier: MIT */
/* Reading and judging the VMX capability MSRs (SDM volume 3, appendix "VMX Capability Reporting"). */
#include "vmx/capabilities.h"

#include "arch/cpu.h"
#include "arch/msr.h"
#include "lib/log.h"
#include "lib/print.h"
#include "lib/string.h"
#include "vmx/cpuid.h"

static void require(uint64_t word, uint64_t bit, const char *msr, const char *name)
{
    if (!(word & bit)) {
        fatal("CPU %u: %s bit %u: \"%s\" is missing, and Rivet needs it", this_cpu()->index, msr,
              (unsigned)__builtin_ctzll(bit), name);
    }
}

static void check_basic(uint64_t basic)
{
    require(basic, VMX_BASIC_TRUE_CONTROLS, "IA32_VMX_BASIC (480H)",
            "default1 class controls may be cleared");
    if (field_get(VMX_BASIC_VMCS_SIZE, basic) > PAGE_SIZE) {
        fatal("CPU %u: IA32_VMX_BASIC (480H) bits 44:32: VMCS region size %u is over 4096",
              this_cpu()->index, (unsigned)field_get(VMX_BASIC_VMCS_SIZE, basic));
    }
    if (field_get(VMX_BASIC_MEMORY_TYPE, basic) != MEMORY_TYPE_WB) {
        fatal("CPU %u: IA32_VMX_BASIC (480H) bits 53:50: VMCS memory type %u is not write-back (6)",
              this_cpu()->index, (unsigned)field_get(VMX_BASIC_MEMORY_TYPE, basic));
    }
}

static void check_ept(uint64_t ept_vpid)
{
    const char *msr = "IA32_VMX_EPT_VPID_CAP (48CH)";
    require(ept_vpid, EPT_CAP_WALK_LENGTH_4, msr, "EPT page-walk length of 4");
    require(ept_vpid, EPT_CAP_WRITE_BACK, msr, "EPT paging-structure memory type WB");
}

static void negotiate(struct control_result *result)
{
    struct control_capabilities capabilities = { 0 };
    for (unsigned word = 0; word < CONTROL_WORDS; word++) {
        /* Without "activate secondary controls" their MSR does not exist. */
        if (word != CONTROL_SECONDARY ||
            (capabilities.word[CONTROL_PRIMARY] >> 32 & PRIMARY_SECONDARY_CONTROLS)) {
            capabilities.word[word] = rdmsr(control_msr(word));
        }
    }
    const struct control_rule *missing = control_negotiate(&capabilities, result);
    if (missing != NULL) {
        fatal("CPU %u: %s (%XH) bit %u: \"%s\" is missing, and Rivet needs it", this_cpu()->index,
              control_msr_name(missing->word), control_msr(missing->word),
              32 + (unsigned)__builtin_ctz(missing->bit), missing->name);
    }
}

void capabilities_read(struct vmx_capabilities *capabilities)
{
    memset(capabilities, 0, sizeof(*capabilities));
    capabilities->basic = rdmsr(IA32_VMX_BASIC);
    check_basic(capabilities->basic);
    capabilities->misc = rdmsr(IA32_VMX_MISC);
    negotiate(&capabilities->controls);
    capabilities->ept_vpid = rdmsr(IA32_VMX_EPT_VPID_CAP);
    check_ept(capabilities->ept_vpid);
    capabilities->cr0_fixed0 = rdmsr(IA32_VMX_CR0_FIXED0);
    capabilities->cr0_fixed1 = rdmsr(IA32_VMX_CR0_FIXED1);
    capabilities->cr4_fixed0 = rdmsr(IA32_VMX_CR4_FIXED0);
    capabilities->cr4_fixed1 = rdmsr(IA32_VMX_CR4_FIXED1);
}

void capabilities_log(const struct vmx_capabilities *capabilities)
{
    char text[512];
    size_t length = 0;
    unsigned count;
    const struct control_rule *rules = control_rules(&count);
    for (unsigned i = 0; i < count; i++) {
        if (!(capabilities->controls.available[rules[i].word] & rules[i].bit)) {
            length += (size_t)lib_snprintf(text + length, sizeof(text) - length, "%s%s",
                                           length == 0 ? "" : ", ", rules[i].name);
            if (length >= sizeof(text)) {
                break;
            }
        }
    }
    log_info("VMX revision %XH; optional controls missing: %s",
             (unsigned)(capabilities->basic & VMX_BASIC_REVISION), length == 0 ? "none" : text);
}

bool vmx_has(enum control_word word, uint32_t bit)
{
    return (vmx_capabilities()->controls.available[word] & bit) != 0;
}

/* Without these, software has to touch the virtual-APIC page. */
static bool is_for_protected(const struct control_rule *rule)
{
    static const struct {
        enum control_word word;
        uint32_t bits;
    } needed[] = {
        { CONTROL_PIN, PIN_POSTED_INTERRUPTS },
        { CONTROL_PRIMARY, PRIMARY_USE_TPR_SHADOW },
        { CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_X2APIC_MODE | SECONDARY_APIC_REGISTER_VIRT |
                                 SECONDARY_VIRTUAL_INTERRUPT_DELIVERY },
    };
    bool found = false;
    for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
        found |= rule->word == needed[i].word && (rule->bit & needed[i].bits) != 0;
    }
    return found;
}

const char *vmx_missing_for_protected(void)
{
    unsigned count;
    const struct control_rule *rules = control_rules(&count);
    for (unsigned i = 0; i < count; i++) {
        if (is_for_protected(&rules[i]) && !vmx_has(rules[i].word, rules[i].bit)) {
            return rules[i].name;
        }
    }
    return vmx_capabilities()->misc & VMX_MISC_ACTIVITY_HLT ? NULL : "activity state HLT";
}

struct apic_features vmx_apic_features(void)
{
    return (struct apic_features){
        .tpr_shadow = vmx_has(CONTROL_PRIMARY, PRIMARY_USE_TPR_SHADOW),
        .apic_accesses = vmx_has(CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_APIC_ACCESSES),
        .x2apic_mode = vmx_has(CONTROL_SECONDARY, SECONDARY_VIRTUALIZE_X2APIC_MODE),
        .register_virt = vmx_has(CONTROL_SECONDARY, SECONDARY_APIC_REGISTER_VIRT),
        .interrupt_delivery = vmx_has(CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY),
        .posted_interrupts = vmx_has(CONTROL_PIN, PIN_POSTED_INTERRUPTS),
        .physical_address_bits = (uint8_t)cpuid_physical_address_bits(),
    };
}
