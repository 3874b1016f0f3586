/* SPDX-License-Identifier: MIT */
/*
 * Memory shared with Rivet: PV EOI as KVM defines it (Linux, Documentation/virt/kvm/x86/msr.rst), and
 * the vapic word (docs/guests.md). What is reported holds whether APICv is active or not. With `eois=N
 * pv=0|1` it only ends N interrupts and tells for how many the EOI register was not needed.
 *
 * guest: rivet-only cpus=2 mem=64 cmdline='ram=64'
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { MSR_PV_EOI = 0x4B564D04, PV_EOI_ENABLED = 1, PV_EOI_FEATURE = 1 << 6 };
enum { HYPERCALL_SET_VAPIC = 0x52560001, VAPIC_FEATURE = 1 << 0 };
enum { NO_SUCH_HYPERCALL = -1000, INVALID = -22 };
#define HIGH_HALF (0x5A5AULL << 48)
enum { VECTOR = 0x51, VECTOR_LOW = 0x41, VECTOR_HIGH = 0x61, VECTOR_PEER = 0x62 };
enum { VECTOR_LEVEL = 0x71, VECTOR_SPURIOUS = 0xEF };
enum { FREE_PIN = 10, TESTDEV_LINES = 0x2000 };
enum { MANY = 100, TICK = 50000 };

static const char *mode;
static uint64_t ram_end;

/* This CPU's byte with "no EOI needed", and its vapic word. */
static volatile uint32_t flags[2];
static volatile uint32_t words[2];

static volatile uint32_t *flag; /* of CPU 0, where it is now */
static volatile uint32_t *word;

static volatile uint64_t handled;
static volatile uint64_t skipped;     /* EOIs that the register did not get */
static volatile uint32_t flags_seen;  /* flag at the start of each handler, ORed */
static volatile uint32_t word_inside; /* the vapic word in a handler */

static uint64_t address_of(const volatile uint32_t *memory)
{
    return (uint64_t)(uintptr_t)memory;
}

static int64_t hypercall(uint64_t number, uint64_t argument)
{
    int64_t result = (int64_t)number;
    __asm__ volatile("vmcall" : "+a"(result) : "b"(argument) : "memory");
    return result;
}

/* The same from compatibility mode; the selectors are those of lib/cpu.c. */
int64_t hypercall_32(uint64_t number, uint64_t argument);
__asm__(".text\n"
        "hypercall_32:\n"
        "    pushq %rbx\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %rbx\n"
        "    pushq $0x18\n"
        "    pushq $1f\n"
        "    lretq\n"
        ".code32\n"
        "1:  vmcall\n"
        "    ljmp $0x08, $2f\n"
        ".code64\n"
        "2:  popq %rbx\n"
        "    ret");

static int64_t set_vapic(uint64_t address)
{
    return hypercall(HYPERCALL_SET_VAPIC, address);
}

/* The areas are synchronized at VM exits and entries, and CPUID always exits. */
static void make_exit(void)
{
    cpuid_read(0, 0);
}

/* --- PV EOI ----------------------------------------------------------------------------------- */

static bool take_flag(void)
{
    bool was_set;
    __asm__ volatile("lock btrl $0, %1" : "=@ccc"(was_set), "+m"(*flag) : : "memory");
    return was_set;
}

static void end_interrupt(void)
{
    if (take_flag()) {
        skipped++;
    } else {
        apic_eoi();
    }
}

static void handle(struct interrupt_frame *frame)
{
    flags_seen |= *flag;
    handled++;
    arrivals_note((uint8_t)frame->vector);
    end_interrupt();
}

/* A higher interrupt inside this one; both end by PV EOI. */
static void handle_low(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    apic_self_ipi(VECTOR_HIGH);
    guest_take_interrupts();
    arrivals_note((uint8_t)frame->vector);
    end_interrupt();
}

/* An interrupt of its own class must wait for its end. */
static void handle_peer(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    apic_self_ipi(VECTOR_HIGH);
    guest_take_interrupts();
    arrivals_note((uint8_t)frame->vector);
    end_interrupt();
}

static void handle_level(struct interrupt_frame *frame)
{
    flags_seen |= *flag;
    arrivals_note((uint8_t)frame->vector);
    outb(TESTDEV_LINES + FREE_PIN, 0);
    make_exit();
    flags_seen |= *flag;
    end_interrupt();
}

static bool nothing_in_service(void)
{
    for (unsigned vector = 0; vector < 256; vector += 32) {
        if (apic_read(APIC_ISR + vector / 32 * 16) != 0) {
            return false;
        }
    }
    return apic_read(APIC_PPR) == 0;
}

static void reset(void)
{
    apic_enable(VECTOR_SPURIOUS);
    arrivals_clear();
    handled = 0;
    flags_seen = 0;
    interrupt_set_handler(VECTOR, handle);
    interrupt_set_handler(VECTOR_LOW, handle_low);
    interrupt_set_handler(VECTOR_HIGH, handle);
    interrupt_set_handler(VECTOR_PEER, handle_peer);
    interrupt_set_handler(VECTOR_LEVEL, handle_level);
}

static void start_pv_eoi(volatile uint32_t *memory)
{
    flag = memory;
    *flag = 0;
    wrmsr(MSR_PV_EOI, address_of(flag) | PV_EOI_ENABLED);
    reset();
}

static void stop_pv_eoi(void)
{
    wrmsr(MSR_PV_EOI, 0);
}

static void send_many(void)
{
    for (unsigned i = 0; i < MANY; i++) {
        apic_self_ipi(i % 2 == 0 ? VECTOR_HIGH : VECTOR);
        guest_take_interrupts();
    }
}

static bool refuses_pv_eoi(uint64_t address)
{
    return !guest_try_wrmsr(MSR_PV_EOI, address | PV_EOI_ENABLED);
}

static void test_pv_eoi_addresses(void)
{
    uint64_t good = address_of(&flags[0]);
    report(rdmsr(MSR_PV_EOI) == 0, "%s, PV EOI: off at first", mode);
    wrmsr(MSR_PV_EOI, good | PV_EOI_ENABLED);
    report(refuses_pv_eoi(good | 2), "%s, PV EOI: #GP for the reserved bit", mode);
    report(refuses_pv_eoi(ram_end) && refuses_pv_eoi(BIT(40)) && refuses_pv_eoi(~3ULL),
           "%s, PV EOI: #GP beyond memory", mode);
    report(refuses_pv_eoi(0xFEE00000) && refuses_pv_eoi(0xFEC00000), "%s, PV EOI: #GP for a device",
           mode);
    report(refuses_pv_eoi(0xFFFFF000), "%s, PV EOI: #GP for read-only memory", mode);
    report(rdmsr(MSR_PV_EOI) == (good | PV_EOI_ENABLED), "%s, PV EOI: what faulted changed nothing",
           mode);
    report(guest_try_wrmsr(MSR_PV_EOI, ram_end), "%s, PV EOI: any address while it is off", mode);
    stop_pv_eoi();
}

static void test_pv_eoi_many(void)
{
    start_pv_eoi(&flags[0]);
    send_many();
    make_exit();
    report(handled == MANY, "%s, PV EOI: %u interrupts arrive", mode, MANY);
    report(nothing_in_service(), "%s, PV EOI: none stays in service", mode);
    report(*flag == 0, "%s, PV EOI: no offer without an interrupt in service", mode);
    start_pv_eoi((volatile uint32_t *)(uintptr_t)(ram_end - 4));
    send_many();
    report(handled == MANY && nothing_in_service(), "%s, PV EOI: in the last word of memory", mode);
    stop_pv_eoi();
}

static void test_pv_eoi_nested(void)
{
    start_pv_eoi(&flags[0]);
    apic_self_ipi(VECTOR_LOW);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_LOW, VECTOR_HIGH, VECTOR_LOW) && nothing_in_service(),
           "%s, PV EOI: an interrupt within one of lower priority", mode);
    arrivals_clear();
    apic_self_ipi(VECTOR_PEER);
    guest_take_interrupts();
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_PEER, VECTOR_PEER, VECTOR_HIGH) && nothing_in_service(),
           "%s, PV EOI: one of the same priority class waits for the end", mode);
    arrivals_clear();
    apic_self_ipi(VECTOR);
    apic_self_ipi(VECTOR_HIGH);
    apic_self_ipi(VECTOR_LOW);
    guest_take_interrupts();
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_HIGH, VECTOR, VECTOR_LOW, VECTOR_HIGH, VECTOR_LOW) &&
               nothing_in_service(),
           "%s, PV EOI: three that wait, by priority", mode);
    stop_pv_eoi();
}

static void test_pv_eoi_level(void)
{
    start_pv_eoi(&flags[0]);
    outb(TESTDEV_LINES + FREE_PIN, 0);
    ioapic_write_entry(FREE_PIN, (uint64_t)apic_id() << 56 | RTE_LEVEL | VECTOR_LEVEL);
    for (unsigned i = 0; i < 3; i++) {
        outb(TESTDEV_LINES + FREE_PIN, 1);
        guest_take_interrupts();
    }
    bool remote_irr = (ioapic_read_entry(FREE_PIN) & RTE_REMOTE_IRR) != 0;
    ioapic_write_entry(FREE_PIN, RTE_MASKED);
    report(arrivals(VECTOR_LEVEL) == 3 && !remote_irr && nothing_in_service(),
           "%s, PV EOI: level-triggered interrupts arrive and end", mode);
    report(flags_seen == 0, "%s, PV EOI: never offered for them", mode);
    stop_pv_eoi();
}

/* A periodic timer, in HLT: an offer that is taken ends the interrupt before the next one. */
static void test_pv_eoi_timer(void)
{
    start_pv_eoi(&flags[0]);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL_COUNT, TICK);
    while (handled < 20) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
    apic_write(APIC_INITIAL_COUNT, 0);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    guest_take_interrupts();
    report(nothing_in_service(), "%s, PV EOI: 20 timer ticks in HLT", mode);
    stop_pv_eoi();
}

static void test_pv_eoi_off(void)
{
    start_pv_eoi(&flags[0]);
    stop_pv_eoi();
    *flag = 0;
    send_many();
    report(handled == MANY && nothing_in_service() && flags_seen == 0,
           "%s, PV EOI: switched off it is not offered", mode);
}

/* --- The vapic word --------------------------------------------------------------------------- */

enum { SHOWN_TPR = 0xFF, SHOWN_SERVICE_SHIFT = 8, SHOWN_REQUEST_SHIFT = 24 };

static void handle_and_look(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    make_exit();
    word_inside = *word;
    apic_eoi();
}

static void start_vapic(volatile uint32_t *memory)
{
    word = memory;
    *word = 0xA5A5A5A5;
    reset();
    interrupt_set_handler(VECTOR, handle_and_look);
    interrupt_set_handler(VECTOR_HIGH, handle_and_look);
    set_vapic(address_of(word));
}

static void write_shown_tpr(uint8_t tpr)
{
    *(volatile uint8_t *)word = tpr;
}

static bool refuses_vapic(uint64_t address)
{
    return set_vapic(address) == INVALID;
}

static void test_vapic_addresses(void)
{
    uint64_t good = address_of(&words[0]);
    report(hypercall(HYPERCALL_SET_VAPIC + 0x1000, good) == NO_SUCH_HYPERCALL,
           "%s, vapic: a number that is no hypercall", mode);
    report(set_vapic(good) == 0, "%s, vapic: an address in memory", mode);
    report(hypercall_32(HIGH_HALF | HYPERCALL_SET_VAPIC, HIGH_HALF | good) == 0 &&
               hypercall_32(HYPERCALL_SET_VAPIC, good + 1) == (uint32_t)INVALID,
           "%s, vapic: from compatibility mode, in 32-bit registers", mode);
    report(refuses_vapic(good + 1) && refuses_vapic(good + 2) && refuses_vapic(good + 3),
           "%s, vapic: refused when not aligned", mode);
    report(refuses_vapic(ram_end) && refuses_vapic(BIT(40)) && refuses_vapic(~3ULL),
           "%s, vapic: refused beyond memory", mode);
    report(refuses_vapic(0xFEE00000) && refuses_vapic(0xFEC00000),
           "%s, vapic: refused for a device", mode);
    report(refuses_vapic(0xFFFFF000), "%s, vapic: refused for read-only memory", mode);
    words[0] = 0xA5A5A5A5;
    make_exit();
    report(words[0] != 0xA5A5A5A5, "%s, vapic: what was refused changed nothing", mode);
    report(set_vapic(ram_end - 4) == 0, "%s, vapic: the last word of memory", mode);
    apic_write(APIC_TPR, 0x30);
    make_exit();
    report(*(volatile uint32_t *)(uintptr_t)(ram_end - 4) == 0x30, "%s, vapic: it works there",
           mode);
    apic_write(APIC_TPR, 0);
    report(set_vapic(0) == 0, "%s, vapic: 0 is none", mode);
}

static void test_vapic_shows(void)
{
    start_vapic(&words[0]);
    apic_write(APIC_TPR, 0x25);
    make_exit();
    report(*word == 0x25, "%s, vapic: TPR is shown", mode);
    write_cr8(4);
    make_exit();
    report(*word == 0x40 && apic_read(APIC_TPR) == 0x40,
           "%s, vapic: a TPR written elsewhere is not undone", mode);
    apic_write(APIC_TPR, 0);
    apic_self_ipi(VECTOR);
    make_exit();
    report(*word == (uint32_t)VECTOR << SHOWN_REQUEST_SHIFT, "%s, vapic: a request is shown", mode);
    apic_self_ipi(VECTOR_HIGH);
    make_exit();
    report(*word == (uint32_t)VECTOR_HIGH << SHOWN_REQUEST_SHIFT,
           "%s, vapic: the highest request is shown", mode);
    guest_take_interrupts();
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_HIGH, VECTOR) && word_inside == 0x50 << SHOWN_SERVICE_SHIFT,
           "%s, vapic: the class in service is shown", mode);
    make_exit();
    report(*word == 0, "%s, vapic: nothing is shown when nothing is left", mode);
    set_vapic(0);
}

static void test_vapic_tpr(void)
{
    start_vapic(&words[0]);
    make_exit();
    write_shown_tpr(0x5F);
    make_exit();
    report(apic_read(APIC_TPR) == 0x5F && read_cr8() == 5, "%s, vapic: TPR is taken from it", mode);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    report(arrivals_total() == 0, "%s, vapic: it holds an interrupt back", mode);
    apic_self_ipi(VECTOR_HIGH);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_HIGH), "%s, vapic: but not a higher one", mode);
    write_shown_tpr(0x4F);
    make_exit();
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_HIGH, VECTOR), "%s, vapic: lowered there, it lets it in", mode);
    apic_write(APIC_TPR, 0x80);
    make_exit();
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    bool held = arrivals(VECTOR) == 1;
    write_shown_tpr(0);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    report(held && arrivals(VECTOR) == 2, "%s, vapic: lowered there, it ends HLT", mode);
    *word = 0x99999900;
    make_exit();
    report(*word == 0 && apic_read(APIC_TPR) == 0, "%s, vapic: the rest of it is only shown", mode);
    set_vapic(0);
    *word = 0x99;
    make_exit();
    report(*word == 0x99 && apic_read(APIC_TPR) == 0, "%s, vapic: switched off nothing happens",
           mode);
}

static void test_vapic_with_pv_eoi(void)
{
    start_pv_eoi(&flags[0]);
    word = &words[0];
    set_vapic(address_of(word));
    send_many();
    make_exit();
    report(handled == MANY && nothing_in_service() && *word == 0, "%s: both together", mode);
    set_vapic(0);
    stop_pv_eoi();
}

/* --- INIT ------------------------------------------------------------------------------------- */

static void switch_on(void *unused)
{
    (void)unused;
    wrmsr(MSR_PV_EOI, address_of(&flags[1]) | PV_EOI_ENABLED);
    set_vapic(address_of(&words[1]));
    make_exit();
}

static volatile bool was_on, is_on;

static void look(void *result)
{
    *(volatile bool *)result = rdmsr(MSR_PV_EOI) != 0;
}

static void handle_on_other(struct interrupt_frame *frame)
{
    flags_seen |= flags[1];
    arrivals_note((uint8_t)frame->vector);
    apic_eoi();
}

static void take_one(void *unused)
{
    (void)unused;
    apic_enable(VECTOR_SPURIOUS);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    make_exit();
}

static void test_init(void)
{
    cpu_start_all();
    cpu_run(1, switch_on, NULL);
    cpu_run(1, look, (void *)&was_on);
    cpu_send_init(1);
    words[1] = 0xA5A5A5A5;
    flags[1] = 0;
    cpu_send_startup(1);
    cpu_wait_started(1);
    arrivals_clear();
    flags_seen = 0;
    interrupt_set_handler(VECTOR, handle_on_other);
    cpu_run(1, look, (void *)&is_on);
    cpu_run(1, take_one, NULL);
    report(was_on && !is_on, "INIT switches PV EOI off");
    report(arrivals_on(1, VECTOR) == 1 && flags_seen == 0 && flags[1] == 0,
           "after INIT no EOI is offered");
    report(words[1] == 0xA5A5A5A5, "after INIT the vapic word is left alone");
}

/* --- Figures ---------------------------------------------------------------------------------- */

/* One WRMSR for the interrupt, and one for the EOI if it needs one. */
static void handle_counted(struct interrupt_frame *frame)
{
    (void)frame;
    handled++;
    if (take_flag()) {
        skipped++;
    } else {
        wrmsr(IA32_X2APIC_EOI, 0);
    }
}

static void count_eois(uint64_t count)
{
    apic_enter_x2apic();
    flag = &flags[0];
    start_pv_eoi(flag);
    if (guest_option_number("pv", 1) == 0) {
        stop_pv_eoi();
    }
    interrupt_set_handler(VECTOR, handle_counted);
    guest_sti();
    for (uint64_t i = 0; i < count; i++) {
        wrmsr(IA32_X2APIC_SELF_IPI, VECTOR);
        while (handled != i + 1) {
            cpu_relax();
        }
    }
    guest_cli();
    guest_print("EOI register not needed for %lu\n", skipped);
    report(nothing_in_service(), "%lu interrupts came and ended", count);
}

static void test_all(const char *name)
{
    mode = name;
    test_pv_eoi_addresses();
    test_pv_eoi_many();
    test_pv_eoi_nested();
    test_pv_eoi_level();
    test_pv_eoi_timer();
    test_pv_eoi_off();
    test_vapic_addresses();
    test_vapic_shows();
    test_vapic_tpr();
    test_vapic_with_pv_eoi();
}

/* Signatures are looked for in steps of 100H. */
static bool is_signature(uint32_t leaf, const char *text)
{
    struct cpuid found = cpuid_read(leaf, 0);
    uint32_t words_found[3] = { found.ebx, found.ecx, found.edx };
    return found.eax == leaf + 1 && memcmp(words_found, text, sizeof(words_found)) == 0;
}

void guest_main(void)
{
    uint64_t eois = guest_option_number("eois", 0);
    ram_end = guest_option_number("ram", 64) << 20;
    report(is_signature(0x40000000, "KVMKVMKVM\0\0") &&
               (cpuid_read(0x40000001, 0).eax & PV_EOI_FEATURE) != 0,
           "CPUID offers PV EOI");
    report(is_signature(0x40000100, "RivetRivet\0") &&
               (cpuid_read(0x40000101, 0).eax & VAPIC_FEATURE) != 0,
           "CPUID offers the vapic word");
    if (eois != 0) {
        count_eois(eois);
        return;
    }
    apic_run_both_modes(test_all);
    test_init();
}
