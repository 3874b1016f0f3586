/* SPDX-License-Identifier: MIT */
/* The local APIC of this CPU in whichever mode it is (SDM volume 3, chapter "Advanced Programmable
   Interrupt Controller"), and the I/O APIC (Intel 82093AA datasheet). */
#include "tests/guests/lib/apic.h"

#include "arch/cpuid.h"
#include "tests/guests/lib/guest.h"

enum { X2APIC_MSR_BASE = 0x800, XAPIC_ID_SHIFT = 24 };

enum { IOAPIC_WINDOW = 0x10, IOAPIC_REDIRECTION = 0x10 };
static const uintptr_t ioapic_base = 0xFEC00000;

bool apic_is_x2apic(void)
{
    return (rdmsr(IA32_APIC_BASE) & APIC_BASE_EXTD) != 0;
}

bool apic_has_x2apic(void)
{
    return (cpuid_read(1, 0).ecx & CPUID_1_ECX_X2APIC) != 0;
}

void apic_enter_x2apic(void)
{
    wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | APIC_BASE_EXTD);
}

void apic_reset_to_xapic(void)
{
    uint64_t disabled = rdmsr(IA32_APIC_BASE) & ~(APIC_BASE_EN | APIC_BASE_EXTD);
    wrmsr(IA32_APIC_BASE, disabled);
    wrmsr(IA32_APIC_BASE, disabled | APIC_BASE_EN);
}

static void (*run_in_mode)(const char *mode);

static void test_xapic(void)
{
    run_in_mode("xAPIC");
}

static void test_x2apic(void)
{
    if (!apic_has_x2apic()) {
        report_skip("no x2APIC mode");
        return;
    }
    apic_enter_x2apic();
    run_in_mode("x2APIC");
}

void apic_run_both_modes(void (*run_all)(const char *mode))
{
    static const struct guest_test tests[] = {
        { "xapic", test_xapic },
        { "x2apic", test_x2apic },
    };
    run_in_mode = run_all;
    guest_run_tests(tests, ARRAY_SIZE(tests));
}

static volatile uint32_t *xapic_register(unsigned reg)
{
    return (volatile uint32_t *)(uintptr_t)((rdmsr(IA32_APIC_BASE) & APIC_BASE_ADDRESS) + reg);
}

uint32_t apic_read(unsigned reg)
{
    if (apic_is_x2apic()) {
        return (uint32_t)rdmsr(X2APIC_MSR_BASE + reg / 16);
    }
    return *xapic_register(reg);
}

void apic_write(unsigned reg, uint32_t value)
{
    if (apic_is_x2apic()) {
        wrmsr(X2APIC_MSR_BASE + reg / 16, value);
    } else {
        *xapic_register(reg) = value;
    }
}

void apic_enable(uint8_t spurious_vector)
{
    apic_write(APIC_SVR, SVR_ENABLED | spurious_vector);
    apic_write(APIC_TPR, 0);
}

uint32_t apic_id(void)
{
    uint32_t id = apic_read(APIC_ID);
    return apic_is_x2apic() ? id : id >> XAPIC_ID_SHIFT;
}

void apic_send_ipi(uint32_t destination, uint32_t low)
{
    if (apic_is_x2apic()) {
        wrmsr(IA32_X2APIC_ICR, (uint64_t)destination << 32 | low);
        return;
    }
    *xapic_register(APIC_ICR_HIGH) = destination << XAPIC_ID_SHIFT;
    *xapic_register(APIC_ICR) = low;
    while ((*xapic_register(APIC_ICR) & ICR_PENDING) != 0) {
        cpu_relax();
    }
}

void apic_self_ipi(uint8_t vector)
{
    apic_send_ipi(0, ICR_SELF | ICR_ASSERT | vector);
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

bool apic_vector_bit(unsigned base, uint8_t vector)
{
    return (apic_read(base + vector / 32 * 16U) >> vector % 32 & 1) != 0;
}

uint32_t ioapic_read(unsigned index)
{
    *(volatile uint32_t *)ioapic_base = index;
    return *(volatile uint32_t *)(ioapic_base + IOAPIC_WINDOW);
}

void ioapic_write(unsigned index, uint32_t value)
{
    *(volatile uint32_t *)ioapic_base = index;
    *(volatile uint32_t *)(ioapic_base + IOAPIC_WINDOW) = value;
}

uint64_t ioapic_read_entry(unsigned pin)
{
    uint64_t high = ioapic_read(IOAPIC_REDIRECTION + 2 * pin + 1);
    return high << 32 | ioapic_read(IOAPIC_REDIRECTION + 2 * pin);
}

void ioapic_write_entry(unsigned pin, uint64_t entry)
{
    ioapic_write(IOAPIC_REDIRECTION + 2 * pin, RTE_MASKED);
    ioapic_write(IOAPIC_REDIRECTION + 2 * pin + 1, (uint32_t)(entry >> 32));
    ioapic_write(IOAPIC_REDIRECTION + 2 * pin, (uint32_t)entry);
}
