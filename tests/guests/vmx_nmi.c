/* SPDX-License-Identifier: MIT */
/*
 * How long an NMI that caused a VM exit blocks the next one (SDM volume 3, "Updating Non-Register State",
 * "Handling Multiple NMIs", "Interruptibility State"), and Rivet's way to end that, cpu_unblock_nmis.
 * guest: bare-only
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"
#include "tests/guests/lib/vmx.h"

enum { LIMIT = 1000000, A_WHILE = 10000 };
enum { XAPIC_BASE = 0xFEE00000 };

static struct vmx_guest nested;
static uint32_t me;

static void send_nmi(void)
{
    apic_send_ipi(me, ICR_NMI | ICR_ASSERT);
}

static void pass_ticks(uint64_t ticks)
{
    const volatile uint64_t never = 0;
    guest_wait(&never, ticks);
}

/* Code of the nested guest, which has the local APIC itself; RDMSR, to learn its mode, would exit. */
static void code_send_nmis(void)
{
    for (;;) {
        *(volatile uint32_t *)(XAPIC_BASE + APIC_ICR_HIGH) = me << 24;
        *(volatile uint32_t *)(XAPIC_BASE + APIC_ICR) = ICR_NMI | ICR_ASSERT;
        vmx_vmcall();
    }
}

static bool exits_by_nmi(void)
{
    return vmx_enter(&nested) == EXIT_REASON_EXCEPTION_OR_NMI &&
           (vmread(VMCS_EXIT_INTERRUPTION_INFORMATION) & 0x7FF) == (2 << 8 | EXCEPTION_NMI);
}

/* A guest that has left by an NMI of its own. */
static void leave_by_nmi(void)
{
    nested.pin = PIN_PREEMPTION_TIMER | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS;
    vmx_prepare(&nested, code_send_nmis);
    vmx_limit(LIMIT);
    arrivals_clear();
    report(exits_by_nmi(), "an NMI causes a VM exit");
    report(arrivals_total() == 0, "and does not arrive besides");
}

static void test_unblock(void)
{
    leave_by_nmi();
    send_nmi();
    pass_ticks(A_WHILE);
    report(arrivals_total() == 0, "after it NMIs are blocked");
    uint64_t before = read_rflags();
    cpu_unblock_nmis();
    uint64_t after = read_rflags();
    report(ARRIVALS_WERE(EXCEPTION_NMI), "cpu_unblock_nmis lets in the one that waits");
    report(before == after, "and leaves RFLAGS alone");
    send_nmi();
    pass_ticks(A_WHILE);
    report(arrivals_total() == 2, "and the next one");
}

static void test_other_exit(void)
{
    leave_by_nmi();
    report(vmx_enter(&nested) == EXIT_REASON_VMCALL, "the guest goes on");
    send_nmi();
    pass_ticks(A_WHILE);
    report(ARRIVALS_WERE(EXCEPTION_NMI), "after an exit for another reason NMIs are not blocked");
}

static void test_entry(void)
{
    leave_by_nmi();
    send_nmi();
    report(exits_by_nmi(), "VM entry ends the blocking: the one that waits exits at once");
    report(arrivals_total() == 0, "and does not arrive besides");
    cpu_unblock_nmis();
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "unblock", test_unblock },
        { "other-exit", test_other_exit },
        { "entry", test_entry },
    };
    if (!vmx_usable()) {
        guest_fail("no VMX");
    }
    apic_enable(0xFF);
    me = apic_id();
    arrivals_record(EXCEPTION_NMI);
    vmx_on();
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
