/* SPDX-License-Identifier: MIT */
/*
 * Many interrupts from many sides: each CPU sends to the others, sleeps, raises and lowers its TPR, and
 * has a periodic timer. None is lost: whoever sends waits for the answer, and the waiting would not end
 * (SDM volume 3, "Interrupt Acceptance for Fixed Interrupts").
 *
 * guest: cpus=4 protected
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR_ASK = 0x60, VECTOR_ANSWER = 0x80, VECTOR_TIMER = 0x51, VECTOR_SPURIOUS = 0xEF };
enum { ROUNDS = 100, TICK = 30000 }; /* rounds=N: others */

static unsigned cpus;
static unsigned rounds;
static const char *mode;
static bool x2apic;
static volatile unsigned ready;
static volatile unsigned finished;

/* asked[a][b]: requests that b got from a; answered[a][b]: answers that a got from b. */
static volatile unsigned asked[GUEST_MAX_CPUS][GUEST_MAX_CPUS];
static volatile unsigned answered[GUEST_MAX_CPUS][GUEST_MAX_CPUS];

/* The low bits of the vector name the sender. */
static void handle_ask(struct interrupt_frame *frame)
{
    unsigned from = (unsigned)frame->vector - VECTOR_ASK;
    unsigned me = cpu_number();
    asked[from][me]++;
    apic_eoi();
    apic_send_ipi(cpu_apic_id(from), ICR_ASSERT | (VECTOR_ANSWER + me));
}

static void handle_answer(struct interrupt_frame *frame)
{
    answered[cpu_number()][frame->vector - VECTOR_ANSWER]++;
    apic_eoi();
}

static void wait_halted(const volatile unsigned *counter, unsigned value)
{
    while (*counter < value) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
}

static void wait_spinning(const volatile unsigned *counter, unsigned value)
{
    guest_sti();
    while (*counter < value) {
        cpu_relax();
    }
    guest_cli();
}

/* With the answer held back by TPR at first. */
static void wait_held_back(const volatile unsigned *counter, unsigned value)
{
    apic_write(APIC_TPR, VECTOR_ANSWER | 0xF);
    guest_take_interrupts();
    apic_write(APIC_TPR, 0);
    wait_halted(counter, value);
}

/* Then all wait for each other: a local APIC that is not enabled takes nothing. */
static void enter_mode(void)
{
    if (x2apic && !apic_is_x2apic()) {
        apic_enter_x2apic();
    }
    apic_enable(VECTOR_SPURIOUS);
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (ready < cpus) {
        cpu_relax();
    }
}

/* Every CPU. */
static void run(void *with_timer)
{
    unsigned me = cpu_number();
    enter_mode();
    if (with_timer != NULL) {
        apic_write(APIC_DIVIDE, DIVIDE_BY_1);
        apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR_TIMER);
        apic_write(APIC_INITIAL_COUNT, TICK + me * 777);
    }
    for (unsigned round = 1; round <= rounds; round++) {
        for (unsigned other = 0; other < cpus; other++) {
            if (other == me) {
                continue;
            }
            apic_send_ipi(cpu_apic_id(other), ICR_ASSERT | (VECTOR_ASK + me));
            if (round % 3 == 0) {
                wait_halted(&answered[me][other], round);
            } else if (round % 3 == 1) {
                wait_spinning(&answered[me][other], round);
            } else {
                wait_held_back(&answered[me][other], round);
            }
        }
    }
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
    wait_spinning(&finished, cpus); /* and go on answering */
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_INITIAL_COUNT, 0);
    guest_take_interrupts();
}

static void report_counts(const char *what)
{
    bool all_asked = true;
    bool all_answered = true;
    for (unsigned a = 0; a < cpus; a++) {
        for (unsigned b = 0; b < cpus; b++) {
            unsigned expected = a == b ? 0 : rounds;
            all_asked = asked[a][b] == expected && all_asked;
            all_answered = answered[a][b] == expected && all_answered;
        }
    }
    report(all_asked, "%s, %s: each request arrived once", mode, what);
    report(all_answered, "%s, %s: each answer as well", mode, what);
}

static void run_everywhere(void *with_timer)
{
    ready = 0;
    finished = 0;
    memset((void *)(uintptr_t)asked, 0, sizeof(asked));
    memset((void *)(uintptr_t)answered, 0, sizeof(answered));
    arrivals_clear();
    arrivals_record(VECTOR_TIMER);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        interrupt_set_handler(VECTOR_ASK + cpu, handle_ask);
        interrupt_set_handler(VECTOR_ANSWER + cpu, handle_answer);
    }
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        cpu_run_async(cpu, run, with_timer);
    }
    run(with_timer);
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        cpu_wait(cpu);
    }
}

static void run_both(void)
{
    run_everywhere(NULL);
    report_counts("without timers");
    run_everywhere(&cpus);
    report_counts("with timers");
    bool ticks = true;
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        ticks = arrivals_on(cpu, VECTOR_TIMER) != 0 && ticks;
    }
    report(ticks, "%s: and each CPU had timer ticks", mode);
}

static void test_xapic(void)
{
    mode = "xAPIC";
    run_both();
}

static void test_x2apic(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    mode = "x2APIC";
    x2apic = true;
    run_both();
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "xapic", test_xapic },
        { "x2apic", test_x2apic },
    };
    apic_enable(VECTOR_SPURIOUS);
    cpus = cpu_start_all();
    rounds = (unsigned)guest_option_number("rounds", ROUNDS);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
