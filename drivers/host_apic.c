/* SPDX-License-Identifier: MIT */
/* The host's own local APIC, in either mode (SDM volume 3, chapter "APIC"). */
#include "drivers/host_apic.h"

#include <stdbool.h>
#include <stddef.h>

#include "arch/cpuid.h"
#include "arch/interrupts.h"
#include "arch/msr.h"
#include "arch/tsc.h"
#include "arch/vectors.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/log.h"

/* Registers by xAPIC offset; the x2APIC MSR is IA32_X2APIC_APICID - 2 + offset / 16. */
enum apic_register {
    APIC_ID = 0x020,
    APIC_VERSION = 0x030,
    APIC_TPR = 0x080,
    APIC_EOI = 0x0B0,
    APIC_SVR = 0x0F0,
    APIC_ESR = 0x280,
    APIC_LVT_CMCI = 0x2F0,
    APIC_ICR_LOW = 0x300, /* in x2APIC mode the whole 64-bit ICR */
    APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_THERMAL = 0x330,
    APIC_LVT_PMI = 0x340,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_INITIAL_COUNT = 0x380,
    APIC_CURRENT_COUNT = 0x390,
    APIC_DIVIDE = 0x3E0,
};

enum {
    MSR_X2APIC_BASE = 0x800,
    SVR_ENABLE = 1 << 8,
    VERSION_MAX_LVT_SHIFT = 16, /* number of LVT entries less one */
    LVT_MASKED = 1 << 16,
    LVT_TIMER_DEADLINE = 2 << 17,
    DIVIDE_BY_16 = 0x3,
    ICR_FIXED = 0 << 8,
    ICR_NMI = 4 << 8,
    ICR_INIT = 5 << 8,
    ICR_STARTUP = 6 << 8,
    ICR_PENDING = 1 << 12, /* xAPIC only */
    ICR_ASSERT = 1 << 14,
    XAPIC_ID_SHIFT = 24,
};

enum { BUS_MEASURE_DIVISOR = 64 }; /* the bus clock is watched for 1/64 s */

static bool is_x2apic;
static volatile uint32_t *xapic; /* the register page, when not in x2APIC mode */
static bool has_deadline;
static uint64_t bus_hz; /* of the timer after division by 16; 0 in TSC-deadline mode */

static uint32_t read_register(enum apic_register reg)
{
    if (is_x2apic) {
        return (uint32_t)rdmsr(MSR_X2APIC_BASE + reg / 16);
    }
    return xapic[reg / sizeof(*xapic)];
}

static void write_register(enum apic_register reg, uint32_t value)
{
    if (is_x2apic) {
        wrmsr(MSR_X2APIC_BASE + reg / 16, value);
    } else {
        xapic[reg / sizeof(*xapic)] = value;
    }
}

static bool has_lvt(enum apic_register reg)
{
    static const enum apic_register in_order[] = {
        APIC_LVT_TIMER, APIC_LVT_LINT0,   APIC_LVT_LINT1, APIC_LVT_ERROR,
        APIC_LVT_PMI,   APIC_LVT_THERMAL, APIC_LVT_CMCI,
    };
    unsigned entries = (read_register(APIC_VERSION) >> VERSION_MAX_LVT_SHIFT & 0xFF) + 1;
    for (unsigned i = 0; i < entries && i < ARRAY_SIZE(in_order); i++) {
        if (in_order[i] == reg) {
            return true;
        }
    }
    return false;
}

static void mask_lvt(void)
{
    static const enum apic_register lvt[] = {
        APIC_LVT_CMCI,  APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PMI,
        APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lvt); i++) {
        if (has_lvt(lvt[i])) {
            write_register(lvt[i], LVT_MASKED);
        }
    }
}

/* Firmware may have left this CPU in x2APIC mode already; it cannot go back without a reset. */
static void enable(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    is_x2apic = cpuid_read(1, 0).ecx & CPUID_1_ECX_X2APIC;
    if (is_x2apic) {
        wrmsr(IA32_APIC_BASE, base | APIC_BASE_EN);
        wrmsr(IA32_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_EXTD);
    } else {
        wrmsr(IA32_APIC_BASE, base | APIC_BASE_EN);
        xapic = (volatile uint32_t *)(uintptr_t)(base & APIC_BASE_ADDRESS);
    }
}

static const struct interrupt_controller controller = {
    .init_cpu = host_apic_init,
    .id = host_apic_id,
    .eoi = host_apic_eoi,
    .send_nmi = host_apic_send_nmi,
    .send_init = host_apic_send_init,
    .send_startup = host_apic_send_startup,
};

void host_apic_init(void)
{
    enable();
    mask_lvt();
    write_register(APIC_TPR, 0);
    write_register(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    write_register(APIC_ESR, 0);
    if (interrupts_controller() == NULL) {
        interrupts_set_controller(&controller);
        log_info("local APIC: %s mode", is_x2apic ? "x2APIC" : "xAPIC");
    }
}

uint32_t host_apic_id(void)
{
    uint32_t id = read_register(APIC_ID);
    return is_x2apic ? id : id >> XAPIC_ID_SHIFT;
}

void host_apic_eoi(void)
{
    write_register(APIC_EOI, 0);
}

static void send_xapic(uint32_t apic_id, uint32_t command)
{
    while (read_register(APIC_ICR_LOW) & ICR_PENDING) {
        cpu_relax();
    }
    write_register(APIC_ICR_HIGH, apic_id << XAPIC_ID_SHIFT);
    write_register(APIC_ICR_LOW, command);
}

/* MFENCE;LFENCE before a WRMSR to the x2APIC (SDM volume 3, "MSR Access in x2APIC Mode"). */
static void send(uint32_t apic_id, uint32_t command)
{
    __asm__ volatile("mfence; lfence" : : : "memory");
    if (is_x2apic) {
        wrmsr(IA32_X2APIC_ICR, (uint64_t)apic_id << 32 | command);
    } else {
        send_xapic(apic_id, command);
    }
}

void host_apic_send(uint32_t apic_id, uint8_t vector)
{
    send(apic_id, ICR_FIXED | ICR_ASSERT | vector);
}

void host_apic_send_nmi(uint32_t apic_id)
{
    send(apic_id, ICR_NMI | ICR_ASSERT);
}

void host_apic_send_init(uint32_t apic_id)
{
    send(apic_id, ICR_INIT | ICR_ASSERT);
}

void host_apic_send_startup(uint32_t apic_id, uint8_t page)
{
    send(apic_id, ICR_STARTUP | ICR_ASSERT | page);
}

/* Let the masked timer run down for 1/64 s. */
static uint64_t measure_bus(void)
{
    write_register(APIC_DIVIDE, DIVIDE_BY_16);
    write_register(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    write_register(APIC_INITIAL_COUNT, UINT32_MAX);
    uint64_t start = rdtsc();
    uint32_t first = read_register(APIC_CURRENT_COUNT);
    while (rdtsc() - start < tsc_hz() / BUS_MEASURE_DIVISOR) {
        cpu_relax();
    }
    uint32_t last = read_register(APIC_CURRENT_COUNT);
    uint64_t ticks = rdtsc() - start;
    write_register(APIC_INITIAL_COUNT, 0);
    return (uint64_t)(first - last) * tsc_hz() / ticks;
}

void host_apic_timer_init(void)
{
    has_deadline = cpuid_read(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE;
    if (has_deadline) {
        return;
    }
    bus_hz = measure_bus();
    if (bus_hz == 0) {
        fatal("local APIC: the timer does not count, and there is no TSC-deadline mode");
    }
    log_info("local APIC: no TSC-deadline mode; timer at %lu kHz", bus_hz / 1000);
}

/* Timer counts until the deadline: at least 1, rounded up so that it never comes early. */
static uint32_t counts_until(uint64_t tsc_deadline)
{
    uint64_t now = rdtsc();
    if ((int64_t)(tsc_deadline - now) <= 0) {
        return 1;
    }
    uint64_t ticks = tsc_deadline - now;
    uint64_t longest = (uint64_t)UINT32_MAX * (tsc_hz() / bus_hz);
    if (ticks >= longest) {
        return UINT32_MAX;
    }
    uint64_t seconds = ticks / tsc_hz();
    uint64_t counts = seconds * bus_hz + (ticks % tsc_hz() * bus_hz) / tsc_hz() + 1;
    return counts < UINT32_MAX ? (uint32_t)counts : UINT32_MAX;
}

void host_apic_timer_arm(uint64_t tsc_deadline)
{
    if (has_deadline) {
        write_register(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | VECTOR_TIMER);
        /* Orders the memory-mapped LVT write before the MSR's (SDM volume 3, "TSC-Deadline Mode"). */
        __asm__ volatile("mfence" : : : "memory");
        wrmsr(IA32_TSC_DEADLINE, tsc_deadline == 0 ? 1 : tsc_deadline);
    } else {
        write_register(APIC_DIVIDE, DIVIDE_BY_16);
        write_register(APIC_LVT_TIMER, VECTOR_TIMER);
        write_register(APIC_INITIAL_COUNT, counts_until(tsc_deadline));
    }
}

void host_apic_timer_disarm(void)
{
    if (has_deadline) {
        wrmsr(IA32_TSC_DEADLINE, 0);
    } else {
        write_register(APIC_INITIAL_COUNT, 0);
    }
}
