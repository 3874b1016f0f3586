/* SPDX-License-Identifier: MIT */
/*
 * Interrupts between CPUs: destinations, shorthands, lowest priority, NMI, waking from HLT (SDM
 * volume 3, "Issuing Interprocessor Interrupts").
 *
 * guest: cpus=4 protected='test=x2apic'
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum {
    VECTOR = 0x51,
    VECTOR_FENCE = 0x31,
    VECTOR_STOP = 0x32,
    VECTOR_SPURIOUS = 0xEF,
    VECTOR_NMI = 2
};

static const char *mode;
static unsigned cpus;
static volatile bool stopped[GUEST_MAX_CPUS];
static volatile unsigned listening;

static void handle_stop(struct interrupt_frame *frame)
{
    (void)frame;
    stopped[cpu_number()] = true;
    apic_eoi();
}

/* On another CPU: take what comes, until VECTOR_STOP does. */
static void listen(void *unused)
{
    (void)unused;
    apic_enable(VECTOR_SPURIOUS);
    guest_sti();
    __atomic_add_fetch(&listening, 1, __ATOMIC_SEQ_CST);
    while (!stopped[cpu_number()]) {
        cpu_relax();
    }
    guest_cli();
}

/* The same, asleep in between. */
static void listen_halted(void *unused)
{
    (void)unused;
    apic_enable(VECTOR_SPURIOUS);
    __atomic_add_fetch(&listening, 1, __ATOMIC_SEQ_CST);
    while (!stopped[cpu_number()]) {
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
}

static void start_listening(void (*how)(void *))
{
    listening = 0;
    interrupt_set_handler(VECTOR_STOP, handle_stop);
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        stopped[cpu] = false;
        cpu_run_async(cpu, how, NULL);
    }
    while (listening != cpus - 1) {
        cpu_relax();
    }
}

/*
 * A vector of a lower class to each CPU, one by one: when it has arrived, so has all that was sent
 * before.
 */
static void fence(void)
{
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        unsigned before = arrivals_on(cpu, VECTOR_FENCE);
        apic_send_ipi(cpu_apic_id(cpu), ICR_ASSERT | VECTOR_FENCE);
        while (arrivals_on(cpu, VECTOR_FENCE) == before) {
            cpu_relax();
        }
    }
}

static void stop_listening(void)
{
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        apic_send_ipi(cpu_apic_id(cpu), ICR_ASSERT | VECTOR_STOP);
        cpu_wait(cpu);
    }
}

/* The set of CPUs at which VECTOR (or NMI) arrives when this command is sent; each at most once. */
static unsigned send(uint32_t destination, uint32_t command)
{
    uint8_t vector = (command & 0x700) == ICR_NMI ? VECTOR_NMI : VECTOR;
    arrivals_clear();
    guest_sti();
    apic_send_ipi(destination, command | ICR_ASSERT | VECTOR);
    fence();
    guest_cli();
    unsigned set = 0;
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        if (arrivals_on(cpu, vector) > 1) {
            return ~0U;
        }
        set |= arrivals_on(cpu, vector) << cpu;
    }
    return set;
}

static unsigned all(void)
{
    return BIT32(cpus) - 1;
}

static void test_physical(void)
{
    bool each = true;
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        each = send(cpu_apic_id(cpu), 0) == BIT32(cpu) && each;
    }
    report(each, "%s: physical, to each CPU", mode);
    report(send(apic_is_x2apic() ? 0xFFFFFFFF : 0xFF, 0) == all(), "%s: physical broadcast", mode);
    report(send(0, ICR_ALL) == all(), "%s: all including self", mode);
    report(send(0, ICR_OTHERS) == (all() & ~1U), "%s: all excluding self", mode);
    report(send(cpu_apic_id(1), ICR_SELF) == 1, "%s: self", mode);
    report(send(cpu_apic_id(cpus - 1), ICR_NMI) == BIT32(cpus - 1), "%s: NMI to one", mode);
    report(send(0, ICR_OTHERS | ICR_NMI) == (all() & ~1U), "%s: NMI to all excluding self", mode);
}

static uint32_t ldrs[GUEST_MAX_CPUS];
static uint32_t dfr;

static void load_ldr(void *unused)
{
    (void)unused;
    apic_write(APIC_DFR, dfr);
    apic_write(APIC_LDR, ldrs[cpu_number()] << 24);
}

/* Nobody listens meanwhile: other CPUs run this, too. */
static void load_all_ldrs(uint32_t model)
{
    dfr = model;
    load_ldr(NULL);
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        cpu_run(cpu, load_ldr, NULL);
    }
}

static void test_flat(void)
{
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        ldrs[cpu] = BIT32(cpu);
    }
    load_all_ldrs(0xFFFFFFFF);
    start_listening(listen);
    bool each = true;
    for (unsigned set = 1; set <= all(); set++) {
        each = send(set, ICR_LOGICAL) == set && each;
    }
    report(each, "flat: every set of CPUs");
    report(send(0xFF, ICR_LOGICAL) == all(), "flat: broadcast");
    report(send(0x80, ICR_LOGICAL) == 0, "flat: nobody");
    stop_listening();
}

/* Two clusters: even CPUs in cluster 2, odd ones in cluster 5. */
static void test_cluster(void)
{
    unsigned even = all() & 0x55555555;
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        ldrs[cpu] = (cpu % 2 == 0 ? 0x20 : 0x50) | BIT32(cpu / 2);
    }
    load_all_ldrs(0x0FFFFFFF);
    start_listening(listen);
    report(send(0x2F, ICR_LOGICAL) == even, "cluster: all of one");
    report(send(0x5F, ICR_LOGICAL) == (all() & ~even), "cluster: all of the other");
    report(send(0x21, ICR_LOGICAL) == 1, "cluster: one member");
    report(send(0x51, ICR_LOGICAL) == 2, "cluster: one member of the other");
    report(send(0x3F, ICR_LOGICAL) == 0, "cluster: an empty one");
    report(send(0xFF, ICR_LOGICAL) == all(), "cluster: broadcast");
    stop_listening();
}

/* With ids 0 to 15 all CPUs are in x2APIC cluster 0. */
static void test_x2apic_cluster(void)
{
    start_listening(listen);
    bool each = true;
    for (unsigned set = 1; set <= all(); set++) {
        uint32_t members = 0;
        for (unsigned cpu = 0; cpu < cpus; cpu++) {
            members |= (set >> cpu & 1) << cpu_apic_id(cpu);
        }
        each = send(members, ICR_LOGICAL) == set && each;
    }
    report(each, "x2APIC cluster: every set of CPUs");
    report(send(0xFFFFFFFF, ICR_LOGICAL) == all(), "x2APIC cluster: broadcast");
    report(send(0x1FFFF, ICR_LOGICAL) == 0, "x2APIC cluster: an empty one");
    stop_listening();
}

static volatile uint32_t task_priority;

static void load_tpr(void *unused)
{
    (void)unused;
    apic_write(APIC_TPR, task_priority);
}

static unsigned pending_at;

static void look_pending(void *unused)
{
    (void)unused;
    pending_at |= (unsigned)apic_vector_bit(APIC_IRR, VECTOR + 1) << cpu_number();
    guest_take_interrupts();
}

/* To CPUs 1 and 2 with lowest priority, interrupts off there: which of them has it pending. */
static unsigned arbitrate(uint32_t destination)
{
    pending_at = 0;
    apic_send_ipi(destination, ICR_LOGICAL | ICR_LOWEST_PRIORITY | ICR_ASSERT | (VECTOR + 1));
    cpu_run(1, look_pending, NULL);
    cpu_run(2, look_pending, NULL);
    return pending_at;
}

/*
 * "the chipset chooses a target processor ... out of the set of possible targets" by the task
 * priorities; that interrupts in service count as well is not said.
 */
static void test_lowest_priority(uint32_t destination)
{
    arrivals_record(VECTOR + 1);
    task_priority = 0x20;
    cpu_run(1, load_tpr, NULL);
    task_priority = 0x10;
    cpu_run(2, load_tpr, NULL);
    report(arbitrate(destination) == 4, "%s: lowest priority goes to the lower TPR", mode);
    task_priority = 0x30;
    cpu_run(2, load_tpr, NULL);
    report(arbitrate(destination) == 2, "%s: and to the other one when that is lower", mode);
    task_priority = 0;
    cpu_run(1, load_tpr, NULL);
    cpu_run(2, load_tpr, NULL);
}

static void test_halted(void)
{
    start_listening(listen_halted);
    report(send(cpu_apic_id(1), 0) == 2, "%s: an IPI wakes a CPU in HLT", mode);
    report(send(0, ICR_OTHERS) == (all() & ~1U), "%s: or all of them", mode);
    report(send(cpu_apic_id(1), ICR_NMI) == 2, "%s: so does an NMI", mode);
    stop_listening();
}

/* Two CPUs send each other one IPI after the other, each from its handler's count. */
enum { ROUNDS = 200 };

static void pong(void *unused)
{
    (void)unused;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        while (arrivals_on(1, VECTOR) != round) {
            __asm__ volatile("sti; hlt; cli" : : : "memory");
        }
        apic_send_ipi(cpu_apic_id(0), ICR_ASSERT | VECTOR);
    }
}

static void test_ping_pong(void)
{
    arrivals_clear();
    cpu_run_async(1, pong, NULL);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        apic_send_ipi(cpu_apic_id(1), ICR_ASSERT | VECTOR);
        while (arrivals_on(0, VECTOR) != round) {
            __asm__ volatile("sti; hlt; cli" : : : "memory");
        }
    }
    cpu_wait(1);
    report(arrivals(VECTOR) == 2 * ROUNDS, "%s: %u IPIs to and fro, none lost", mode, ROUNDS);
}

static void enable(void *x2apic)
{
    if (x2apic != NULL) {
        apic_enter_x2apic();
    }
    apic_enable(VECTOR_SPURIOUS);
}

static void run_common(void)
{
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_FENCE);
    arrivals_record(VECTOR_NMI);
    start_listening(listen);
    test_physical();
    stop_listening();
    test_halted();
    test_ping_pong();
}

static void test_xapic(void)
{
    mode = "xAPIC";
    enable(NULL);
    run_common();
    test_cluster();
    test_flat();
    test_lowest_priority(BIT32(1) | BIT32(2));
}

static void test_x2apic(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    mode = "x2APIC";
    enable(&mode);
    for (unsigned cpu = 1; cpu < cpus; cpu++) {
        cpu_run(cpu, enable, &mode);
    }
    run_common();
    test_x2apic_cluster();
}

static void test_x2apic_lowest_priority(void)
{
    if (apic_is_x2apic()) {
        test_lowest_priority(BIT32(cpu_apic_id(1)) | BIT32(cpu_apic_id(2)));
    }
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "xapic", test_xapic },
        { "x2apic", test_x2apic },
        { "x2apic-lowest-priority", test_x2apic_lowest_priority },
    };
    apic_enable(VECTOR_SPURIOUS);
    cpus = cpu_start_all();
    if (cpus < 3) {
        guest_fail("needs three CPUs");
    }
    guest_print("%u CPUs\n", cpus);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
