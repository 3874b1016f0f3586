/* SPDX-License-Identifier: MIT */
/*
 * What the local APIC calls an error, and how it tells (SDM volume 3, "Error Handling", "Valid
 * Interrupt Vectors", "Spurious Interrupt").
 *
 * guest: protected='test=x2apic'
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_ERROR = 0x71, VECTOR_SPURIOUS = 0xEF, VECTOR_ILLEGAL = 0x0F };
enum {
    ESR_SEND_ILLEGAL_VECTOR = 0x20,
    ESR_RECEIVE_ILLEGAL_VECTOR = 0x40,
    ESR_ILLEGAL_REGISTER = 0x80,
};
enum { RESERVED_REGISTER = 0x040, TIMER_SOON = 1000, TIMER_WAIT = 100000 };

static const char *mode;

/* The errors since the last call. */
static uint32_t latch_errors(void)
{
    apic_write(APIC_ESR, 0);
    return apic_read(APIC_ESR);
}

static void reset_errors(uint32_t lvt_error)
{
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_LVT_ERROR, lvt_error);
    latch_errors();
    guest_take_interrupts();
    arrivals_clear();
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_ERROR);
    arrivals_record(VECTOR_SPURIOUS);
}

static void test_send_illegal_vector(void)
{
    reset_errors(LVT_MASKED);
    apic_send_ipi(apic_id(), ICR_FIXED | ICR_ASSERT | VECTOR_ILLEGAL);
    report(apic_read(APIC_ESR) == 0, "%s: ESR does not change before it is written", mode);
    report((latch_errors() & ESR_SEND_ILLEGAL_VECTOR) != 0,
           "%s: an IPI with vector 15 is 'send illegal vector'", mode);
    report(latch_errors() == 0, "%s: written twice ESR is 0", mode);
    apic_send_ipi(apic_id(), ICR_FIXED | ICR_ASSERT | VECTOR);
    report(latch_errors() == 0, "%s: an IPI with a legal vector is no error", mode);
    guest_take_interrupts();
    report(ARRIVALS_WERE(VECTOR), "%s: only that one arrives", mode);
    apic_send_ipi(apic_id() + 64, ICR_FIXED | ICR_ASSERT | VECTOR);
    report(latch_errors() == 0, "%s: an IPI that nobody takes is no error", mode);
    apic_send_ipi(apic_id(), ICR_NMI | ICR_ASSERT | VECTOR_ILLEGAL);
    report(latch_errors() == 0, "%s: the vector of an NMI is ignored", mode);
}

static void test_self_ipi_register(void)
{
    if (!apic_is_x2apic()) {
        return;
    }
    reset_errors(LVT_MASKED);
    apic_write(APIC_SELF_IPI, VECTOR_ILLEGAL);
    report((latch_errors() & ESR_SEND_ILLEGAL_VECTOR) != 0,
           "%s: so is one by the self-IPI register", mode);
    guest_take_interrupts();
    report(arrivals_total() == 0, "%s: and nothing arrives", mode);
}

/* "or in an interrupt generated locally from the local vector table" */
static void test_receive_illegal_vector(void)
{
    reset_errors(LVT_MASKED);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR_ILLEGAL);
    apic_write(APIC_INITIAL_COUNT, TIMER_SOON);
    const volatile uint64_t never = 0;
    guest_wait(&never, TIMER_WAIT);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    report((latch_errors() & ESR_RECEIVE_ILLEGAL_VECTOR) != 0,
           "%s: the timer with vector 15 is 'receive illegal vector'", mode);
    report((apic_read(APIC_IRR) & 0xFFFF) == 0, "%s: IRR never has a vector below 16", mode);
}

static void test_error_interrupt(void)
{
    reset_errors(VECTOR_ERROR);
    apic_send_ipi(apic_id(), ICR_FIXED | ICR_ASSERT | VECTOR_ILLEGAL);
    guest_take_interrupts();
    report(arrivals(VECTOR_ERROR) == 1, "%s: an error interrupts through LVT error", mode);
    latch_errors();
    apic_send_ipi(apic_id(), ICR_FIXED | ICR_ASSERT | VECTOR_ILLEGAL);
    guest_take_interrupts();
    report(arrivals(VECTOR_ERROR) == 2, "%s: after ESR was written the next one does too", mode);
    latch_errors();
    apic_write(APIC_LVT_ERROR, LVT_MASKED | VECTOR_ERROR);
    apic_send_ipi(apic_id(), ICR_FIXED | ICR_ASSERT | VECTOR_ILLEGAL);
    guest_take_interrupts();
    report(arrivals(VECTOR_ERROR) == 2, "%s: masked it does not", mode);
    report((latch_errors() & ESR_SEND_ILLEGAL_VECTOR) != 0, "%s: but ESR tells", mode);
}

static void test_illegal_register(void)
{
    if (apic_is_x2apic()) {
        return;
    }
    reset_errors(LVT_MASKED);
    (void)apic_read(RESERVED_REGISTER);
    report(latch_errors() == ESR_ILLEGAL_REGISTER, "xAPIC: reading a reserved address is an error");
    apic_write(RESERVED_REGISTER, 0);
    report(latch_errors() == ESR_ILLEGAL_REGISTER, "xAPIC: so is writing one");
    (void)apic_read(APIC_VERSION);
    apic_write(APIC_TPR, 0);
    report(latch_errors() == 0, "xAPIC: a register is not");
}

static void run_all(const char *name)
{
    mode = name;
    arrivals_record(EXCEPTION_NMI);
    test_send_illegal_vector();
    test_self_ipi_register();
    test_receive_illegal_vector();
    test_error_interrupt();
    test_illegal_register();
}

void guest_main(void)
{
    apic_run_both_modes(run_all);
}
