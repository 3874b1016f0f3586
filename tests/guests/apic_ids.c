/* SPDX-License-Identifier: MIT */
/*
 * Local APIC ids that software has changed, two equal ones among them (SDM volume 3, "Local APIC ID"). Whether
 * the xAPIC id can be written at all depends on the processor: with Bochs it cannot.
 *
 * guest: rivet-only cpus=3
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF, VECTOR_NMI = 2, FREE_ID = 9, A_WHILE = 300000 };
enum { SELF = 1 << 0, FIRST = 1 << 1, SECOND = 1 << 2 };

static volatile unsigned listening;
static volatile bool stop;

static void listen(void *unused)
{
    (void)unused;
    guest_sti();
    __atomic_add_fetch(&listening, 1, __ATOMIC_SEQ_CST);
    while (!stop) {
        cpu_relax();
    }
    guest_cli();
}

/* The set of CPUs at which the command arrives; each at most once. */
static unsigned send(uint32_t destination, uint32_t command)
{
    uint8_t vector = (command & 0x700) == ICR_NMI ? VECTOR_NMI : VECTOR;
    uint64_t never = 0;
    arrivals_clear();
    guest_sti();
    apic_send_ipi(destination, command | ICR_ASSERT | VECTOR);
    guest_wait(&never, A_WHILE);
    guest_cli();
    unsigned set = 0;
    for (unsigned cpu = 0; cpu < 3; cpu++) {
        if (arrivals_on(cpu, vector) > 1) {
            return ~0U;
        }
        set |= arrivals_on(cpu, vector) << cpu;
    }
    return set;
}

static void start_listening(void)
{
    listening = 0;
    stop = false;
    cpu_run_async(1, listen, NULL);
    cpu_run_async(2, listen, NULL);
    while (listening != 2) {
        cpu_relax();
    }
}

static void stop_listening(void)
{
    stop = true;
    cpu_wait(1);
    cpu_wait(2);
}

static void set_id(void *id)
{
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_ID, (uint32_t)(uintptr_t)id << 24);
}

static void test_another_id(void)
{
    cpu_run(2, set_id, (void *)(uintptr_t)FREE_ID);
    start_listening();
    report(send(FREE_ID, 0) == SECOND, "a new id names its CPU");
    report(send(2, 0) == 0, "the old one nobody");
    report(send(FREE_ID, ICR_NMI) == SECOND, "an NMI goes there too");
    report(send(0xFF, 0) == (SELF | FIRST | SECOND), "broadcast");
    stop_listening();
}

static void test_equal_ids(void)
{
    cpu_run(2, set_id, (void *)(uintptr_t)1);
    start_listening();
    report(send(1, 0) == (FIRST | SECOND), "an id of two names both");
    report(send(1, ICR_NMI) == (FIRST | SECOND), "for NMIs too");
    report(send(0, ICR_OTHERS) == (FIRST | SECOND), "all excluding self");
    report(send(0, ICR_SELF) == SELF, "self");
    unsigned lowest = send(1, ICR_LOWEST_PRIORITY);
    report(lowest == FIRST || lowest == SECOND, "lowest priority goes to one of them");
    stop_listening();
}

static void test_old_id(void)
{
    cpu_run(2, set_id, (void *)(uintptr_t)2);
    start_listening();
    report(send(1, 0) == FIRST && send(2, 0) == SECOND, "with the old id each is alone again");
    stop_listening();
}

static volatile uint32_t x2apic_id;

static void change_id_and_mode(void *unused)
{
    (void)unused;
    apic_write(APIC_ID, (uint32_t)FREE_ID << 24);
    apic_enter_x2apic();
    x2apic_id = apic_id();
}

static void test_x2apic_id(void)
{
    cpu_run(2, change_id_and_mode, NULL);
    start_listening();
    report(x2apic_id == 2, "in x2APIC mode the id is that of the CPU");
    report(send(2, 0) == SECOND, "and names it");
    report(send(FREE_ID, 0) == 0, "what was written before does not");
    stop_listening();
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "another-id", test_another_id },
        { "equal-ids", test_equal_ids },
        { "old-id", test_old_id },
        { "x2apic-id", test_x2apic_id },
    };
    apic_enable(VECTOR_SPURIOUS);
    if (cpu_start_all() != 3) {
        guest_fail("needs three CPUs");
    }
    cpu_run(1, set_id, (void *)(uintptr_t)1);
    arrivals_record(VECTOR);
    arrivals_record(VECTOR_NMI);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
