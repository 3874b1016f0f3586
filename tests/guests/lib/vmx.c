/* SPDX-License-Identifier: MIT */
/* A small VMX harness (SDM volume 3, chapters "Introduction to Virtual Machine Extensions" to "VM Exits"). */
#include "tests/guests/lib/vmx.h"

#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum {
    ACCESS_CODE64 = 0xA09B,
    ACCESS_DATA = 0xC093,
    ACCESS_TSS = 0x008B,
    ACCESS_UNUSABLE = 0x10000
};

static uint8_t vmxon_regions[GUEST_MAX_CPUS][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

bool vmx_run(struct vmx_registers *registers, bool resume); /* vmx_run.S */

void vmcs_access_failed(enum vmcs_field field, bool write)
{
    guest_fail("%s of VMCS field 0x%x", write ? "VMWRITE" : "VMREAD", (unsigned)field);
}

bool vmx_usable(void)
{
    if ((cpuid_read(1, 0).ecx & CPUID_1_ECX_VMX) == 0) {
        return false;
    }
    uint64_t wanted = FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX_OUTSIDE_SMX;
    return (rdmsr(IA32_FEATURE_CONTROL) & wanted) == wanted;
}

static bool allows(uint32_t msr, uint32_t controls)
{
    return (~(rdmsr(msr) >> 32) & controls) == 0;
}

bool vmx_offers(uint32_t pin, uint32_t primary, uint32_t secondary)
{
    if (!allows(IA32_VMX_TRUE_PINBASED_CTLS, pin) ||
        !allows(IA32_VMX_TRUE_PROCBASED_CTLS, primary)) {
        return false;
    }
    return secondary == 0 || (allows(IA32_VMX_TRUE_PROCBASED_CTLS, PRIMARY_SECONDARY_CONTROLS) &&
                              allows(IA32_VMX_PROCBASED_CTLS2, secondary));
}

static void set_revision(uint8_t *region)
{
    uint32_t revision = (uint32_t)rdmsr(IA32_VMX_BASIC) & 0x7FFFFFFF;
    memcpy(region, &revision, sizeof(revision));
}

static void must(bool failed, const char *instruction)
{
    if (failed) {
        guest_fail("%s failed", instruction);
    }
}

void vmx_on(void)
{
    uint64_t region = (uintptr_t)vmxon_regions[cpu_number()];
    bool failed;
    set_revision(vmxon_regions[cpu_number()]);
    write_cr0((read_cr0() | rdmsr(IA32_VMX_CR0_FIXED0)) & rdmsr(IA32_VMX_CR0_FIXED1));
    write_cr4((read_cr4() | rdmsr(IA32_VMX_CR4_FIXED0)) & rdmsr(IA32_VMX_CR4_FIXED1));
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    must(failed, "VMXON");
}

void vmx_off(void)
{
    bool failed;
    __asm__ volatile("vmxoff" : "=@ccbe"(failed) : : "memory");
    must(failed, "VMXOFF");
    write_cr4(read_cr4() & ~CR4_VMXE);
}

static void make_current(struct vmx_guest *guest)
{
    uint64_t region = (uintptr_t)guest->vmcs;
    bool failed;
    memset(guest->vmcs, 0, sizeof(guest->vmcs));
    set_revision(guest->vmcs);
    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    must(failed, "VMCLEAR");
    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    must(failed, "VMPTRLD");
}

/* The controls that must be 1, and those asked for. */
static uint32_t adjust(uint32_t msr, uint32_t controls)
{
    return (uint32_t)rdmsr(msr) | controls;
}

static void set_controls(const struct vmx_guest *guest)
{
    uint32_t primary = guest->primary;
    if (guest->secondary != 0) {
        primary |= PRIMARY_SECONDARY_CONTROLS;
        vmwrite(VMCS_SECONDARY_CONTROLS, adjust(IA32_VMX_PROCBASED_CTLS2, guest->secondary));
    }
    vmwrite(VMCS_PIN_CONTROLS, adjust(IA32_VMX_TRUE_PINBASED_CTLS, guest->pin));
    vmwrite(VMCS_PRIMARY_CONTROLS, adjust(IA32_VMX_TRUE_PROCBASED_CTLS, primary));
    vmwrite(VMCS_EXIT_CONTROLS,
            adjust(IA32_VMX_TRUE_EXIT_CTLS,
                   guest->exit_controls | EXIT_HOST_ADDRESS_SPACE_SIZE | EXIT_LOAD_EFER));
    vmwrite(VMCS_ENTRY_CONTROLS,
            adjust(IA32_VMX_TRUE_ENTRY_CTLS, ENTRY_IA32E_MODE_GUEST | ENTRY_LOAD_EFER));
    vmwrite(VMCS_EXCEPTION_BITMAP, 0);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MASK, 0);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_ENTRY_INTERRUPTION_INFORMATION, 0);
    vmwrite(VMCS_CR0_GUEST_HOST_MASK, 0);
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, 0);
}

static void set_virtual_apic(struct vmx_guest *guest)
{
    memset(guest->virtual_apic, 0, sizeof(guest->virtual_apic));
    if ((guest->primary & PRIMARY_USE_TPR_SHADOW) != 0) {
        vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, (uintptr_t)guest->virtual_apic);
        vmwrite(VMCS_TPR_THRESHOLD, 0);
    }
    if ((guest->secondary & SECONDARY_VIRTUAL_INTERRUPT_DELIVERY) != 0) {
        vmx_set_interrupt_status(0, 0);
        vmwrite(VMCS_EOI_EXIT_BITMAP_0, 0);
        vmwrite(VMCS_EOI_EXIT_BITMAP_1, 0);
        vmwrite(VMCS_EOI_EXIT_BITMAP_2, 0);
        vmwrite(VMCS_EOI_EXIT_BITMAP_3, 0);
    }
}

static void set_host_state(void)
{
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_EFER, rdmsr(IA32_EFER));
    vmwrite(VMCS_HOST_CS_SELECTOR, SELECTOR_CODE);
    vmwrite(VMCS_HOST_SS_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_DS_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_ES_SELECTOR, SELECTOR_DATA);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, SELECTOR_TSS);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, 0);
    vmwrite(VMCS_HOST_TR_BASE, cpu_tss_base(cpu_number()));
    vmwrite(VMCS_HOST_GDTR_BASE, cpu_gdt_base(cpu_number()));
    vmwrite(VMCS_HOST_IDTR_BASE, interrupts_idt_base());
    vmwrite(VMCS_HOST_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
}

static void set_segment(unsigned segment, uint16_t selector, uint64_t base, uint32_t limit,
                        uint32_t access)
{
    vmwrite(vmcs_segment(VMCS_GUEST_ES_SELECTOR, segment), selector);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_BASE, segment), base);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_LIMIT, segment), limit);
    vmwrite(vmcs_segment(VMCS_GUEST_ES_ACCESS_RIGHTS, segment), access);
}

static void set_guest_segments(void)
{
    set_segment(SEGMENT_ES, SELECTOR_DATA, 0, 0xFFFFFFFF, ACCESS_DATA);
    set_segment(SEGMENT_CS, SELECTOR_CODE, 0, 0xFFFFFFFF, ACCESS_CODE64);
    set_segment(SEGMENT_SS, SELECTOR_DATA, 0, 0xFFFFFFFF, ACCESS_DATA);
    set_segment(SEGMENT_DS, SELECTOR_DATA, 0, 0xFFFFFFFF, ACCESS_DATA);
    set_segment(SEGMENT_FS, 0, 0, 0, ACCESS_UNUSABLE);
    set_segment(SEGMENT_GS, 0, 0, 0, ACCESS_UNUSABLE);
    set_segment(SEGMENT_LDTR, 0, 0, 0, ACCESS_UNUSABLE);
    set_segment(SEGMENT_TR, SELECTOR_TSS, cpu_tss_base(cpu_number()), 0x67, ACCESS_TSS);
    vmwrite(VMCS_GUEST_GDTR_BASE, cpu_gdt_base(cpu_number()));
    vmwrite(VMCS_GUEST_GDTR_LIMIT, 0xFFFF);
    vmwrite(VMCS_GUEST_IDTR_BASE, interrupts_idt_base());
    vmwrite(VMCS_GUEST_IDTR_LIMIT, INTERRUPTS_IDT_LIMIT);
}

static void set_guest_state(struct vmx_guest *guest, void (*code)(void))
{
    /* As after a CALL: RSP is 8 off a multiple of 16. */
    vmwrite(VMCS_GUEST_RSP, (uintptr_t)guest->stack + sizeof(guest->stack) - 8);
    vmwrite(VMCS_GUEST_RIP, (uintptr_t)code);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    vmwrite(VMCS_GUEST_CR0, read_cr0());
    vmwrite(VMCS_GUEST_CR3, read_cr3());
    vmwrite(VMCS_GUEST_CR4, read_cr4());
    vmwrite(VMCS_GUEST_EFER, rdmsr(IA32_EFER));
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_SYSENTER_EIP, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, 0);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
    vmwrite(VMCS_VMCS_LINK_POINTER, ~0ULL);
    set_guest_segments();
}

void vmx_prepare(struct vmx_guest *guest, void (*code)(void))
{
    make_current(guest);
    guest->launched = false;
    memset(&guest->registers, 0, sizeof(guest->registers));
    set_controls(guest);
    set_virtual_apic(guest);
    set_host_state();
    set_guest_state(guest, code);
}

unsigned vmx_enter(struct vmx_guest *guest)
{
    if (!vmx_run(&guest->registers, guest->launched)) {
        return VMX_ENTRY_FAILED + (unsigned)vmread(VMCS_INSTRUCTION_ERROR);
    }
    guest->launched = true;
    return (unsigned)vmread(VMCS_EXIT_REASON) & 0xFFFF;
}

void vmx_limit(uint32_t ticks)
{
    uint64_t shift = rdmsr(IA32_VMX_MISC) & 0x1F; /* the timer counts TSC >> shift */
    vmwrite(VMCS_PREEMPTION_TIMER_VALUE, ticks >> shift);
}

void vmx_set_interrupt_status(uint8_t rvi, uint8_t svi)
{
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS, (uint64_t)svi << 8 | rvi);
}

uint8_t vmx_rvi(void)
{
    return (uint8_t)vmread(VMCS_GUEST_INTERRUPT_STATUS);
}

void vmx_set_virr(struct vmx_guest *guest, uint8_t vector)
{
    guest->virtual_apic[APIC_IRR + vector / 32 * 16 + vector % 32 / 8] |=
        (uint8_t)(1 << vector % 8);
}
