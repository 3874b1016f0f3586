/* SPDX-License-Identifier: MIT */
/* Names of VMCS fields and instruction errors, and the VMCS instructions (SDM volume 3, appendix B). */
#include "vmx/vmcs.h"

#include <stddef.h>

#include "lib/bits.h"
#include "lib/log.h"

static const struct {
    uint16_t encoding;
    const char *name;
} fields[] = {
#define X(name, encoding) { encoding, #name },
    VMCS_FIELDS(X)
#undef X
};

/* SDM volume 3, "VM Instruction Error Numbers". */
static const char *const instruction_errors[] = {
    [1] = "VMCALL executed in VMX root operation",
    [2] = "VMCLEAR with invalid physical address",
    [3] = "VMCLEAR with VMXON pointer",
    [4] = "VMLAUNCH with non-clear VMCS",
    [5] = "VMRESUME with non-launched VMCS",
    [6] = "VMRESUME after VMXOFF",
    [7] = "VM entry with invalid control field(s)",
    [8] = "VM entry with invalid host-state field(s)",
    [9] = "VMPTRLD with invalid physical address",
    [10] = "VMPTRLD with VMXON pointer",
    [11] = "VMPTRLD with incorrect VMCS revision identifier",
    [12] = "VMREAD/VMWRITE from/to unsupported VMCS component",
    [13] = "VMWRITE to read-only VMCS component",
    [15] = "VMXON executed in VMX root operation",
    [16] = "VM entry with invalid executive-VMCS pointer",
    [17] = "VM entry with non-launched executive VMCS",
    [18] = "VM entry with executive-VMCS pointer not VMXON pointer",
    [19] = "VMCALL with non-clear VMCS",
    [20] = "VMCALL with invalid VM-exit control fields",
    [22] = "VMCALL with incorrect MSEG revision identifier",
    [23] = "VMXOFF under dual-monitor treatment of SMIs and SMM",
    [24] = "VMCALL with invalid SMM-monitor features",
    [25] = "VM entry with invalid VM-execution control fields in executive VMCS",
    [26] = "VM entry with events blocked by MOV SS",
    [28] = "invalid operand to INVEPT/INVVPID",
};

const char *vmcs_field_name(enum vmcs_field field)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (fields[i].encoding == field) {
            return fields[i].name;
        }
    }
    return "?";
}

const char *vmx_instruction_error_name(uint32_t error)
{
    if (error < ARRAY_SIZE(instruction_errors) && instruction_errors[error] != NULL) {
        return instruction_errors[error];
    }
    return "?";
}

/* VMREAD that may fail, for error reports. */
static bool vmread_if_there(enum vmcs_field field, uint64_t *value)
{
    bool failed;
    __asm__ volatile("vmread %[field], %[value]"
                     : [value] "=r"(*value), "=@ccbe"(failed)
                     : [field] "r"((uint64_t)field)
                     : "memory");
    return !failed;
}

void vmcs_access_failed(enum vmcs_field field, bool write)
{
    uint64_t error = 0;
    bool valid = vmread_if_there(VMCS_INSTRUCTION_ERROR, &error);
    panic("%s of VMCS field %s (%XH) failed: %s", write ? "VMWRITE" : "VMREAD",
          vmcs_field_name(field), (unsigned)field,
          valid ? vmx_instruction_error_name((uint32_t)error) : "no current VMCS");
}

static _Noreturn void pointer_failed(const char *instruction, const void *vmcs)
{
    uint64_t error = 0;
    bool valid = vmread_if_there(VMCS_INSTRUCTION_ERROR, &error);
    panic("%s of %p failed: %s", instruction, vmcs,
          valid ? vmx_instruction_error_name((uint32_t)error) : "VMfailInvalid");
}

void vmcs_clear(void *vmcs)
{
    uint64_t address = (uintptr_t)vmcs;
    bool failed;
    __asm__ volatile("vmclear %[address]" : "=@ccbe"(failed) : [address] "m"(address) : "memory");
    if (failed) {
        pointer_failed("VMCLEAR", vmcs);
    }
}

void vmcs_load(void *vmcs)
{
    uint64_t address = (uintptr_t)vmcs;
    bool failed;
    __asm__ volatile("vmptrld %[address]" : "=@ccbe"(failed) : [address] "m"(address) : "memory");
    if (failed) {
        pointer_failed("VMPTRLD", vmcs);
    }
}

void vmcs_dump(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        uint64_t value;
        if (vmread_if_there(fields[i].encoding, &value)) {
            log_info("  %04X %-38s %016llx", fields[i].encoding, fields[i].name,
                     (unsigned long long)value);
        }
    }
}
