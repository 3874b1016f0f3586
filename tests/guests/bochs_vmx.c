/* SPDX-License-Identifier: MIT */
/*
 * Statements of the SDM about VMX non-root operation and virtual interrupts that an unpatched Bochs 3.0
 * breaks: one per patch in tools/bochs/patches. `test=NAME` runs one of them.
 * guest: bare-only
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"
#include "tests/guests/lib/vmx.h"

enum { VECTOR_PHYSICAL = 0x51, VECTOR_VIRTUAL = 0x61, VECTOR_NOTIFICATION = 0xF2 };
enum { LIMIT = 1000000 };
enum { UNMAPPED_GIB = 5 };

/* Posted-interrupt descriptor (SDM volume 3, table "Format of Posted-Interrupt Descriptor"). */
enum { PID_BYTES = 64, PID_ON_BYTE = 32 };

static struct vmx_guest nested;
static uint8_t pid_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static volatile uint64_t delivered; /* virtual interrupts that the nested guest handled */
static volatile uint64_t went_on;   /* the nested guest came past its HLT */

static void count_delivered(struct interrupt_frame *frame)
{
    (void)frame;
    delivered++;
}

static void discard_physical(struct interrupt_frame *frame)
{
    (void)frame;
    apic_eoi();
}

/* Code of the nested guest. */

static void code_spin(void)
{
    for (;;) {
        cpu_relax();
    }
}

static void code_vmcall(void)
{
    for (;;) {
        vmx_vmcall();
    }
}

static void code_sti_hlt(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    went_on = 1;
    code_vmcall();
}

static void code_went_on(void)
{
    went_on = 1;
    code_vmcall();
}

static void code_cli_went_on(void)
{
    __asm__ volatile("cli" : : : "memory");
    went_on = 1;
    code_vmcall();
}

/* A guest with external-interrupt exiting and the backstop, and these controls besides. */
static void prepare(uint32_t pin, uint32_t primary, uint32_t secondary, void (*code)(void))
{
    nested.pin = PIN_EXTERNAL_INTERRUPT_EXITING | PIN_PREEMPTION_TIMER | pin;
    nested.primary = primary;
    nested.secondary = secondary;
    nested.exit_controls = EXIT_ACKNOWLEDGE_INTERRUPT;
    delivered = 0;
    went_on = 0;
    vmx_prepare(&nested, code);
    vmx_limit(LIMIT);
}

static void prepare_virtual_interrupts(void (*code)(void))
{
    prepare(0, PRIMARY_USE_TPR_SHADOW, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY, code);
}

static void prepare_posted_interrupts(void *pid, void (*code)(void))
{
    memset(pid_page, 0, sizeof(pid_page));
    prepare(PIN_POSTED_INTERRUPTS, PRIMARY_USE_TPR_SHADOW, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY,
            code);
    vmwrite(VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, VECTOR_NOTIFICATION);
    vmwrite(VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, (uintptr_t)pid);
}

/* Bring the nested guest to the point where a virtual interrupt is recognized. */
static void raise_virtual(void)
{
    vmx_set_virr(&nested, VECTOR_VIRTUAL);
    vmx_set_interrupt_status(VECTOR_VIRTUAL, 0);
}

static void set_rflags_if(void)
{
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

/* A physical interrupt: pending, as interrupts are off here. */
static void raise_physical(uint8_t vector)
{
    apic_self_ipi(vector);
}

/* Take what is still pending, so that the next test starts clean. An acknowledged one needs its EOI. */
static void settle(void)
{
    while (apic_vector_bit(APIC_ISR, VECTOR_PHYSICAL) ||
           apic_vector_bit(APIC_ISR, VECTOR_NOTIFICATION)) {
        apic_eoi();
    }
    guest_take_interrupts();
}

static void test_entry_interrupt_mask(void)
{
    prepare(0, 0, 0, code_spin);
    raise_physical(VECTOR_PHYSICAL);
    report(vmx_enter(&nested) == EXIT_REASON_EXTERNAL_INTERRUPT,
           "an interrupt pending at entry with IF=0 causes an exit");
    report((uint8_t)vmread(VMCS_EXIT_INTERRUPTION_INFORMATION) == VECTOR_PHYSICAL,
           "the exit tells its vector");
    settle();
}

/*
 * CLI in non-root operation first, so that this does not depend on how entry treats IF: the nested guest
 * waits in a loop until the timer of the local APIC interrupts.
 */
static void code_cli_spin(void)
{
    guest_cli();
    code_spin();
}

static void test_virtual_interrupt_if(void)
{
    prepare_virtual_interrupts(code_cli_spin);
    raise_virtual();
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR_PHYSICAL);
    apic_write(APIC_INITIAL_COUNT, LIMIT / 4);
    unsigned reason = vmx_enter(&nested);
    report(delivered == 0, "a virtual interrupt is not delivered while IF=0");
    report(reason == EXIT_REASON_EXTERNAL_INTERRUPT, "the physical interrupt causes an exit");
    report(vmx_rvi() == VECTOR_VIRTUAL, "the virtual interrupt is still requested");
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    settle();
}

static void test_posted_interrupt_empty(void)
{
    prepare_posted_interrupts(pid_page, code_vmcall);
    set_rflags_if();
    pid_page[PID_ON_BYTE] = 1;
    raise_physical(VECTOR_NOTIFICATION);
    unsigned reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_VMCALL && delivered == 0,
           "a notification with nothing posted delivers nothing");
    report(vmx_rvi() == 0, "and leaves RVI alone");
    report(pid_page[PID_ON_BYTE] == 0, "it clears ON");
    report(!apic_vector_bit(APIC_ISR, VECTOR_NOTIFICATION), "and is dismissed at the local APIC");
    settle();
}

static void test_virtual_interrupt_wakes(void)
{
    prepare_virtual_interrupts(code_sti_hlt);
    raise_virtual();
    unsigned reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_VMCALL && delivered == 1 && went_on,
           "STI and HLT with a virtual interrupt recognized: it is delivered");

    prepare_virtual_interrupts(code_went_on);
    raise_virtual();
    set_rflags_if();
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_VMCALL && delivered == 1 && went_on,
           "entered in HLT with a virtual interrupt: it is delivered");

    prepare_virtual_interrupts(code_went_on);
    raise_virtual();
    set_rflags_if();
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_SHUTDOWN);
    reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_PREEMPTION_TIMER && delivered == 0,
           "it does not wake from shutdown");
}

static void test_halted_interrupt_exit(void)
{
    prepare(0, 0, 0, code_went_on);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    raise_physical(VECTOR_PHYSICAL);
    report(vmx_enter(&nested) == EXIT_REASON_EXTERNAL_INTERRUPT && !went_on,
           "an interrupt causes an exit from HLT with IF=0");
    settle();

    prepare(0, 0, 0, code_went_on);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_SHUTDOWN);
    raise_physical(VECTOR_PHYSICAL);
    report(vmx_enter(&nested) == EXIT_REASON_PREEMPTION_TIMER && !went_on,
           "in shutdown state it is blocked");
    settle();
}

static unsigned enter_with_pid(uintptr_t offset)
{
    prepare_posted_interrupts(pid_page + offset, code_vmcall);
    return vmx_enter(&nested);
}

static void test_pid_alignment(void)
{
    enum { ERROR_INVALID_CONTROL = 7 };
    report(enter_with_pid(PID_BYTES) == EXIT_REASON_VMCALL,
           "a descriptor at a multiple of 64 bytes is accepted");
    report(enter_with_pid(PID_BYTES / 2) == VMX_ENTRY_FAILED + ERROR_INVALID_CONTROL,
           "any other one is not");
}

static void test_activity_state(void)
{
    prepare(0, 0, 0, code_went_on);
    set_rflags_if();
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    raise_physical(VECTOR_PHYSICAL);
    unsigned reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_EXTERNAL_INTERRUPT &&
               vmread(VMCS_GUEST_ACTIVITY_STATE) == ACTIVITY_HLT,
           "an exit from HLT saves HLT");
    settle();

    prepare_posted_interrupts(pid_page, code_went_on);
    set_rflags_if();
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    raise_physical(VECTOR_NOTIFICATION);
    reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_PREEMPTION_TIMER && !went_on,
           "a notification with nothing posted leaves the guest in HLT");
    report(vmread(VMCS_GUEST_ACTIVITY_STATE) == ACTIVITY_HLT,
           "the timer's exit from HLT saves HLT");
    settle();

    prepare_posted_interrupts(pid_page, code_cli_went_on);
    set_rflags_if();
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    pid_page[VECTOR_VIRTUAL / 8] = 1U << VECTOR_VIRTUAL % 8;
    raise_physical(VECTOR_NOTIFICATION);
    reason = vmx_enter(&nested);
    report(reason == EXIT_REASON_VMCALL && went_on, "a notification with a vector posted wakes it");
    report(delivered == 1, "by delivering it, before the next instruction could forbid that");
    report(vmread(VMCS_GUEST_ACTIVITY_STATE) == ACTIVITY_ACTIVE, "it is active then");
    settle();
}

/* The IDT of the nested guest is where nothing is mapped: delivery meets a page fault, which exits. */
static void test_virtual_interrupt_vectoring(void)
{
    enum { EVENT_VALID = 1U << 31, EVENT_VECTOR_AND_TYPE = 0x7FF };
    prepare_virtual_interrupts(code_went_on);
    raise_virtual();
    set_rflags_if();
    vmwrite(VMCS_GUEST_IDTR_BASE, GIB(UNMAPPED_GIB));
    vmwrite(VMCS_EXCEPTION_BITMAP, BIT(EXCEPTION_PF));
    report(vmx_enter(&nested) == EXIT_REASON_EXCEPTION_OR_NMI,
           "a fault while a virtual interrupt is delivered causes an exit");
    uint32_t event = (uint32_t)vmread(VMCS_IDT_VECTORING_INFORMATION);
    report((event & (uint32_t)EVENT_VALID) != 0 &&
               (event & EVENT_VECTOR_AND_TYPE) == VECTOR_VIRTUAL,
           "IDT-vectoring information names the virtual interrupt");
}

static void test_msr_store_tsc(void)
{
    static struct {
        uint32_t index;
        uint32_t reserved;
        uint64_t value;
    } entry __attribute__((aligned(16))) = { .index = IA32_TIME_STAMP_COUNTER };
    prepare(0, PRIMARY_USE_TSC_OFFSETTING, 0, code_vmcall);
    vmwrite(VMCS_TSC_OFFSET, 1ULL << 40);
    vmwrite(VMCS_EXIT_MSR_STORE_ADDRESS, (uintptr_t)&entry);
    vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 1);
    uint64_t before = rdtsc();
    unsigned reason = vmx_enter(&nested);
    uint64_t after = rdtsc();
    report(reason == EXIT_REASON_VMCALL && before <= entry.value && entry.value <= after,
           "the TSC that an exit stores is without offset");
}

static void test_interrupt_window_wakes(void)
{
    prepare(0, PRIMARY_INTERRUPT_WINDOW_EXITING, 0, code_went_on);
    set_rflags_if();
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    report(vmx_enter(&nested) == EXIT_REASON_INTERRUPT_WINDOW && !went_on,
           "an open interrupt window causes an exit from HLT");

    prepare(0, PRIMARY_INTERRUPT_WINDOW_EXITING, 0, code_went_on);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    report(vmx_enter(&nested) == EXIT_REASON_PREEMPTION_TIMER && !went_on, "a closed one does not");
}

/* Controls that are offered must work: here, loading the MSR on exit. */
static void test_perf_global_ctrl(void)
{
    uint64_t allowed = rdmsr(IA32_VMX_TRUE_EXIT_CTLS) >> 32;
    if ((allowed & EXIT_LOAD_PERF_GLOBAL_CTRL) == 0) {
        report(true, "loading IA32_PERF_GLOBAL_CTRL is not offered, or works");
        return;
    }
    prepare(0, 0, 0, code_vmcall);
    vmwrite(VMCS_EXIT_CONTROLS, vmread(VMCS_EXIT_CONTROLS) | EXIT_LOAD_PERF_GLOBAL_CTRL);
    vmwrite(VMCS_HOST_PERF_GLOBAL_CTRL, 1);
    uint64_t value = 0;
    report(vmx_enter(&nested) == EXIT_REASON_VMCALL &&
               guest_try_rdmsr(IA32_PERF_GLOBAL_CTRL, &value) && value == 1,
           "loading IA32_PERF_GLOBAL_CTRL is not offered, or works");
}

/* The guest's PML4 is at 32 MiB, which EPT does not map. */
enum { ELSEWHERE_MIB = 32 };
static uint64_t ept_pml4[512] __attribute__((aligned(PAGE_SIZE)));
static uint64_t ept_pdpt[512] __attribute__((aligned(PAGE_SIZE)));
static uint64_t ept_pd[4 * 512] __attribute__((aligned(PAGE_SIZE)));
extern uint64_t guest_pml4[512]; /* boot.S */

static uint64_t ept_with_hole(void)
{
    enum { EPT_RWX = 7, EPT_2M_WB = 0xB7 };
    enum { EPTP_WB = 6, EPTP_4_LEVELS = 3 << 3, EPTP_ACCESSED_DIRTY = 1 << 6 };
    ept_pml4[0] = (uintptr_t)ept_pdpt | EPT_RWX;
    for (unsigned i = 0; i < 4; i++) {
        ept_pdpt[i] = (uintptr_t)(ept_pd + i * 512UL) | EPT_RWX;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(ept_pd); i++) {
        ept_pd[i] = i * MIB(2) | EPT_2M_WB;
    }
    ept_pd[ELSEWHERE_MIB / 2] = 0;
    return (uintptr_t)ept_pml4 | EPTP_WB | EPTP_4_LEVELS | EPTP_ACCESSED_DIRTY;
}

static void test_ept_ad_qualification(void)
{
    enum { READ = 1, WRITE = 2, LINEAR_ADDRESS_VALID = 1 << 7, IS_TRANSLATION = 1 << 8 };
    memcpy((void *)MIB(ELSEWHERE_MIB), guest_pml4, sizeof(guest_pml4));
    prepare(0, 0, SECONDARY_ENABLE_EPT, code_vmcall);
    vmwrite(VMCS_EPT_POINTER, ept_with_hole());
    vmwrite(VMCS_GUEST_CR3, MIB(ELSEWHERE_MIB));
    report(vmx_enter(&nested) == EXIT_REASON_EPT_VIOLATION,
           "a paging structure that EPT does not map causes an EPT violation");
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    report((qualification & (READ | WRITE)) == (READ | WRITE), "it is a read and a write");
    report((qualification & (LINEAR_ADDRESS_VALID | IS_TRANSLATION)) == LINEAR_ADDRESS_VALID,
           "of a paging structure");
}

/* Highest index (bits 9:1 of an encoding) with a field that VMREAD knows, of any width and type. */
static unsigned highest_index(void)
{
    unsigned highest = 0;
    for (unsigned width = 0; width < 4; width++) {
        for (unsigned type = 0; type < 4; type++) {
            for (unsigned index = 0; index < 512; index++) {
                uint64_t encoding = width << 13 | type << 10 | index << 1;
                uint64_t value;
                bool unknown;
                __asm__ volatile("vmread %2, %0" : "=r"(value), "=@ccbe"(unknown) : "r"(encoding));
                highest = !unknown && index > highest ? index : highest;
            }
        }
    }
    return highest;
}

static void test_vmcs_enum(void)
{
    prepare(0, 0, 0, code_vmcall);
    unsigned told = (unsigned)rdmsr(IA32_VMX_VMCS_ENUM) >> 1 & 0x1FF;
    report(told == highest_index(), "IA32_VMX_VMCS_ENUM tells the highest index in use");
}

static void set_up(void)
{
    if (!vmx_usable()) {
        guest_fail("no VMX");
    }
    apic_enable(0xFF);
    interrupt_set_handler(VECTOR_VIRTUAL, count_delivered);
    interrupt_set_handler(VECTOR_NOTIFICATION, discard_physical);
    interrupt_set_handler(VECTOR_PHYSICAL, discard_physical);
    interrupt_set_handler(0xFF, count_delivered);
    vmx_on();
}

void guest_main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
        uint32_t pin;
        uint32_t secondary;
    } tests[] = {
        { "entry-interrupt-mask", test_entry_interrupt_mask, 0, 0 },
        { "virtual-interrupt-if", test_virtual_interrupt_if, 0,
          SECONDARY_VIRTUAL_INTERRUPT_DELIVERY },
        { "posted-interrupt-empty", test_posted_interrupt_empty, PIN_POSTED_INTERRUPTS, 0 },
        { "virtual-interrupt-wakes", test_virtual_interrupt_wakes, 0,
          SECONDARY_VIRTUAL_INTERRUPT_DELIVERY },
        { "halted-interrupt-exit", test_halted_interrupt_exit, 0, 0 },
        { "pid-alignment", test_pid_alignment, PIN_POSTED_INTERRUPTS, 0 },
        { "activity-state", test_activity_state, PIN_POSTED_INTERRUPTS, 0 },
        { "virtual-interrupt-vectoring", test_virtual_interrupt_vectoring, 0,
          SECONDARY_VIRTUAL_INTERRUPT_DELIVERY },
        { "msr-store-tsc", test_msr_store_tsc, 0, 0 },
        { "interrupt-window-wakes", test_interrupt_window_wakes, 0, 0 },
        { "perf-global-ctrl", test_perf_global_ctrl, 0, 0 },
        { "ept-ad-qualification", test_ept_ad_qualification, 0, SECONDARY_ENABLE_EPT },
        { "vmcs-enum", test_vmcs_enum, 0, 0 },
    };
    set_up();
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
        if (!guest_wants(tests[i].name)) {
            continue;
        }
        guest_print("%s\n", tests[i].name);
        if (vmx_offers(PIN_PREEMPTION_TIMER | tests[i].pin, 0, tests[i].secondary)) {
            tests[i].run();
        } else {
            report_skip("this CPU lacks a control for it");
        }
    }
}
