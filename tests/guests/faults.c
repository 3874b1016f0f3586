/* SPDX-License-Identifier: MIT */
/*
 * What no machine survives, or no hypervisor carries out: `fault=NAME` does one of it. The VM must end
 * with one line, and no other VM may notice.
 * guest: elsewhere (tests/system/kills.py)
 */
#include "tests/guests/lib/guest.h"

/* Between the end of RAM and the I/O APIC there is nothing. */
enum { NOWHERE = 0xC0000000, IOAPIC = 0xFEC00000, LOCAL_APIC = 0xFEE00000 };

static void triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt = { 0, 0 };
    __asm__ volatile("lidt %0\n\tint3" : : "m"(no_idt));
}

static void fetch_nowhere(void)
{
    __asm__ volatile("jmp *%0" : : "r"((uint64_t)NOWHERE));
}

static void fetch_local_apic(void)
{
    __asm__ volatile("jmp *%0" : : "r"((uint64_t)LOCAL_APIC));
}

static void stack_in_device(void)
{
    __asm__ volatile("mov %0, %%rsp\n\tint3" : : "r"((uint64_t)IOAPIC + 0x800));
}

static void page_tables_nowhere(void)
{
    write_cr3(NOWHERE);
}

static void odd_access(void)
{
    __asm__ volatile("fxsave (%0)" : : "r"((uint64_t)IOAPIC) : "memory");
}

void guest_main(void)
{
    static const struct guest_test faults[] = {
        { "triple-fault", triple_fault },
        { "fetch-nowhere", fetch_nowhere },
        { "fetch-local-apic", fetch_local_apic },
        { "stack-in-device", stack_in_device },
        { "page-tables-nowhere", page_tables_nowhere },
        { "odd-access", odd_access },
    };
    const char *wanted = guest_option("fault");
    for (unsigned i = 0; wanted != NULL && i < ARRAY_SIZE(faults); i++) {
        if (strcmp(wanted, faults[i].name) == 0) {
            faults[i].run();
        }
    }
    report(false, "the machine is gone");
}
