/* SPDX-License-Identifier: MIT */
/*
 * When an interrupt is delivered: RFLAGS.IF, the shadows of STI and MOV SS, HLT, string instructions,
 * and what the handler sees in IRR, ISR and TMR (SDM volume 3, "Masking Maskable Hardware Interrupts",
 * "Masking Exceptions and Interrupts When Switching Stacks"; volume 2, STI, HLT).
 *
 * guest: protected='test=x2apic'
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_HIGHER = 0x61, VECTOR_SPURIOUS = 0xEF, VECTOR_NMI = 2 };
enum { TIMER_SOON = 20000 };

static const char *mode;
static volatile uint64_t interrupted_rip;
static volatile uint64_t interrupted_rcx;
static volatile uint64_t interrupted_rflags;

static void handle_and_remember(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    interrupted_rip = frame->rip;
    interrupted_rcx = frame->rcx;
    interrupted_rflags = frame->rflags;
    if (frame->vector != VECTOR_NMI) {
        apic_eoi();
    }
}

static void reset(void)
{
    apic_enable(VECTOR_SPURIOUS);
    arrivals_clear();
    interrupted_rip = 0;
    interrupt_set_handler(VECTOR, handle_and_remember);
    interrupt_set_handler(VECTOR_NMI, handle_and_remember);
    arrivals_record(VECTOR_HIGHER);
}

static void test_interrupts_off(void)
{
    reset();
    apic_self_ipi(VECTOR);
    for (unsigned i = 0; i < 1000; i++) {
        __asm__ volatile("nop");
    }
    report(arrivals_total() == 0, "%s: with IF=0 nothing is delivered", mode);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR), "%s: with IF=1 it is", mode);
    report((interrupted_rflags & RFLAGS_IF) != 0, "%s: the frame has IF=1", mode);
}

/* "delays recognition of interrupts until after execution of the instruction following STI" */
static void test_sti_shadow(void)
{
    uint64_t after_sti, after_next;
    reset();
    apic_self_ipi(VECTOR);
    __asm__ volatile("sti\n\t"
                     "nop\n"
                     "1: nop\n\t"
                     "cli\n\t"
                     "movq $1b, %0"
                     : "=r"(after_next)
                     :
                     : "memory");
    report(interrupted_rip == after_next, "%s: delivered after the instruction after STI", mode);
    reset();
    apic_self_ipi(VECTOR);
    __asm__ volatile("sti; cli; nop; nop" : : : "memory");
    report(arrivals_total() == 0, "%s: STI CLI delivers nothing", mode);
    __asm__ volatile("sti\n\t"
                     "sti\n"
                     "1: nop\n\t"
                     "cli\n\t"
                     "movq $1b, %0"
                     : "=r"(after_sti)
                     :
                     : "memory");
    report(interrupted_rip == after_sti, "%s: a second STI casts no shadow", mode);
}

static void test_mov_ss_shadow(void)
{
    uint64_t expected;
    uint32_t ss = 0;
    reset();
    __asm__ volatile("movl %%ss, %0" : "=r"(ss));
    apic_self_ipi(VECTOR);
    __asm__ volatile("sti\n\t"
                     "movl %1, %%ss\n\t"
                     "nop\n"
                     "1: nop\n\t"
                     "cli\n\t"
                     "movq $1b, %0"
                     : "=r"(expected)
                     : "r"(ss)
                     : "memory");
    report(interrupted_rip == expected, "%s: MOV SS delays delivery by one instruction", mode);
}

static void test_popf(void)
{
    uint64_t expected;
    reset();
    apic_self_ipi(VECTOR);
    __asm__ volatile("pushq %1\n\t"
                     "popfq\n"
                     "1: nop\n\t"
                     "cli\n\t"
                     "movq $1b, %0"
                     : "=r"(expected)
                     : "r"(RFLAGS_FIXED | RFLAGS_IF)
                     : "memory", "cc");
    report(interrupted_rip == expected, "%s: POPF casts no shadow", mode);
}

static void start_timer(void)
{
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_INITIAL_COUNT, TIMER_SOON);
}

static void test_halt(void)
{
    uint64_t expected;
    reset();
    apic_self_ipi(VECTOR);
    __asm__ volatile("sti; hlt\n1: cli; movq $1b, %0" : "=r"(expected) : : "memory");
    report(ARRIVALS_WERE(VECTOR) && interrupted_rip == expected,
           "%s: STI HLT with one pending: it is delivered in HLT", mode);
    reset();
    start_timer();
    __asm__ volatile("sti; hlt\n1: cli; movq $1b, %0" : "=r"(expected) : : "memory");
    report(ARRIVALS_WERE(VECTOR) && interrupted_rip == expected,
           "%s: HLT waits for one, the frame points behind it", mode);
    reset();
    apic_send_ipi(apic_id(), ICR_NMI | ICR_ASSERT);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_NMI), "%s: an NMI needs no IF", mode);
}

/* Below the class of TPR an interrupt does not end HLT: only the timer, above it, does. */
static void test_halt_priority(void)
{
    reset();
    apic_write(APIC_TPR, VECTOR & 0xF0);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR_HIGHER);
    apic_self_ipi(VECTOR);
    apic_write(APIC_INITIAL_COUNT, TIMER_SOON);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    report(ARRIVALS_WERE(VECTOR_HIGHER), "%s: what TPR holds back does not end HLT", mode);
    apic_write(APIC_TPR, 0);
    guest_take_interrupts();
    report(arrivals(VECTOR) == 1, "%s: and arrives when TPR falls", mode);
}

static void test_string(void)
{
    static uint8_t from[65536], to[65536];
    const uint8_t *source = from;
    uint8_t *destination = to;
    uint64_t count = sizeof(to);
    reset();
    for (unsigned i = 0; i < sizeof(from); i++) {
        from[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    uint64_t rep;
    do { /* until one falls into the copy */
        arrivals_clear();
        memset(to, 0, sizeof(to));
        source = from;
        destination = to;
        count = sizeof(to);
        apic_write(APIC_INITIAL_COUNT, 0);
        start_timer();
        __asm__ volatile("sti\n\t"
                         "movq $1f, %3\n"
                         "1: rep movsb\n\t"
                         "cli"
                         : "+S"(source), "+D"(destination), "+c"(count), "=&r"(rep)
                         :
                         : "memory");
    } while (interrupted_rip != rep);
    report(ARRIVALS_WERE(VECTOR), "%s: REP MOVS can be interrupted", mode);
    report(interrupted_rcx != 0 && interrupted_rcx < sizeof(to),
           "%s: RCX counts what is left, RIP is that of the instruction", mode);
    report(count == 0 && memcmp(from, to, sizeof(to)) == 0, "%s: and it goes on to the end", mode);
}

static volatile bool in_service, pending_again, still_pending, edge;

static void handle_and_look(struct interrupt_frame *frame)
{
    uint8_t vector = (uint8_t)frame->vector;
    arrivals_note(vector);
    in_service = apic_vector_bit(APIC_ISR, vector);
    still_pending = apic_vector_bit(APIC_IRR, vector);
    edge = !apic_vector_bit(APIC_TMR, vector);
    if (arrivals(vector) == 1) {
        apic_self_ipi(vector);
        pending_again = apic_vector_bit(APIC_IRR, vector);
    }
    apic_eoi();
}

static void test_registers_in_handler(void)
{
    reset();
    interrupt_set_handler(VECTOR, handle_and_look);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    guest_take_interrupts();
    report(in_service, "%s: in its handler a vector is in ISR", mode);
    report(!still_pending, "%s: not in IRR", mode);
    report(edge, "%s: nor in TMR, as an IPI is edge-triggered", mode);
    report(pending_again, "%s: sent again it is in IRR", mode);
    report(arrivals(VECTOR) == 2, "%s: and arrives after EOI", mode);
}

/* The handler turns interrupts on with the same vector pending: only its EOI lets that in. */
static volatile unsigned depth, deepest;

static void handle_deep(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    depth++;
    deepest = depth > deepest ? depth : deepest;
    if (arrivals(VECTOR) < 3) {
        apic_self_ipi(VECTOR);
    }
    guest_take_interrupts();
    bool held = deepest == depth;
    apic_eoi();
    if (held && arrivals(VECTOR) < 3) {
        guest_take_interrupts();
    }
    guest_cli();
    depth--;
}

static void test_reentry(void)
{
    reset();
    deepest = 0;
    interrupt_set_handler(VECTOR, handle_deep);
    apic_self_ipi(VECTOR);
    guest_take_interrupts();
    guest_take_interrupts();
    report(arrivals(VECTOR) == 3 && deepest == 3, "%s: after EOI a handler can be re-entered",
           mode);
}

static void run_all(const char *name)
{
    mode = name;
    test_interrupts_off();
    test_sti_shadow();
    test_mov_ss_shadow();
    test_popf();
    test_halt();
    test_halt_priority();
    test_string();
    test_registers_in_handler();
    test_reentry();
}

void guest_main(void)
{
    apic_run_both_modes(run_all);
}
