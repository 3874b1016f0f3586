/* SPDX-License-Identifier: MIT */
/* Checking for VMX and entering VMX operation (SDM volume 3, chapter "Introduction to VMX"). */
#include "vmx/vmx.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arch/cpu.h"
#include "arch/cpuid.h"
#include "arch/interrupts.h"
#include "arch/memory.h"
#include "arch/msr.h"
#include "arch/vectors.h"
#include "arch/x86.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmx/capabilities.h"
#include "vmx/cpu_state.h"
#include "vmx/policy.h"
#include "vmx/vmcs.h"

static struct vmx_capabilities machine;

/* The boot CPU decides what the others follow: they wait for it. */
static _Atomic bool machine_known;
static _Atomic bool boot_cpu_enabled;

static void wait_for(_Atomic bool *flag)
{
    while (!atomic_load(flag)) {
        cpu_relax();
    }
}

const struct vmx_capabilities *vmx_capabilities(void)
{
    return &machine;
}

static void check_feature_control(void)
{
    uint64_t value = rdmsr(IA32_FEATURE_CONTROL);
    if (!(value & FEATURE_CONTROL_LOCK)) {
        wrmsr(IA32_FEATURE_CONTROL, value | FEATURE_CONTROL_VMX_OUTSIDE_SMX | FEATURE_CONTROL_LOCK);
    } else if (!(value & FEATURE_CONTROL_VMX_OUTSIDE_SMX)) {
        fatal("CPU %u: IA32_FEATURE_CONTROL (3AH) bit 2: \"enable VMX outside SMX operation\" is "
              "clear and the register is locked; turn VMX on in the firmware setup",
              this_cpu()->index);
    }
}

/* A vCPU runs on any CPU's behalf with the same controls: all CPUs must offer the same. */
static void check_same(const struct vmx_capabilities *mine)
{
    if (memcmp(mine, &machine, sizeof(*mine)) != 0) {
        unsigned word = 0;
        while (word < CONTROL_WORDS - 1 &&
               mine->controls.available[word] == machine.controls.available[word]) {
            word++;
        }
        fatal("CPU %u: VMX capabilities differ from CPU 0's (%s allows %XH, there %XH)",
              this_cpu()->index, control_msr_name(word), mine->controls.available[word],
              machine.controls.available[word]);
    }
}

void vmx_check_cpu(void)
{
    if (!(cpuid_read(1, 0).ecx & CPUID_1_ECX_VMX)) {
        fatal("CPU %u: CPUID.01H:ECX bit 5: \"VMX\" is missing; Rivet needs an Intel CPU with VMX",
              this_cpu()->index);
    }
    check_feature_control();
    struct vmx_capabilities mine;
    capabilities_read(&mine);
    if (this_cpu()->index == 0) {
        machine = mine;
        capabilities_log(&machine);
        atomic_store(&machine_known, true);
    } else {
        wait_for(&machine_known);
        check_same(&mine);
    }
}

static void set_fixed_bits(void)
{
    write_cr0((read_cr0() | machine.cr0_fixed0) & machine.cr0_fixed1);
    uint64_t cr4 = read_cr4() | CR4_VMXE | machine.cr4_fixed0;
    write_cr4(cr4 & machine.cr4_fixed1);
}

static void vmxon(void *region)
{
    *(uint32_t *)region = (uint32_t)(machine.basic & VMX_BASIC_REVISION);
    uint64_t address = (uintptr_t)region;
    bool failed;
    __asm__ volatile("vmxon %[address]" : "=@ccbe"(failed) : [address] "m"(address) : "memory");
    if (failed) {
        panic("VMXON failed on CPU %u", this_cpu()->index);
    }
}

/* Whoever used VMX before Rivet may have left translations tagged with EPTPs and VPIDs of ours. */
static void invalidate_all(void)
{
    struct {
        uint64_t context, reserved;
    } descriptor = { 0, 0 };
    uint64_t all_ept = 2;
    uint64_t all_vpid = 2;
    if ((machine.ept_vpid & EPT_CAP_INVEPT) && (machine.ept_vpid & EPT_CAP_INVEPT_ALL)) {
        __asm__ volatile("invept %0, %1" : : "m"(descriptor), "r"(all_ept) : "memory", "cc");
    }
    if ((machine.ept_vpid & EPT_CAP_INVVPID) && (machine.ept_vpid & EPT_CAP_INVVPID_ALL)) {
        __asm__ volatile("invvpid %0, %1" : : "m"(descriptor), "r"(all_vpid) : "memory", "cc");
    }
}

/* Notifications and kicks have done their work by arriving: the CPU is in root mode now. */
static void arrived(void)
{
}

/* A vCPU of this CPU was woken by another one, or a blocked one's timer is due. */
static void woken(void)
{
    this_cpu()->vmx->reschedule = true;
}

static void set_interrupt_handlers(void)
{
    interrupts_set_handler(VECTOR_TIMER, woken);
    interrupts_set_handler(VECTOR_KICK, arrived);
    interrupts_set_handler(VECTOR_POSTED, arrived);
    interrupts_set_handler(VECTOR_POSTED_NESTED, arrived);
    interrupts_set_handler(VECTOR_POSTED_WAKEUP, woken);
}

void vmx_enable_cpu(void)
{
    struct vmx_cpu *cpu = memory_alloc(sizeof(*cpu), PAGE_SIZE);
    void *region = memory_alloc_page();
    if (cpu == NULL || region == NULL) {
        fatal("no memory for the VMXON region of CPU %u", this_cpu()->index);
    }
    set_fixed_bits();
    vmxon(region);
    invalidate_all();
    this_cpu()->vmx = cpu;
    if (this_cpu()->index == 0) {
        set_interrupt_handlers();
        policy_enable_cpu();
        atomic_store(&boot_cpu_enabled, true);
    } else {
        wait_for(&boot_cpu_enabled);
        policy_enable_cpu();
    }
}
