/* SPDX-License-Identifier: MIT */
/* Start of the application processors (SDM volume 3, "Multiple-Processor Management"). */
#include "arch/smp.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/acpi.h"
#include "arch/cpu.h"
#include "arch/descriptor.h"
#include "arch/interrupts.h"
#include "arch/memory.h"
#include "arch/paging.h"
#include "arch/tsc.h"
#include "arch/x86.h"
#include "lib/log.h"
#include "lib/string.h"

extern const uint8_t smp_trampoline[], smp_trampoline_end[]; /* boot/trampoline.S */

/* boot/entry.S puts the boot CPU on the main stack of these. */
struct cpu_stacks boot_cpu_stacks __attribute__((aligned(4096)));

/* What a starting CPU finds, one at a time; read by boot/entry.S. */
uint64_t smp_ap_root;
uint64_t smp_ap_stack;
static struct cpu *starting;

static struct cpu cpus[MAX_CPUS];
static struct arch_cpu arch_cpus[MAX_CPUS];
static unsigned count;
static _Atomic unsigned arrived; /* CPUs in C code, the boot CPU among them */

/* smp_call_all: a new generation number publishes call; each CPU adds itself to call_done. */
static void (*call)(void);
static _Atomic unsigned call_generation;
static _Atomic unsigned call_done;
static void (*_Atomic release)(void);

unsigned cpu_count(void)
{
    return count;
}

struct cpu *cpu_by_index(unsigned index)
{
    ASSERT(index < count);
    return &cpus[index];
}

static struct cpu *set_up(unsigned index, struct cpu_stacks *stacks)
{
    struct cpu *cpu = &cpus[index];
    arch_cpus[index].stacks = stacks;
    cpu->index = index;
    cpu->arch = &arch_cpus[index];
    descriptor_prepare(cpu);
    return cpu;
}

void smp_init_boot_cpu(void)
{
    descriptor_load(set_up(0, &boot_cpu_stacks));
    count = 1;
    atomic_store(&arrived, 1);
}

static void unmap_guards(const struct cpu_stacks *stacks)
{
    paging_unmap_page((uintptr_t)stacks->main_guard);
    paging_unmap_page((uintptr_t)stacks->nmi_guard);
    paging_unmap_page((uintptr_t)stacks->df_guard);
    paging_unmap_page((uintptr_t)stacks->mc_guard);
}

void smp_protect_stacks(void)
{
    unmap_guards(&boot_cpu_stacks);
}

/* All stacks before the first CPU starts: guard pages are unmapped without a TLB shootdown. */
static unsigned allocate_stacks(unsigned wanted)
{
    for (unsigned i = 1; i < wanted; i++) {
        struct cpu_stacks *stacks = memory_alloc(sizeof(*stacks), PAGE_SIZE);
        if (stacks == NULL) {
            log_warn("memory for the stacks of %u CPUs only", i);
            return i;
        }
        unmap_guards(stacks);
        arch_cpus[i].stacks = stacks;
    }
    return wanted;
}

static bool wait_for_arrival(unsigned expected, uint64_t microseconds)
{
    uint64_t end = rdtsc() + tsc_hz() / 1000000 * microseconds;
    while (atomic_load(&arrived) != expected) {
        if ((int64_t)(rdtsc() - end) >= 0) {
            return false;
        }
        cpu_relax();
    }
    return true;
}

/* INIT, 10 ms, SIPI, 200 us, SIPI (SDM volume 3, "MP Initialization Protocol Algorithm"). */
static bool start(struct cpu *cpu, uint8_t page)
{
    const struct interrupt_controller *controller = interrupts_controller();
    unsigned expected = cpu->index + 1;
    smp_ap_root = paging_root();
    smp_ap_stack = (uintptr_t)cpu->arch->stacks + STACK_MAIN_TOP;
    starting = cpu;
    controller->send_init(cpu->apic_id);
    wait_for_arrival(expected, 10000);
    controller->send_startup(cpu->apic_id, page);
    if (wait_for_arrival(expected, 200)) {
        return true;
    }
    controller->send_startup(cpu->apic_id, page);
    if (wait_for_arrival(expected, 1000000)) {
        return true;
    }
    controller->send_init(
        cpu->apic_id); /* so that it cannot arrive late, on the next one's stack */
    return false;
}

static void start_others(uint8_t page, unsigned limit)
{
    for (unsigned i = 0; i < acpi()->cpu_count && count < limit; i++) {
        uint32_t apic_id = acpi()->apic_ids[i];
        if (apic_id == cpus[0].apic_id) {
            continue;
        }
        struct cpu *cpu = set_up(count, arch_cpus[count].stacks);
        cpu->apic_id = apic_id;
        if (start(cpu, page)) {
            count++;
        } else {
            log_warn("CPU with APIC id %u does not start; going on without it", apic_id);
        }
    }
}

void smp_start(void)
{
    uint64_t page = memory_low_page();
    cpus[0].apic_id = interrupts_controller()->id();
    unsigned wanted = acpi()->cpu_count < MAX_CPUS ? acpi()->cpu_count : MAX_CPUS;
    if (wanted > 1 && page == 0) {
        log_warn("no RAM below 640 KiB to start the other CPUs from; using one CPU");
    } else if (wanted > 1) {
        memcpy((void *)page, smp_trampoline,
               (uintptr_t)smp_trampoline_end - (uintptr_t)smp_trampoline);
        start_others((uint8_t)(page >> 12), allocate_stacks(wanted));
    }
    log_info("CPUs: %u of %u started", count, acpi()->cpu_count);
}

void smp_call_all(void (*function)(void))
{
    function();
    call = function;
    atomic_store(&call_done, 0);
    atomic_fetch_add(&call_generation, 1);
    while (atomic_load(&call_done) != count - 1) {
        cpu_relax();
    }
}

void smp_release(void (*function)(void))
{
    atomic_store(&release, function);
}

/* Where the other CPUs wait for the boot CPU's calls; returns the function to go on with for good. */
static void (*serve_calls(void))(void)
{
    void (*next)(void);
    unsigned served = 0;
    while ((next = atomic_load(&release)) == NULL) {
        unsigned generation = atomic_load(&call_generation);
        if (generation != served) {
            served = generation;
            call();
            atomic_fetch_add(&call_done, 1);
        }
        cpu_relax();
    }
    return next;
}

/* First C code of every other CPU, from boot/entry.S on its own stack. */
void smp_ap_main(void)
{
    struct cpu *cpu = starting;
    descriptor_load(cpu);
    paging_init_cpu();
    interrupts_controller()->init_cpu();
    atomic_fetch_add(&arrived, 1);
    serve_calls()();
    panic("CPU %u: the function given to smp_release returned", cpu->index);
}
