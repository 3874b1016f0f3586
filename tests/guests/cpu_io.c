/* SPDX-License-Identifier: MIT */
/*
 * IN, OUT, INS and OUTS (SDM volume 1, "Input/Output"; volume 2): with repetition, backwards, with short
 * addresses, through segments and over page faults. The ports are the scratch register of COM1 (8 bits
 * that hold what was written) and the configuration address of PCI (32 bits).
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/arrivals.h"
#include "tests/guests/lib/guest.h"

enum { SCRATCH = 0x3FF, PCI_ADDRESS = 0xCF8, PCI_ENABLE = 1U << 31 };
enum { VECTOR = 0x51, VECTOR_SPURIOUS = 0xEF };
enum { PTE_PRESENT_WRITE = 3 };

static uint8_t buffer[16] __attribute__((aligned(16)));

static void test_plain(void)
{
    bool all = true;
    for (unsigned value = 0; value < 256; value++) {
        outb(SCRATCH, (uint8_t)value);
        all = inb(SCRATCH) == value && all;
    }
    report(all, "OUT and IN of a byte by DX");
    uint64_t rax = 0x1122334455667788;
    outb(SCRATCH, 0xEE);
    __asm__ volatile("inb %%dx, %%al" : "+a"(rax) : "d"(SCRATCH));
    report(rax == 0x11223344556677EE, "IN AL keeps the rest of RAX");
    outl(PCI_ADDRESS, PCI_ENABLE | 0x1234);
    rax = ~0ULL;
    __asm__ volatile("inl %%dx, %%eax" : "+a"(rax) : "d"(PCI_ADDRESS));
    report((uint32_t)rax == (PCI_ENABLE | 0x1234), "OUT and IN of 32 bits");
    report(rax >> 32 == 0, "IN EAX clears the upper half of RAX");
    __asm__ volatile("outb %%al, $0x80" : : "a"(0x12));
    report(inb(SCRATCH) == 0xEE, "OUT to an immediate port changes no other port");
    outl(PCI_ADDRESS, 0);
}

static void test_outs(void)
{
    static const uint8_t source[4] = { 0x10, 0x20, 0x30, 0x40 };
    const uint8_t *from = source;
    uint64_t count = 4;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(SCRATCH) : "memory");
    report(count == 0 && from == source + 4 && inb(SCRATCH) == 0x40, "REP OUTSB");
    from = source + 3;
    count = 3;
    __asm__ volatile("std; rep outsb; cld" : "+S"(from), "+c"(count) : "d"(SCRATCH) : "memory");
    report(count == 0 && from == source && inb(SCRATCH) == 0x20, "REP OUTSB downwards");
    from = source;
    count = 0;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(SCRATCH) : "memory");
    report(count == 0 && from == source && inb(SCRATCH) == 0x20, "REP OUTSB of nothing");
    __asm__ volatile("outsb" : "+S"(from) : "d"(SCRATCH) : "memory");
    report(from == source + 1 && inb(SCRATCH) == 0x10, "OUTSB without REP");
    uint32_t word = PCI_ENABLE | 0x5678;
    const uint32_t *words = &word;
    __asm__ volatile("outsl" : "+S"(words) : "d"(PCI_ADDRESS) : "memory");
    report(words == &word + 1 && inl(PCI_ADDRESS) == word, "OUTSD");
    outl(PCI_ADDRESS, 0);
}

static void test_ins(void)
{
    uint8_t *to = buffer;
    uint64_t count = 5;
    memset(buffer, 0, sizeof(buffer));
    outb(SCRATCH, 0x77);
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(SCRATCH) : "memory");
    report(count == 0 && to == buffer + 5 && buffer[4] == 0x77 && buffer[5] == 0, "REP INSB");
    to = buffer + 15;
    count = 2;
    __asm__ volatile("std; rep insb; cld" : "+D"(to), "+c"(count) : "d"(SCRATCH) : "memory");
    report(count == 0 && to == buffer + 13 && buffer[14] == 0x77 && buffer[13] == 0,
           "REP INSB downwards");
    outl(PCI_ADDRESS, PCI_ENABLE | 0x4444);
    uint32_t words[3] = { 0, 0, 0 };
    uint32_t *at = words;
    count = 2;
    __asm__ volatile("rep insl" : "+D"(at), "+c"(count) : "d"(PCI_ADDRESS) : "memory");
    report(words[0] == (PCI_ENABLE | 0x4444) && words[1] == words[0] && words[2] == 0, "REP INSD");
    outl(PCI_ADDRESS, 0);
}

/* Address size 32: ESI, EDI and ECX; the upper halves of what is written are cleared. */
static void test_short_addresses(void)
{
    static const uint8_t source[2] = { 0x51, 0x52 };
    uint64_t from = (uintptr_t)source | 0xABCD00000000;
    uint64_t count = 0x100000002;
    __asm__ volatile("addr32 rep outsb" : "+S"(from), "+c"(count) : "d"(SCRATCH) : "memory");
    report(inb(SCRATCH) == 0x52 && count == 0 && from == (uintptr_t)source + 2,
           "REP OUTSB with 32-bit addresses");
    uint64_t to = (uintptr_t)buffer | 0xABCD00000000;
    count = 0x100000003;
    memset(buffer, 0, sizeof(buffer));
    __asm__ volatile("addr32 rep insb" : "+D"(to), "+c"(count) : "d"(SCRATCH) : "memory");
    report(buffer[2] == 0x52 && buffer[3] == 0 && count == 0 && to == (uintptr_t)buffer + 3,
           "REP INSB with 32-bit addresses");
}

static void test_segment(void)
{
    static const uint8_t source[2] = { 0x61, 0x62 };
    uint64_t old = rdmsr(IA32_FS_BASE);
    uint64_t from = 1;
    wrmsr(IA32_FS_BASE, (uintptr_t)source);
    __asm__ volatile("outsb %%fs:(%%rsi), %%dx" : "+S"(from) : "d"(SCRATCH) : "memory");
    wrmsr(IA32_FS_BASE, old);
    report(inb(SCRATCH) == 0x62 && from == 2, "OUTSB through FS");
}

/* Two pages at 1 GiB, the second one not present. */
extern uint64_t guest_pd[4 * 512]; /* boot.S */
static uint64_t table[512] __attribute__((aligned(PAGE_SIZE)));
static uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static void test_page_fault(void)
{
    uint8_t *const linear = (uint8_t *)GIB(1);
    uint64_t saved = guest_pd[512];
    table[0] = (uintptr_t)page | PTE_PRESENT_WRITE;
    table[1] = 0;
    guest_pd[512] = (uintptr_t)table | PTE_PRESENT_WRITE;
    write_cr3(read_cr3());
    uint8_t *at = linear + PAGE_SIZE - 3;
    uint64_t count = 5;
    memset(page, 0, sizeof(page));
    outb(SCRATCH, 0x99);
    unsigned fault = FAULT_OF("rep insb", : "+D"(at), "+c"(count) : "d"(SCRATCH) : "memory");
    report(fault == EXCEPTION_PF && guest_fault.error_code == PF_WRITE &&
               read_cr2() == (uintptr_t)linear + PAGE_SIZE,
           "REP INSB into a page that is not present is #PF");
    report(count == 2 && at == linear + PAGE_SIZE && page[PAGE_SIZE - 3] == 0x99 &&
               page[PAGE_SIZE - 1] == 0x99,
           "after as many iterations as fit");
    page[PAGE_SIZE - 1] = 0x31;
    at = linear + PAGE_SIZE - 1;
    count = 2;
    fault = FAULT_OF("rep outsb", : "+S"(at), "+c"(count) : "d"(SCRATCH) : "memory");
    report(fault == EXCEPTION_PF && guest_fault.error_code == 0 && count == 1 &&
               at == linear + PAGE_SIZE && inb(SCRATCH) == 0x31,
           "REP OUTSB as well");
    uint32_t *over = (uint32_t *)(linear + PAGE_SIZE - 2);
    fault = FAULT_OF("insl", : "+D"(over) : "d"(PCI_ADDRESS) : "memory");
    report(fault == EXCEPTION_PF && over == (uint32_t *)(linear + PAGE_SIZE - 2) &&
               read_cr2() == (uintptr_t)linear + PAGE_SIZE,
           "INSD that reaches into it");
    uint64_t bad = 0x0000800000000000;
    report(FAULT_OF("outsb",
                    : "+S"(bad)
                    : "d"(SCRATCH)
                    : "memory") == EXCEPTION_GP,
           "OUTSB from an address that is not canonical is #GP");
    guest_pd[512] = saved;
    write_cr3(read_cr3());
}

/* Accessed and dirty bits: INS writes memory as any other instruction does. */
static void test_dirty(void)
{
    uint8_t *const linear = (uint8_t *)GIB(1);
    uint64_t saved = guest_pd[512];
    table[0] = (uintptr_t)page | PTE_PRESENT_WRITE;
    guest_pd[512] = (uintptr_t)table | PTE_PRESENT_WRITE;
    write_cr3(read_cr3());
    const uint8_t *from = linear;
    __asm__ volatile("outsb" : "+S"(from) : "d"(SCRATCH) : "memory");
    report((table[0] & 0x60) == 0x20, "OUTSB sets the accessed bit only");
    uint8_t *to = linear;
    __asm__ volatile("insb" : "+D"(to) : "d"(SCRATCH) : "memory");
    report((table[0] & 0x60) == 0x60, "INSB sets the dirty bit");
    guest_pd[512] = saved;
    write_cr3(read_cr3());
}

/* A repeated OUTS is interrupted between iterations, and none is lost or done twice. */
static void test_interrupted(void)
{
    static uint8_t source[4096];
    uint64_t count = sizeof(source);
    const uint8_t *from = source;
    for (unsigned i = 0; i < sizeof(source); i++) {
        source[i] = (uint8_t)(i * 3);
    }
    arrivals_record(VECTOR);
    apic_enable(VECTOR_SPURIOUS);
    apic_write(APIC_DIVIDE, DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, LVT_TIMER_PERIODIC | VECTOR);
    apic_write(APIC_INITIAL_COUNT, 1000);
    guest_sti();
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(SCRATCH) : "memory");
    guest_cli();
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_INITIAL_COUNT, 0);
    guest_take_interrupts();
    report(count == 0 && from == source + sizeof(source) &&
               inb(SCRATCH) == source[sizeof(source) - 1],
           "REP OUTSB under interrupts");
    report(arrivals(VECTOR) != 0, "which arrived meanwhile");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "plain", test_plain },     { "outs", test_outs },
        { "ins", test_ins },         { "short-addresses", test_short_addresses },
        { "segment", test_segment }, { "page-fault", test_page_fault },
        { "dirty", test_dirty },     { "interrupted", test_interrupted },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
