/* SPDX-License-Identifier: MIT */
/* A record of the interrupts that arrived: how many at each vector and CPU, and in which order. */
#include "tests/guests/lib/arrivals.h"

#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { ORDER_SIZE = 64, WAIT_TICKS = 20000000 };

static volatile unsigned counts[GUEST_MAX_CPUS][256];
static volatile unsigned total;
static volatile uint8_t order[ORDER_SIZE];

void arrivals_note(uint8_t vector)
{
    unsigned place = __atomic_fetch_add(&total, 1, __ATOMIC_SEQ_CST);
    if (place < ORDER_SIZE) {
        order[place] = vector;
    }
    counts[cpu_number()][vector]++;
}

static void note_and_eoi(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
    if (frame->vector != EXCEPTION_NMI) {
        apic_eoi();
    }
}

static void note(struct interrupt_frame *frame)
{
    arrivals_note((uint8_t)frame->vector);
}

void arrivals_record(uint8_t vector)
{
    interrupt_set_handler(vector, note_and_eoi);
}

void arrivals_record_in_service(uint8_t vector)
{
    interrupt_set_handler(vector, note);
}

void arrivals_clear(void)
{
    for (unsigned cpu = 0; cpu < GUEST_MAX_CPUS; cpu++) {
        for (unsigned vector = 0; vector < 256; vector++) {
            counts[cpu][vector] = 0;
        }
    }
    total = 0;
}

unsigned arrivals_on(unsigned cpu, uint8_t vector)
{
    return counts[cpu][vector];
}

unsigned arrivals(uint8_t vector)
{
    unsigned sum = 0;
    for (unsigned cpu = 0; cpu < GUEST_MAX_CPUS; cpu++) {
        sum += counts[cpu][vector];
    }
    return sum;
}

unsigned arrivals_total(void)
{
    return total;
}

bool arrivals_were(const uint8_t *vectors, unsigned count)
{
    bool same = total == count;
    for (unsigned i = 0; same && i < count; i++) {
        same = order[i] == vectors[i];
    }
    return same;
}

bool arrivals_wait(uint8_t vector, unsigned count)
{
    uint64_t start = rdtsc();
    while (arrivals(vector) < count && rdtsc() - start < WAIT_TICKS) {
        cpu_relax();
    }
    return arrivals(vector) >= count;
}
