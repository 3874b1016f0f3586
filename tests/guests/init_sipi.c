/* SPDX-License-Identifier: MIT */
/*
 * INIT and start-up IPIs: who heeds them, and the state they leave (SDM volume 3, "MP Initialization
 * Protocol", table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT", "Local
 * APIC State After an INIT Reset").
 *
 * guest: cpus=2 protected='test=init-stops,init-halted,state,msrs,x2apic'
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { OTHER = 1, VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, A_WHILE = 1000000 };
enum { CAPTURE_PAGE = 0x9000, CAPTURE_STATE = 0x800 };

/* What the code below stores, at CAPTURE_STATE in its page. */
struct state {
    uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp;
    uint32_t cr0, cr2, cr3, cr4;
    uint32_t eflags;
    uint32_t ip;
    uint16_t cs, ds, es, ss, fs, gs;
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint16_t idt_limit;
    uint32_t idt_base;
    uint32_t count;
} __attribute__((packed));

/* Real mode, at CAPTURE_PAGE: state to memory, then what a start-up IPI to page 8 does. */
extern const uint8_t capture_code[], capture_code_end[];
__asm__(".pushsection .rodata\n"
        ".code16\n"
        "capture_code:\n"
        "    movl %eax, %cs:0x800\n"
        "    movl %ebx, %cs:0x804\n"
        "    movl %ecx, %cs:0x808\n"
        "    movl %edx, %cs:0x80C\n"
        "    movl %esi, %cs:0x810\n"
        "    movl %edi, %cs:0x814\n"
        "    movl %ebp, %cs:0x818\n"
        "    movl %esp, %cs:0x81C\n"
        "    movl %cr0, %eax\n"
        "    movl %eax, %cs:0x820\n"
        "    movl %cr2, %eax\n"
        "    movl %eax, %cs:0x824\n"
        "    movl %cr3, %eax\n"
        "    movl %eax, %cs:0x828\n"
        "    movl %cr4, %eax\n"
        "    movl %eax, %cs:0x82C\n"
        "    movw %ds, %cs:0x83A\n"
        "    movw %es, %cs:0x83C\n"
        "    movw %ss, %cs:0x83E\n"
        "    movw %fs, %cs:0x840\n"
        "    movw %gs, %cs:0x842\n"
        "    movw %cs, %cs:0x838\n"
        "    movw %cs, %ax\n"
        "    movw %ax, %ss\n"
        "    movl $0x1000, %esp\n"
        "    pushfl\n"
        "    popl %cs:0x830\n"
        "    call 1f\n"
        "1:  popw %ax\n"
        "    subw $(1b - capture_code), %ax\n"
        "    movzwl %ax, %eax\n"
        "    movl %eax, %cs:0x834\n"
        "    sgdtl %cs:0x844\n"
        "    sidtl %cs:0x84A\n"
        "    incl %cs:0x850\n"
        "    ljmp $0, $0x8000\n"
        "capture_code_end:\n"
        ".code64\n"
        ".popsection\n");

static volatile struct state *const state =
    (volatile struct state *)(uintptr_t)(CAPTURE_PAGE + CAPTURE_STATE);

static void send_init(void)
{
    apic_send_ipi(cpu_apic_id(OTHER), ICR_INIT | ICR_ASSERT);
}

static void send_capture(void)
{
    apic_send_ipi(cpu_apic_id(OTHER), ICR_STARTUP | ICR_ASSERT | CAPTURE_PAGE >> 12);
}

static void pass_ticks(uint64_t ticks)
{
    const volatile uint64_t never = 0;
    guest_wait(&never, ticks);
}

/* INIT, and start through the capturing code. */
static void restart_captured(void)
{
    memset((void *)(uintptr_t)CAPTURE_PAGE, 0xCC, PAGE_SIZE);
    memcpy((void *)(uintptr_t)CAPTURE_PAGE, capture_code,
           (size_t)(capture_code_end - capture_code));
    memset((void *)(uintptr_t)state, 0, sizeof(*state));
    cpu_send_init(OTHER);
    cpu_prepare_startup(OTHER);
    send_capture();
    cpu_wait_started(OTHER);
}

static volatile uint64_t counter;

static void count_for_ever(void *unused)
{
    (void)unused;
    for (;;) {
        counter++;
    }
}

static bool counts(void)
{
    uint64_t before = counter;
    pass_ticks(A_WHILE);
    return counter != before;
}

static void test_init_stops(void)
{
    cpu_run_async(OTHER, count_for_ever, NULL);
    report(counts(), "a CPU runs");
    send_capture();
    report(counts(), "a start-up IPI does not disturb it");
    apic_send_ipi(cpu_apic_id(OTHER), ICR_INIT | ICR_LEVEL);
    report(counts(), "nor does INIT level de-assert");
    send_init();
    report(!counts(), "INIT stops it");
    send_init();
    report(!counts(), "a second INIT as well");
    apic_send_ipi(cpu_apic_id(OTHER), ICR_NMI | ICR_ASSERT);
    apic_send_ipi(cpu_apic_id(OTHER), ICR_ASSERT | VECTOR);
    report(!counts(), "neither NMI nor an interrupt wakes it");
    restart_captured();
    report(state->count == 1, "INIT and a start-up IPI start it");
    send_capture();
    pass_ticks(A_WHILE);
    report(state->count == 1, "the next start-up IPI is ignored");
}

static void halt_for_ever(void *unused)
{
    (void)unused;
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static void test_init_halted(void)
{
    cpu_run_async(OTHER, halt_for_ever, NULL);
    pass_ticks(A_WHILE);
    restart_captured();
    report(state->count == 1, "INIT reaches a CPU that halts with interrupts off");
}

static void test_state(void)
{
    restart_captured();
    report(state->cs == CAPTURE_PAGE >> 4 && state->ip == 0, "start: CS:IP is vector * 100H : 0");
    report(state->ds == 0 && state->es == 0 && state->ss == 0 && state->fs == 0 && state->gs == 0,
           "start: the other segments are 0");
    report(state->eflags == 2, "start: EFLAGS is 2");
    report((state->cr0 & ~(uint32_t)(CR0_CD | CR0_NW)) == CR0_ET,
           "start: CR0 is 10H but CD and NW");
    report(state->cr2 == 0 && state->cr3 == 0 && state->cr4 == 0, "start: CR2, CR3 and CR4 are 0");
    report(state->eax == 0 && state->ebx == 0 && state->ecx == 0 && state->esi == 0 &&
               state->edi == 0 && state->ebp == 0 && state->esp == 0,
           "start: the general registers but EDX are 0");
    report((state->edx & 0xF00) == 0x600, "start: EDX has the family");
    report(state->gdt_base == 0 && state->gdt_limit == 0xFFFF, "start: GDTR is 0, limit FFFFH");
    report(state->idt_base == 0 && state->idt_limit == 0xFFFF, "start: IDTR is 0, limit FFFFH");
}

static struct {
    uint64_t star, lstar, fmask, gs, pat, sysenter, tsc;
    uint64_t dr0, dr6, dr7;
} seen;

/* On the other CPU. */
static void change_msrs(void *unused)
{
    (void)unused;
    wrmsr(IA32_STAR, 0x0010000800000000);
    wrmsr(IA32_LSTAR, 0x123456);
    wrmsr(IA32_FMASK, 0x47700);
    wrmsr(IA32_KERNEL_GS_BASE, 0x56789000);
    wrmsr(IA32_SYSENTER_EIP, 0x654321);
    wrmsr(IA32_PAT, 0x0007010600070106);
    write_dr0(0x1000);
    write_dr7(DR7_RESET | 1);
    seen.tsc = rdtsc();
}

static void look_at_msrs(void *unused)
{
    (void)unused;
    seen.star = rdmsr(IA32_STAR);
    seen.lstar = rdmsr(IA32_LSTAR);
    seen.fmask = rdmsr(IA32_FMASK);
    seen.gs = rdmsr(IA32_KERNEL_GS_BASE);
    seen.sysenter = rdmsr(IA32_SYSENTER_EIP);
    seen.pat = rdmsr(IA32_PAT);
    seen.dr0 = read_dr0();
    seen.dr6 = read_dr6();
    seen.dr7 = read_dr7();
}

static void test_msrs(void)
{
    cpu_run(OTHER, change_msrs, NULL);
    uint64_t tsc = seen.tsc;
    restart_captured();
    cpu_run(OTHER, look_at_msrs, NULL);
    report(seen.star == 0x0010000800000000, "INIT keeps STAR");
    report(seen.lstar == 0x123456, "INIT keeps LSTAR");
    report(seen.fmask == 0x47700, "INIT keeps FMASK");
    report(seen.gs == 0x56789000, "INIT keeps KERNEL_GS_BASE");
    report(seen.sysenter == 0x654321, "INIT keeps SYSENTER_EIP");
    report(seen.pat == 0x0007010600070106, "INIT keeps PAT");
    report(rdtsc() > tsc, "INIT does not set the TSC back");
    report(seen.dr0 == 0 && seen.dr7 == DR7_RESET && seen.dr6 == DR6_RESET,
           "INIT resets the debug registers");
}

/* On the other CPU: nothing in its local APIC is as after reset. */
static void change_apic(void *enter_x2apic)
{
    arrivals_record_in_service(VECTOR);
    apic_enable(VECTOR_SPURIOUS);
    if (enter_x2apic != NULL && !apic_is_x2apic()) {
        apic_enter_x2apic();
    }
    if (!apic_is_x2apic()) {
        apic_write(APIC_LDR, 0x01000000);
        apic_write(APIC_DFR, 0x0FFFFFFF);
    }
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_INITIAL_COUNT, 0x7FFFFFFF);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    apic_self_ipi(VECTOR);
    apic_write(APIC_TPR, 0x20);
}

static uint32_t apic_after[0x40];
static uint64_t base_after;

static void look_at_apic(void *unused)
{
    (void)unused;
    base_after = rdmsr(IA32_APIC_BASE);
    for (unsigned reg = APIC_ID; reg <= APIC_DIVIDE; reg += 0x10) {
        bool readable =
            reg <= APIC_PPR
                ? reg != 0x40 && reg != 0x50 && reg != 0x60 && reg != 0x70 && reg != 0x90
                : reg == APIC_LDR || reg == APIC_SVR || (reg >= APIC_ISR && reg <= APIC_ESR) ||
                      (reg >= APIC_LVT_TIMER && reg <= APIC_CURRENT_COUNT) || reg == APIC_DIVIDE ||
                      reg == APIC_ICR;
        if (readable) {
            apic_after[reg >> 4] = apic_read(reg);
        }
    }
}

static uint32_t after(unsigned reg)
{
    return apic_after[reg >> 4];
}

static void report_apic_after_init(const char *mode, bool x2apic)
{
    restart_captured();
    cpu_run(OTHER, look_at_apic, NULL);
    uint64_t expected = APIC_BASE_EN | (x2apic ? APIC_BASE_EXTD : 0);
    uint32_t id = cpu_apic_id(OTHER);
    uint32_t any = 0;
    for (unsigned reg = APIC_ISR; reg <= APIC_IRR + 0x70; reg += 0x10) {
        any |= after(reg);
    }
    bool lvts = true;
    for (unsigned reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg += 0x10) {
        lvts = after(reg) == LVT_MASKED && lvts;
    }
    report((base_after & 0xFFF) == expected, "%s: INIT keeps the mode", mode);
    report(after(APIC_ID) == (x2apic ? id : id << 24), "%s: INIT keeps the id", mode);
    report(after(APIC_SVR) == SVR_RESET, "%s: after INIT SVR is FFH", mode);
    report(after(APIC_TPR) == 0 && after(APIC_PPR) == 0, "%s: after INIT TPR and PPR are 0", mode);
    report(any == 0, "%s: after INIT IRR, ISR and TMR are 0", mode);
    report(lvts, "%s: after INIT the LVT entries are masked", mode);
    report(after(APIC_INITIAL_COUNT) == 0 && after(APIC_CURRENT_COUNT) == 0 &&
               after(APIC_DIVIDE) == 0,
           "%s: after INIT the timer is stopped", mode);
    report(after(APIC_ICR) == 0, "%s: after INIT ICR is 0", mode);
    report(after(APIC_LDR) == (x2apic ? BIT32(id) : 0), "%s: LDR after INIT", mode);
}

static void test_apic(void)
{
    cpu_run(OTHER, change_apic, NULL);
    report_apic_after_init("xAPIC", false);
}

static void test_x2apic(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    cpu_run(OTHER, change_apic, (void *)1);
    report_apic_after_init("x2APIC", true);
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "init-stops", test_init_stops },
        { "init-halted", test_init_halted },
        { "state", test_state },
        { "msrs", test_msrs },
        { "apic", test_apic },
        { "x2apic", test_x2apic },
    };
    apic_enable(VECTOR_SPURIOUS);
    if (cpu_start_all() < 2) {
        guest_fail("needs two CPUs");
    }
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
