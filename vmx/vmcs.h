/* SPDX-License-Identifier: MIT */
/*
 * The virtual-machine control structure: its fields and access to them (SDM volume 3, chapter "Virtual
 * Machine Control Structures" and appendix "Field Encoding in VMCS").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/segment.h"

/* X(name, encoding) for every field, in the order of the SDM's appendix. */
#define VMCS_FIELDS(X)                              \
    /* 16-bit control fields */                     \
    X(VPID, 0x0000)                                 \
    X(POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0x0002) \
    X(EPTP_INDEX, 0x0004)                           \
    X(HLAT_PREFIX_SIZE, 0x0006)                     \
    X(LAST_PID_POINTER_INDEX, 0x0008)               \
    /* 16-bit guest-state fields */                 \
    X(GUEST_ES_SELECTOR, 0x0800)                    \
    X(GUEST_CS_SELECTOR, 0x0802)                    \
    X(GUEST_SS_SELECTOR, 0x0804)                    \
    X(GUEST_DS_SELECTOR, 0x0806)                    \
    X(GUEST_FS_SELECTOR, 0x0808)                    \
    X(GUEST_GS_SELECTOR, 0x080A)                    \
    X(GUEST_LDTR_SELECTOR, 0x080C)                  \
    X(GUEST_TR_SELECTOR, 0x080E)                    \
    X(GUEST_INTERRUPT_STATUS, 0x0810)               \
    X(PML_INDEX, 0x0812)                            \
    X(GUEST_UINV, 0x0814)                           \
    /* 16-bit host-state fields */                  \
    X(HOST_ES_SELECTOR, 0x0C00)                     \
    X(HOST_CS_SELECTOR, 0x0C02)                     \
    X(HOST_SS_SELECTOR, 0x0C04)                     \
    X(HOST_DS_SELECTOR, 0x0C06)                     \
    X(HOST_FS_SELECTOR, 0x0C08)                     \
    X(HOST_GS_SELECTOR, 0x0C0A)                     \
    X(HOST_TR_SELECTOR, 0x0C0C)                     \
    /* 64-bit control fields */                     \
    X(IO_BITMAP_A_ADDRESS, 0x2000)                  \
    X(IO_BITMAP_B_ADDRESS, 0x2002)                  \
    X(MSR_BITMAPS_ADDRESS, 0x2004)                  \
    X(EXIT_MSR_STORE_ADDRESS, 0x2006)               \
    X(EXIT_MSR_LOAD_ADDRESS, 0x2008)                \
    X(ENTRY_MSR_LOAD_ADDRESS, 0x200A)               \
    X(EXECUTIVE_VMCS_POINTER, 0x200C)               \
    X(PML_ADDRESS, 0x200E)                          \
    X(TSC_OFFSET, 0x2010)                           \
    X(VIRTUAL_APIC_ADDRESS, 0x2012)                 \
    X(APIC_ACCESS_ADDRESS, 0x2014)                  \
    X(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, 0x2016)  \
    X(VM_FUNCTION_CONTROLS, 0x2018)                 \
    X(EPT_POINTER, 0x201A)                          \
    X(EOI_EXIT_BITMAP_0, 0x201C)                    \
    X(EOI_EXIT_BITMAP_1, 0x201E)                    \
    X(EOI_EXIT_BITMAP_2, 0x2020)                    \
    X(EOI_EXIT_BITMAP_3, 0x2022)                    \
    X(EPTP_LIST_ADDRESS, 0x2024)                    \
    X(VMREAD_BITMAP_ADDRESS, 0x2026)                \
    X(VMWRITE_BITMAP_ADDRESS, 0x2028)               \
    X(VIRTUALIZATION_EXCEPTION_ADDRESS, 0x202A)     \
    X(XSS_EXITING_BITMAP, 0x202C)                   \
    X(ENCLS_EXITING_BITMAP, 0x202E)                 \
    X(SUB_PAGE_PERMISSION_TABLE_POINTER, 0x2030)    \
    X(TSC_MULTIPLIER, 0x2032)                       \
    X(TERTIARY_CONTROLS, 0x2034)                    \
    X(ENCLV_EXITING_BITMAP, 0x2036)                 \
    X(LOW_PASID_DIRECTORY_ADDRESS, 0x2038)          \
    X(HIGH_PASID_DIRECTORY_ADDRESS, 0x203A)         \
    X(SHARED_EPT_POINTER, 0x203C)                   \
    X(PCONFIG_EXITING_BITMAP, 0x203E)               \
    X(HLATP, 0x2040)                                \
    X(PID_POINTER_TABLE_ADDRESS, 0x2042)            \
    X(SECONDARY_EXIT_CONTROLS, 0x2044)              \
    X(SPEC_CTRL_MASK, 0x204A)                       \
    X(SPEC_CTRL_SHADOW, 0x204C)                     \
    /* 64-bit read-only data field */               \
    X(GUEST_PHYSICAL_ADDRESS, 0x2400)               \
    /* 64-bit guest-state fields */                 \
    X(VMCS_LINK_POINTER, 0x2800)                    \
    X(GUEST_DEBUGCTL, 0x2802)                       \
    X(GUEST_PAT, 0x2804)                            \
    X(GUEST_EFER, 0x2806)                           \
    X(GUEST_PERF_GLOBAL_CTRL, 0x2808)               \
    X(GUEST_PDPTE0, 0x280A)                         \
    X(GUEST_PDPTE1, 0x280C)                         \
    X(GUEST_PDPTE2, 0x280E)                         \
    X(GUEST_PDPTE3, 0x2810)                         \
    X(GUEST_BNDCFGS, 0x2812)                        \
    X(GUEST_RTIT_CTL, 0x2814)                       \
    X(GUEST_LBR_CTL, 0x2816)                        \
    X(GUEST_PKRS, 0x2818)                           \
    /* 64-bit host-state fields */                  \
    X(HOST_PAT, 0x2C00)                             \
    X(HOST_EFER, 0x2C02)                            \
    X(HOST_PERF_GLOBAL_CTRL, 0x2C04)                \
    X(HOST_PKRS, 0x2C06)                            \
    /* 32-bit control fields */                     \
    X(PIN_CONTROLS, 0x4000)                         \
    X(PRIMARY_CONTROLS, 0x4002)                     \
    X(EXCEPTION_BITMAP, 0x4004)                     \
    X(PAGE_FAULT_ERROR_CODE_MASK, 0x4006)           \
    X(PAGE_FAULT_ERROR_CODE_MATCH, 0x4008)          \
    X(CR3_TARGET_COUNT, 0x400A)                     \
    X(EXIT_CONTROLS, 0x400C)                        \
    X(EXIT_MSR_STORE_COUNT, 0x400E)                 \
    X(EXIT_MSR_LOAD_COUNT, 0x4010)                  \
    X(ENTRY_CONTROLS, 0x4012)                       \
    X(ENTRY_MSR_LOAD_COUNT, 0x4014)                 \
    X(ENTRY_INTERRUPTION_INFORMATION, 0x4016)       \
    X(ENTRY_EXCEPTION_ERROR_CODE, 0x4018)           \
    X(ENTRY_INSTRUCTION_LENGTH, 0x401A)             \
    X(TPR_THRESHOLD, 0x401C)                        \
    X(SECONDARY_CONTROLS, 0x401E)                   \
    X(PLE_GAP, 0x4020)                              \
    X(PLE_WINDOW, 0x4022)                           \
    X(INSTRUCTION_TIMEOUT_CONTROL, 0x4024)          \
    /* 32-bit read-only data fields */              \
    X(INSTRUCTION_ERROR, 0x4400)                    \
    X(EXIT_REASON, 0x4402)                          \
    X(EXIT_INTERRUPTION_INFORMATION, 0x4404)        \
    X(EXIT_INTERRUPTION_ERROR_CODE, 0x4406)         \
    X(IDT_VECTORING_INFORMATION, 0x4408)            \
    X(IDT_VECTORING_ERROR_CODE, 0x440A)             \
    X(EXIT_INSTRUCTION_LENGTH, 0x440C)              \
    X(EXIT_INSTRUCTION_INFORMATION, 0x440E)         \
    /* 32-bit guest-state fields */                 \
    X(GUEST_ES_LIMIT, 0x4800)                       \
    X(GUEST_CS_LIMIT, 0x4802)                       \
    X(GUEST_SS_LIMIT, 0x4804)                       \
    X(GUEST_DS_LIMIT, 0x4806)                       \
    X(GUEST_FS_LIMIT, 0x4808)                       \
    X(GUEST_GS_LIMIT, 0x480A)                       \
    X(GUEST_LDTR_LIMIT, 0x480C)                     \
    X(GUEST_TR_LIMIT, 0x480E)                       \
    X(GUEST_GDTR_LIMIT, 0x4810)                     \
    X(GUEST_IDTR_LIMIT, 0x4812)                     \
    X(GUEST_ES_ACCESS_RIGHTS, 0x4814)               \
    X(GUEST_CS_ACCESS_RIGHTS, 0x4816)               \
    X(GUEST_SS_ACCESS_RIGHTS, 0x4818)               \
    X(GUEST_DS_ACCESS_RIGHTS, 0x481A)               \
    X(GUEST_FS_ACCESS_RIGHTS, 0x481C)               \
    X(GUEST_GS_ACCESS_RIGHTS, 0x481E)               \
    X(GUEST_LDTR_ACCESS_RIGHTS, 0x4820)             \
    X(GUEST_TR_ACCESS_RIGHTS, 0x4822)               \
    X(GUEST_INTERRUPTIBILITY_STATE, 0x4824)         \
    X(GUEST_ACTIVITY_STATE, 0x4826)                 \
    X(GUEST_SMBASE, 0x4828)                         \
    X(GUEST_SYSENTER_CS, 0x482A)                    \
    X(PREEMPTION_TIMER_VALUE, 0x482E)               \
    /* 32-bit host-state field */                   \
    X(HOST_SYSENTER_CS, 0x4C00)                     \
    /* Natural-width control fields */              \
    X(CR0_GUEST_HOST_MASK, 0x6000)                  \
    X(CR4_GUEST_HOST_MASK, 0x6002)                  \
    X(CR0_READ_SHADOW, 0x6004)                      \
    X(CR4_READ_SHADOW, 0x6006)                      \
    X(CR3_TARGET_VALUE_0, 0x6008)                   \
    X(CR3_TARGET_VALUE_1, 0x600A)                   \
    X(CR3_TARGET_VALUE_2, 0x600C)                   \
    X(CR3_TARGET_VALUE_3, 0x600E)                   \
    /* Natural-width read-only data fields */       \
    X(EXIT_QUALIFICATION, 0x6400)                   \
    X(IO_RCX, 0x6402)                               \
    X(IO_RSI, 0x6404)                               \
    X(IO_RDI, 0x6406)                               \
    X(IO_RIP, 0x6408)                               \
    X(GUEST_LINEAR_ADDRESS, 0x640A)                 \
    /* Natural-width guest-state fields */          \
    X(GUEST_CR0, 0x6800)                            \
    X(GUEST_CR3, 0x6802)                            \
    X(GUEST_CR4, 0x6804)                            \
    X(GUEST_ES_BASE, 0x6806)                        \
    X(GUEST_CS_BASE, 0x6808)                        \
    X(GUEST_SS_BASE, 0x680A)                        \
    X(GUEST_DS_BASE, 0x680C)                        \
    X(GUEST_FS_BASE, 0x680E)                        \
    X(GUEST_GS_BASE, 0x6810)                        \
    X(GUEST_LDTR_BASE, 0x6812)                      \
    X(GUEST_TR_BASE, 0x6814)                        \
    X(GUEST_GDTR_BASE, 0x6816)                      \
    X(GUEST_IDTR_BASE, 0x6818)                      \
    X(GUEST_DR7, 0x681A)                            \
    X(GUEST_RSP, 0x681C)                            \
    X(GUEST_RIP, 0x681E)                            \
    X(GUEST_RFLAGS, 0x6820)                         \
    X(GUEST_PENDING_DEBUG_EXCEPTIONS, 0x6822)       \
    X(GUEST_SYSENTER_ESP, 0x6824)                   \
    X(GUEST_SYSENTER_EIP, 0x6826)                   \
    X(GUEST_S_CET, 0x6828)                          \
    X(GUEST_SSP, 0x682A)                            \
    X(GUEST_INTERRUPT_SSP_TABLE_ADDRESS, 0x682C)    \
    /* Natural-width host-state fields */           \
    X(HOST_CR0, 0x6C00)                             \
    X(HOST_CR3, 0x6C02)                             \
    X(HOST_CR4, 0x6C04)                             \
    X(HOST_FS_BASE, 0x6C06)                         \
    X(HOST_GS_BASE, 0x6C08)                         \
    X(HOST_TR_BASE, 0x6C0A)                         \
    X(HOST_GDTR_BASE, 0x6C0C)                       \
    X(HOST_IDTR_BASE, 0x6C0E)                       \
    X(HOST_SYSENTER_ESP, 0x6C10)                    \
    X(HOST_SYSENTER_EIP, 0x6C12)                    \
    X(HOST_RSP, 0x6C14)                             \
    X(HOST_RIP, 0x6C16)                             \
    X(HOST_S_CET, 0x6C18)                           \
    X(HOST_SSP, 0x6C1A)                             \
    X(HOST_INTERRUPT_SSP_TABLE_ADDRESS, 0x6C1C)

enum vmcs_field {
#define X(name, encoding) VMCS_##name = (encoding),
    VMCS_FIELDS(X)
#undef X
};

/* A field of the n-th segment register (vmx/segment.h) is 2n after the one of ES. */
static inline enum vmcs_field vmcs_segment(enum vmcs_field es_field, unsigned segment)
{
    return (enum vmcs_field)(es_field + 2 * segment);
}

/*
 * Name of a field as in the enumeration above, without the prefix; "?" if unknown. Name of a VM
 * instruction error number (SDM, "VM Instruction Error Numbers"). Any context.
 */
const char *vmcs_field_name(enum vmcs_field field);
const char *vmx_instruction_error_name(uint32_t error);

/* A VMREAD or VMWRITE failed: a bug of Rivet's. Panics with the field and the instruction error by name. */
_Noreturn void vmcs_access_failed(enum vmcs_field field, bool write);

/*
 * Read, write a field of this CPU's current VMCS; the value is as wide as the field (zero-extended on
 * reads). The field must exist on this CPU, which the capabilities tell. Root mode, VMCS current.
 */
static inline uint64_t vmread(enum vmcs_field field)
{
    uint64_t value;
    bool failed;
    __asm__ volatile("vmread %[field], %[value]"
                     : [value] "=r"(value), "=@ccbe"(failed)
                     : [field] "r"((uint64_t)field)
                     : "memory");
    if (__builtin_expect(failed, false)) {
        vmcs_access_failed(field, false);
    }
    return value;
}

static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
    bool failed;
    __asm__ volatile("vmwrite %[value], %[field]"
                     : "=@ccbe"(failed)
                     : [field] "r"((uint64_t)field), [value] "r"(value)
                     : "memory");
    if (__builtin_expect(failed, false)) {
        vmcs_access_failed(field, true);
    }
}

/* VMCLEAR, VMPTRLD of the region at that address; panic naming the instruction error on failure. Root mode. */
void vmcs_clear(void *vmcs);
void vmcs_load(void *vmcs);

/* Log every field of the current VMCS that this CPU has, for a VM that failed entry. */
void vmcs_dump(void);
