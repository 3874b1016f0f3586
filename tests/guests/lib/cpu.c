/* SPDX-License-Identifier: MIT */
/* The CPUs of the machine: segment tables, start by INIT-SIPI-SIPI, giving them work (SDM volume 3,
   chapter "Multiple-Processor Management"). */
#include "tests/guests/lib/cpu.h"

#include "tests/guests/lib/acpi.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum { STACK_BYTES = 16384 };
enum { GDT_CODE = 1, GDT_DATA = 2, GDT_CODE32 = 3, GDT_TSS = 4, GDT_TOTAL = 6 };
enum { TSS_BYTES = 104 };

struct guest_cpu {
    uint64_t gdt[GDT_TOTAL];
    uint8_t tss[TSS_BYTES];
    void (*volatile work)(void *);
    void *volatile argument;
    volatile bool started;
    uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
};

static struct guest_cpu cpus[GUEST_MAX_CPUS];
static uint32_t apic_ids[GUEST_MAX_CPUS];
static unsigned count;

/* Read by boot.S on a started CPU. */
uint32_t guest_ap_stack;
uint32_t guest_ap_number;
extern const uint8_t guest_trampoline[], guest_trampoline_end[];

void cpu_load_tables(unsigned cpu)
{
    struct guest_cpu *me = &cpus[cpu];
    uint64_t tss = (uintptr_t)me->tss;
    me->gdt[GDT_CODE] = 0x00AF9B000000FFFFULL;
    me->gdt[GDT_DATA] = 0x00CF93000000FFFFULL;
    me->gdt[GDT_CODE32] = 0x00CF9B000000FFFFULL;
    me->gdt[GDT_TSS] =
        (TSS_BYTES - 1) | (tss & 0xFFFFFF) << 16 | 0x89ULL << 40 | (tss >> 24 & 0xFF) << 56;
    me->gdt[GDT_TSS + 1] = tss >> 32;
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { sizeof(me->gdt) - 1, cpu_gdt_base(cpu) };
    __asm__ volatile("lgdt %0\n\t"
                     "ltr %w1\n\t"
                     "movl %2, %%ds; movl %2, %%es; movl %2, %%ss; movl %3, %%fs; movl %3, %%gs"
                     :
                     : "m"(pointer), "r"(SELECTOR_TSS), "r"(SELECTOR_DATA), "r"(0));
    interrupts_load();
}

uint64_t cpu_gdt_base(unsigned cpu)
{
    return (uintptr_t)cpus[cpu].gdt;
}

uint64_t cpu_tss_base(unsigned cpu)
{
    return (uintptr_t)cpus[cpu].tss;
}

unsigned cpu_number(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer;
    __asm__ volatile("sgdt %0" : "=m"(pointer));
    return (unsigned)((pointer.base - (uintptr_t)cpus) / sizeof(cpus[0]));
}

static void put_boot_cpu_first(void)
{
    uint32_t me = apic_id();
    for (unsigned i = 0; i < count; i++) {
        if (apic_ids[i] == me) {
            apic_ids[i] = apic_ids[0];
            apic_ids[0] = me;
        }
    }
}

unsigned cpu_count(void)
{
    if (count != 0) {
        return count;
    }
    count = (unsigned)guest_option_number("cpus", 0);
    if (count > GUEST_MAX_CPUS) {
        guest_fail("cpus= is at most %u", GUEST_MAX_CPUS);
    }
    for (unsigned i = 0; i < count; i++) {
        apic_ids[i] = i;
    }
    if (count == 0) {
        count = acpi_list_cpus(apic_ids, GUEST_MAX_CPUS);
    }
    if (count == 0) {
        count = 1;
        apic_ids[0] = apic_id();
    }
    put_boot_cpu_first();
    return count;
}

uint32_t cpu_apic_id(unsigned cpu)
{
    return apic_ids[cpu];
}

void cpu_send_init(unsigned cpu)
{
    cpus[cpu].started = false;
    cpus[cpu].work = NULL;
    apic_send_ipi(cpu_apic_id(cpu), ICR_INIT | ICR_ASSERT);
}

void cpu_prepare_startup(unsigned cpu)
{
    memcpy((void *)(uintptr_t)TRAMPOLINE_PAGE, guest_trampoline,
           (size_t)(guest_trampoline_end - guest_trampoline));
    guest_ap_stack = (uint32_t)(uintptr_t)(cpus[cpu].stack + STACK_BYTES);
    guest_ap_number = cpu;
}

void cpu_send_startup(unsigned cpu)
{
    cpu_prepare_startup(cpu);
    /* The second one is ignored by a CPU that the first one has started. */
    apic_send_ipi(cpu_apic_id(cpu), ICR_STARTUP | ICR_ASSERT | TRAMPOLINE_PAGE >> 12);
    apic_send_ipi(cpu_apic_id(cpu), ICR_STARTUP | ICR_ASSERT | TRAMPOLINE_PAGE >> 12);
}

bool cpu_started(unsigned cpu)
{
    return cpus[cpu].started;
}

void cpu_wait_started(unsigned cpu)
{
    while (!cpu_started(cpu)) {
        cpu_relax();
    }
}

unsigned cpu_start_all(void)
{
    for (unsigned cpu = 1; cpu < cpu_count(); cpu++) {
        cpu_send_init(cpu);
        cpu_send_startup(cpu);
        cpu_wait_started(cpu);
    }
    return cpu_count();
}

void cpu_serve(unsigned cpu)
{
    struct guest_cpu *me = &cpus[cpu];
    cpu_load_tables(cpu);
    me->started = true;
    for (;;) {
        if (me->work == NULL) {
            cpu_relax();
            continue;
        }
        me->work(me->argument);
        me->work = NULL;
    }
}

void cpu_run_async(unsigned cpu, void (*function)(void *), void *argument)
{
    cpus[cpu].argument = argument;
    cpus[cpu].work = function;
}

void cpu_wait(unsigned cpu)
{
    while (cpus[cpu].work != NULL) {
        cpu_relax();
    }
}

void cpu_run(unsigned cpu, void (*function)(void *), void *argument)
{
    cpu_run_async(cpu, function, argument);
    cpu_wait(cpu);
}
