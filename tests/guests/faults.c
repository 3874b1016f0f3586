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

/* lib/boot.S: the page directories of the first 4 GiB. */
extern uint64_t guest_pd[];
enum { PTE_TABLE = 3, LARGE_PAGE_SHIFT = 21 };

static void move_page_table(uint64_t linear)
{
    guest_pd[linear >> LARGE_PAGE_SHIFT] = NOWHERE | PTE_TABLE;
    __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory");
}

static void page_table_nowhere(void)
{
    move_page_table((uintptr_t)guest_pd);
}

/* The same where nothing else lies: a page fault, which the guest's handler gets. */
static void page_table_of_data_nowhere(void)
{
    const uint64_t linear = 0x40000000;
    move_page_table(linear);
    __asm__ volatile("movl (%0), %%eax" : : "r"(linear) : "rax");
}

/* From 64-bit mode to PAE paging, and there a new CR3: the CPU loads four PDPTEs from it. */
static uint64_t pdpt[4] __attribute__((aligned(32), used));
__asm__(".pushsection .text\n"
        "pae_nowhere_code:\n"
        "    lgdt pae_gdt_pointer\n"
        "    pushq $8\n"
        "    pushq $1f\n"
        "    lretq\n"
        ".code32\n"
        "1:  movl %cr0, %ebx\n"
        "    andl $0x7FFFFFFF, %ebx\n"
        "    movl %ebx, %cr0\n"
        "    movl $0xC0000080, %ecx\n"
        "    rdmsr\n"
        "    andl $~0x100, %eax\n"
        "    wrmsr\n"
        "    movl $pdpt, %eax\n"
        "    movl %eax, %cr3\n"
        "    orl $0x80000000, %ebx\n"
        "    movl %ebx, %cr0\n"
        "    movl $0xC0000000, %eax\n"
        "    movl %eax, %cr3\n"
        "    hlt\n"
        ".code64\n"
        "pae_gdt:\n"
        "    .quad 0, 0x00CF9B000000FFFF\n"
        "pae_gdt_pointer:\n"
        "    .word 15\n"
        "    .quad pae_gdt\n"
        ".popsection\n");
void pae_nowhere_code(void);

static void pae_table_nowhere(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(pdpt); i++) {
        pdpt[i] = ((uintptr_t)guest_pd + i * PAGE_SIZE) | 1;
    }
    pae_nowhere_code();
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
        { "page-table-nowhere", page_table_nowhere },
        { "page-table-of-data-nowhere", page_table_of_data_nowhere },
        { "pae-table-nowhere", pae_table_nowhere },
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
