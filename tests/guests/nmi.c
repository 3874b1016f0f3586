/* SPDX-License-Identifier: MIT */
/*
 * Non-maskable interrupts: blocking until IRET, the one that is latched, their rank among other events
 * (SDM volume 3, "Nonmaskable Interrupt (NMI)", "Handling Multiple NMIs", "Priority Among Concurrent
 * Events").
 *
 * guest: protected='test=x2apic'
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, VECTOR_NMI = 2, VECTOR_BP = 3 };
enum { DURING_HANDLER = 3 };

static volatile unsigned nmis, nested, depth, seen_in_handler;

static void send_nmi(void)
{
    apic_send_ipi(apic_id(), ICR_NMI | ICR_ASSERT);
}

static void reset(interrupt_handler handler)
{
    apic_enable(VECTOR_SPURIOUS);
    nmis = 0;
    nested = 0;
    depth = 0;
    seen_in_handler = 0;
    arrivals_clear();
    arrivals_record(VECTOR);
    interrupt_set_handler(VECTOR_NMI, handler);
}

static void count(struct interrupt_frame *frame)
{
    (void)frame;
    nmis++;
    arrivals_note(VECTOR_NMI);
}

static void test_plain(void)
{
    reset(count);
    guest_cli();
    send_nmi();
    report(nmis == 1, "an NMI is delivered with IF=0");
    send_nmi();
    report(nmis == 2, "and the next one after its IRET");
}

/* The first handler run sends some more: they wait for IRET, as one. */
static void send_more(struct interrupt_frame *frame)
{
    (void)frame;
    nmis++;
    depth++;
    if (nmis == 1) {
        for (unsigned i = 0; i < DURING_HANDLER; i++) {
            send_nmi();
        }
        for (unsigned i = 0; i < 100; i++) {
            __asm__ volatile("nop");
        }
        seen_in_handler = nmis;
    }
    nested += depth > 1;
    depth--;
}

static void test_blocking(void)
{
    reset(send_more);
    send_nmi();
    report(seen_in_handler == 1 && nested == 0, "in its handler further NMIs are blocked");
    report(nmis == 2, "one of them is latched and follows the IRET");
}

/* Exits of all kinds in the handler do not end the blocking. */
static void exit_in_handler(struct interrupt_frame *frame)
{
    (void)frame;
    nmis++;
    if (nmis == 1) {
        uint32_t eax = 0, ebx, ecx, edx;
        send_nmi();
        __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
        (void)inb(0x3FF);
        (void)rdmsr(IA32_APIC_BASE);
        (void)apic_read(APIC_VERSION);
        apic_write(APIC_SVR, SVR_ENABLED | VECTOR_SPURIOUS);
        seen_in_handler = nmis;
    }
}

static void test_blocking_over_exits(void)
{
    reset(exit_in_handler);
    send_nmi();
    report(seen_in_handler == 1, "CPUID, I/O, MSRs and APIC accesses keep the blocking");
    report(nmis == 2, "until IRET");
}

/* "The processor ... unblocks NMIs with the next execution of IRET", also that of an exception. */
static void breakpoint_in_handler(struct interrupt_frame *frame)
{
    (void)frame;
    nmis++;
    if (nmis == 1) {
        send_nmi();
        seen_in_handler = nmis;
        __asm__ volatile("int3");
        nested = nmis;
    }
}

static void nothing(struct interrupt_frame *frame)
{
    (void)frame;
}

static void test_iret_of_exception(void)
{
    reset(breakpoint_in_handler);
    interrupt_set_handler(VECTOR_BP, nothing);
    send_nmi();
    report(seen_in_handler == 1 && nested == 2, "the IRET of an exception in the handler unblocks");
    report(nmis == 2, "so the latched one came then");
}

static void test_rank(void)
{
    reset(count);
    apic_self_ipi(VECTOR);
    send_nmi();
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR_NMI, VECTOR), "an NMI comes before an interrupt that is pending");
}

static void send_from_handler(struct interrupt_frame *frame)
{
    (void)frame;
    send_nmi();
    apic_eoi();
}

static void test_from_handler(void)
{
    reset(count);
    interrupt_set_handler(VECTOR, send_from_handler);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_INITIAL_COUNT, 20000);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    report(nmis == 1, "an NMI interrupts the handler of an interrupt");
}

static void run_all(const char *mode)
{
    (void)mode;
    test_plain();
    test_blocking();
    test_blocking_over_exits();
    test_iret_of_exception();
    test_rank();
    test_from_handler();
}

void guest_main(void)
{
    apic_run_both_modes(run_all);
}
