/* SPDX-License-Identifier: MIT */
/*
 * Statements of the SDM about INIT, start-up, MONITOR and VM exits that an unpatched Bochs 3.0 breaks with
 * several CPUs: one per patch in tools/bochs/patches. Needs two CPUs. `test=NAME` runs one of them.
 * guest: bare-only cpus=2
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"
#include "tests/guests/lib/vmx.h"

enum { OTHER = 1, LONG_WAIT = 20000000, LIMIT = 1000000 };

static struct vmx_guest nested;
static volatile uint64_t ready;
static volatile uint64_t go;
static volatile uint64_t survived;
static volatile unsigned first_exit;
static volatile unsigned second_exit;

static void code_spin(void)
{
    for (;;) {
        cpu_relax();
    }
}

static void signal_and_wait(void)
{
    go = 0;
    ready = 1;
    while (!go) {
        cpu_relax();
    }
}

/* On the other CPU: gets INIT twice in root operation, enters with the first, leaves VMX with the second. */
static void other_takes_init(void *argument)
{
    (void)argument;
    vmx_on();
    nested.pin = PIN_PREEMPTION_TIMER;
    vmx_prepare(&nested, code_spin);
    vmx_limit(LIMIT);
    signal_and_wait();
    first_exit = vmx_enter(&nested);
    vmx_limit(LIMIT);
    second_exit = vmx_enter(&nested);
    signal_and_wait();
    vmx_off();
    survived = 1;
    for (;;) {
        cpu_relax();
    }
}

static void wait_ready(void)
{
    if (guest_wait(&ready, LONG_WAIT) == 0) {
        guest_fail("the other CPU does not answer");
    }
    ready = 0;
}

static void send_init_and_go(void)
{
    wait_ready();
    apic_send_ipi(cpu_apic_id(OTHER), ICR_INIT | ICR_ASSERT);
    go = 1;
}

static void test_init_pending_in_root(void)
{
    if (!vmx_usable()) {
        guest_fail("no VMX");
    }
    ready = 0;
    cpu_run_async(OTHER, other_takes_init, NULL);
    send_init_and_go();
    send_init_and_go();
    report(first_exit == EXIT_REASON_INIT_SIGNAL,
           "INIT that came in root operation exits after entry");
    report(second_exit == EXIT_REASON_PREEMPTION_TIMER, "it does so once");
    report(guest_wait(&survived, LIMIT) == 0, "INIT that came in root operation resets at VMXOFF");
    survived = 0;
    cpu_send_init(OTHER);
    cpu_send_startup(OTHER);
    cpu_wait_started(OTHER);
    report(survived == 0, "the CPU starts again");
}

static volatile uint64_t base_seen;

static void other_enters_x2apic(void *argument)
{
    (void)argument;
    apic_enter_x2apic();
}

static void other_reads_base(void *argument)
{
    (void)argument;
    base_seen = rdmsr(IA32_APIC_BASE);
}

static void restart_other(void)
{
    cpu_send_init(OTHER);
    cpu_send_startup(OTHER);
    cpu_wait_started(OTHER);
    cpu_run_async(OTHER, other_reads_base, NULL);
    cpu_wait(OTHER);
}

static void test_init_keeps_apic_mode(void)
{
    restart_other();
    report((base_seen & (APIC_BASE_EN | APIC_BASE_EXTD)) == APIC_BASE_EN,
           "INIT in xAPIC mode: stays in xAPIC mode");
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    cpu_run_async(OTHER, other_enters_x2apic, NULL);
    cpu_wait(OTHER);
    restart_other();
    report((base_seen & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD),
           "INIT in x2APIC mode: stays in x2APIC mode");
    report((base_seen & APIC_BASE_BSP) == 0, "and does not become the boot processor");
}

/* The same page by two linear addresses: one below 1 GiB, one ALIAS above it. */
enum { ALIAS_GIB = 4 };
static volatile uint64_t watched[PAGE_SIZE / 8] __attribute__((aligned(PAGE_SIZE)));
static volatile uint64_t woke;
extern uint64_t guest_pdpt[512]; /* boot.S */

static void other_sleeps(void *argument)
{
    (void)argument;
    __asm__ volatile("monitor" : : "a"(watched), "c"(0), "d"(0));
    ready = 1;
    if (watched[0] == 1) {
        __asm__ volatile("mwait" : : "a"(0), "c"(0));
    }
    woke = watched[0];
}

static void test_monitor_wakes(void)
{
    if ((cpuid_read(1, 0).ecx & CPUID_1_ECX_MONITOR) == 0) {
        report_skip("no MONITOR");
        return;
    }
    guest_pdpt[ALIAS_GIB] = guest_pdpt[0];
    volatile uint64_t *alias = (volatile uint64_t *)((uintptr_t)watched + GIB(ALIAS_GIB));
    *alias = 1; /* and the translation is cached */
    ready = 0;
    woke = 0;
    cpu_run_async(OTHER, other_sleeps, NULL);
    wait_ready();
    report(guest_wait(&woke, LIMIT) == 0, "MWAIT waits");
    *alias = 2;
    report(guest_wait(&woke, LIMIT) == 2, "a store by another linear address ends it");
}

/* Nothing but #UD, each with its handler; RSP in between is where it was at the start. */
enum { UD2_LENGTH = 2, ENTRIES = 3000, SHORT_LIMIT = 50, LIMITS = 97 };
extern const char code_ud2[], code_ud2_end[];
__asm__(".text\n"
        "code_ud2: ud2\n"
        "jmp code_ud2\n"
        "code_ud2_end:");

static void skip_ud2(struct interrupt_frame *frame)
{
    frame->rip += UD2_LENGTH;
}

static void test_exit_after_exception(void)
{
    unsigned in_handler = 0, torn = 0, other = 0;
    interrupt_set_handler(EXCEPTION_UD, skip_ud2);
    vmx_on();
    nested.pin = PIN_PREEMPTION_TIMER;
    vmx_prepare(&nested, (void (*)(void))(uintptr_t)code_ud2);
    uint64_t top = vmread(VMCS_GUEST_RSP);
    for (unsigned i = 0; i < ENTRIES; i++) {
        vmx_limit(SHORT_LIMIT + i % LIMITS);
        other += vmx_enter(&nested) != EXIT_REASON_PREEMPTION_TIMER;
        uint64_t rip = vmread(VMCS_GUEST_RIP);
        bool outside = rip < (uintptr_t)code_ud2 || rip >= (uintptr_t)code_ud2_end;
        in_handler += outside;
        torn += !outside && vmread(VMCS_GUEST_RSP) != top;
    }
    vmx_off();
    interrupt_set_handler(EXCEPTION_UD, NULL);
    report(other == 0 && in_handler > 0,
           "the preemption timer ends a guest that handles exceptions");
    report(torn == 0, "an exit after the delivery of an exception saves the RIP of its handler");
}

/* One CPU waits by STI and HLT for interrupts of another, which takes exceptions all the time. */
enum { VECTOR_WAKE = 0x40, NAPS = 2000, EXCEPTIONS = 3, DELAYS = 61 };
static volatile unsigned before_hlt;
static volatile uint64_t done;
void nap(void);
extern const char code_hlt[];
__asm__(".text\n"
        "nap: sti\n"
        "code_hlt: hlt\n"
        "cli\n"
        "ret");

static void count_early(struct interrupt_frame *frame)
{
    before_hlt += frame->rip == (uintptr_t)code_hlt;
    apic_eoi();
}

static void other_sends(void *argument)
{
    (void)argument;
    while (!done) {
        apic_send_ipi(cpu_apic_id(0), ICR_ASSERT | VECTOR_WAKE);
        for (unsigned i = 0; i < EXCEPTIONS; i++) {
            __asm__ volatile("ud2" : : : "memory");
        }
    }
}

static void test_sti_before_hlt(void)
{
    interrupt_set_handler(EXCEPTION_UD, skip_ud2);
    interrupt_set_handler(VECTOR_WAKE, count_early);
    before_hlt = 0;
    done = 0;
    cpu_run_async(OTHER, other_sends, NULL);
    for (unsigned i = 0; i < NAPS; i++) {
        for (unsigned delay = i % DELAYS; delay > 0; delay--) {
            cpu_relax();
        }
        nap();
    }
    done = 1;
    cpu_wait(OTHER);
    interrupt_set_handler(EXCEPTION_UD, NULL);
    report(before_hlt == 0, "no interrupt comes between STI and HLT");
}

void guest_main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "init-pending-in-root", test_init_pending_in_root },
        { "init-keeps-apic-mode", test_init_keeps_apic_mode },
        { "monitor-wakes", test_monitor_wakes },
        { "exit-after-exception", test_exit_after_exception },
        { "sti-before-hlt", test_sti_before_hlt },
    };
    apic_enable(0xFF);
    if (cpu_start_all() < 2) {
        guest_fail("needs two CPUs");
    }
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
        if (guest_wants(tests[i].name)) {
            guest_print("%s\n", tests[i].name);
            tests[i].run();
        }
    }
}
