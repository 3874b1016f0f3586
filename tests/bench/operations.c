/* SPDX-License-Identifier: MIT */
/*
 * What operations cost that a hypervisor takes part in: ticks of the TSC for each, as lines "NAME
 * TICKS". On Bochs these are instructions, the same in every run (tools/bench, docs/benchmarks.md).
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum { ROUNDS = 2000, VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, PORT_OF_NOBODY = 0x1234 };
enum { KVM_HC_VAPIC_POLL_IRQ = 1 };

#define XAPIC_PAGE 0xFEE00000UL
static volatile uint32_t *const ioapic = (volatile uint32_t *)0xFEC00000;

static volatile uint32_t handled;
static volatile bool stop;
static bool x2apic;

/* The local APIC without a look at its mode: that would be an exit of its own. */
static void local_write(unsigned reg, uint32_t value)
{
    if (x2apic) {
        wrmsr(0x800 + reg / 16, value);
    } else {
        *(volatile uint32_t *)(XAPIC_PAGE + reg) = value;
    }
}

static void count_and_eoi(struct interrupt_frame *frame)
{
    (void)frame;
    handled++;
    local_write(APIC_EOI, 0);
}

static void count_only(struct interrupt_frame *frame)
{
    (void)frame;
    handled++;
}

/* --- Operations ---------------------------------------------------------------------------------- */

static void nothing(void)
{
}

static void do_cpuid(void)
{
    uint32_t a = 0, c = 0;
    __asm__ volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
}

static void do_vmcall(void)
{
    uint64_t a = KVM_HC_VAPIC_POLL_IRQ;
    __asm__ volatile("vmcall" : "+a"(a) : : "memory");
}

static void do_wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static void do_in(void)
{
    (void)inb(PORT_OF_NOBODY);
}

static void do_tsc_adjust(void)
{
    (void)rdmsr(IA32_TSC_ADJUST);
}

static void do_cr8(void)
{
    __asm__ volatile("mov %0, %%cr8" : : "r"(0UL));
}

static void do_tpr(void)
{
    local_write(APIC_TPR, 0);
}

static void do_device_read(void)
{
    (void)ioapic[4];
}

/* Not one that a hypervisor emulates. */
static void do_device_product(void)
{
    uint32_t value;
    __asm__ volatile("imull $3, (%1), %0" : "=r"(value) : "r"(ioapic + 4) : "cc");
}

static void send_self(void)
{
    if (x2apic) {
        wrmsr(0x800 + APIC_SELF_IPI / 16, VECTOR);
    } else {
        local_write(APIC_ICR, ICR_SELF | VECTOR);
    }
}

static void self_ipi_nop(void)
{
    send_self();
    __asm__ volatile("sti; nop; cli");
}

static void self_ipi_hlt(void)
{
    send_self();
    __asm__ volatile("sti; hlt; cli");
}

static void deadline_now(void)
{
    uint32_t before = handled;
    wrmsr(IA32_TSC_DEADLINE, rdtsc());
    __asm__ volatile("sti; nop");
    while (handled == before) {
        __asm__ volatile("pause");
    }
    __asm__ volatile("cli");
}

static void send_to_other(void)
{
    wrmsr(0x800 + APIC_ICR / 16, (uint64_t)cpu_apic_id(1) << 32 | VECTOR);
}

/* An interrupt for CPU 1, until its handler has run. */
static void ipi(void)
{
    uint32_t before = handled;
    send_to_other();
    while (handled == before) {
        __asm__ volatile("pause");
    }
}

/* --- Measuring ------------------------------------------------------------------------------------- */

/* Ticks of one call, less the cost of calling. */
static void measure(const char *name, void (*operation)(void))
{
    static uint64_t empty;
    operation();
    uint64_t start = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++) {
        operation();
    }
    uint64_t ticks = (rdtsc() - start) / ROUNDS;
    if (operation == nothing) {
        empty = ticks;
    } else {
        guest_print("%s %lu\n", name, ticks - empty);
    }
}

static void measure_apic(const char *tpr, const char *nop, const char *hlt)
{
    interrupt_set_handler(VECTOR, count_and_eoi);
    measure(tpr, do_tpr);
    measure(nop, self_ipi_nop);
    measure(hlt, self_ipi_hlt);
}

static void measure_timer(void)
{
    local_write(APIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    measure("deadline-now", deadline_now);
    local_write(APIC_LVT_TIMER, LVT_MASKED);
}

static void wait_busy(void *unused)
{
    (void)unused;
    apic_enable(VECTOR_SPURIOUS);
    __asm__ volatile("sti");
    while (!stop) {
        __asm__ volatile("pause");
    }
    __asm__ volatile("cli");
}

static void wait_halted(void *unused)
{
    (void)unused;
    while (!stop) {
        __asm__ volatile("sti; hlt; cli");
    }
}

static void measure_ipi(const char *name, void (*waiting)(void *))
{
    stop = false;
    cpu_run_async(1, waiting, NULL);
    guest_wait(&(volatile uint64_t){ 0 }, 1000000);
    measure(name, ipi);
    stop = true;
    send_to_other(); /* out of HLT */
    cpu_wait(1);
}

static void measure_one_cpu(void)
{
    measure("cpuid", do_cpuid);
    measure("vmcall", do_vmcall);
    measure("wbinvd", do_wbinvd);
    measure("in-unclaimed", do_in);
    measure("rdmsr-tsc-adjust", do_tsc_adjust);
    measure("mov-to-cr8", do_cr8);
    measure("device-read", do_device_read);
    measure("device-imul", do_device_product);
    measure_apic("xapic-tpr", "xapic-self-ipi", "xapic-self-ipi-hlt");
    apic_enter_x2apic();
    x2apic = true;
    measure_apic("x2apic-tpr", "x2apic-self-ipi", "x2apic-self-ipi-hlt");
    measure_timer();
}

static void enter_x2apic(void *unused)
{
    (void)unused;
    apic_enter_x2apic();
}

static void measure_two_cpus(void)
{
    cpu_start_all();
    cpu_run(1, enter_x2apic, NULL);
    apic_enter_x2apic();
    x2apic = true;
    interrupt_set_handler(VECTOR, count_and_eoi);
    measure_ipi("ipi-running", wait_busy);
    measure_ipi("ipi-halted", wait_halted);
}

/* With two CPUs the TSC of Bochs advances by what they execute on average: not for other figures. */
void guest_main(void)
{
    interrupt_set_handler(VECTOR_SPURIOUS, count_only);
    apic_enable(VECTOR_SPURIOUS);
    measure("", nothing);
    if (cpu_count() == 1) {
        measure_one_cpu();
    } else {
        measure_two_cpus();
    }
    report(true, "measured");
}
