/* SPDX-License-Identifier: MIT */
/*
 * A journey from 64-bit mode down to real mode and back: compatibility mode, protected mode without
 * paging, with 32-bit and with PAE paging, 16-bit protected mode, real mode with interrupts (SDM volume
 * 3, "Processor Management and Initialization", "8086 Emulation"; volume 3, "Paging").
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { CODE_PAGE = 0xB000, LOG_PAGE = 0xC000, PD_PAGE = 0xD000, PDPT_PAGE = 0xE000 };
enum { PAE_PD_PAGE = 0xF000, MARKER = 0x4D415246 };
enum { VECTOR_SOFT = 0x40, VECTOR_HARD = 0x41, VECTOR_SPURIOUS = 0xEF };
enum { PTE_LARGE = 0x83, PDPTE_PRESENT = 1 };

/* What the code finds out on its way: dwords at LOG_PAGE, in this order. */
struct log {
    uint32_t compatibility_efer;
    uint32_t compatibility_push; /* bytes that PUSH takes */
    uint32_t protected_efer;
    uint32_t protected_cr0;
    uint32_t paging_32;  /* the marker, by its alias */
    uint32_t paging_pae; /* the same */
    uint32_t protected_16_push;
    uint32_t real_cr0;
    uint32_t soft_interrupts;
    uint32_t hard_interrupts;
    uint32_t divide_errors;
    uint32_t real_cpuid;
    uint32_t real_flags; /* in the handler */
    uint32_t msw;
    uint32_t marker;
    uint32_t real_far; /* read above 64 KiB by a segment */
};

/* lib/modes.S */
extern const uint8_t modes_code[], modes_code_end[];
extern const uint8_t modes_cr0[], modes_cr3[], modes_soft[], modes_hard[], modes_divide[];
void modes_travel(void);

static volatile struct log *const log = (volatile struct log *)(uintptr_t)LOG_PAGE;

/* Where a part of the code is in the low page. */
static uint32_t low(const uint8_t *label)
{
    return CODE_PAGE + (uint32_t)(label - modes_code);
}

/* For addresses such as 0, which compilers take for an error. */
static void put32(uint32_t address, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"((uint64_t)address) : "memory");
}

static uint32_t get32(uint32_t address)
{
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"((uint64_t)address) : "memory");
    return value;
}

static void prepare(void)
{
    memset((void *)(uintptr_t)LOG_PAGE, 0, 4 * PAGE_SIZE);
    memcpy((void *)(uintptr_t)CODE_PAGE, modes_code, (size_t)(modes_code_end - modes_code));
    put32(low(modes_cr0), (uint32_t)read_cr0());
    put32(low(modes_cr3), (uint32_t)read_cr3());
    put32(PD_PAGE, PTE_LARGE);
    put32(PD_PAGE + 4, PTE_LARGE);
    put32(PDPT_PAGE, PAE_PD_PAGE | PDPTE_PRESENT);
    put32(PAE_PD_PAGE, PTE_LARGE);
    put32(PAE_PD_PAGE + 8, PTE_LARGE);
    log->marker = MARKER;
}

static void travel(void)
{
    modes_travel();
    cpu_load_tables(0);
}

static void test_journey(void)
{
    uint32_t old_divide = get32(0);
    uint32_t old_soft = get32(VECTOR_SOFT * 4);
    uint32_t old_hard = get32(VECTOR_HARD * 4);
    uint64_t cr0 = read_cr0(), cr4 = read_cr4(), efer = rdmsr(IA32_EFER);
    prepare();
    put32(0, low(modes_divide));
    put32(VECTOR_SOFT * 4, low(modes_soft));
    put32(VECTOR_HARD * 4, low(modes_hard));
    apic_self_ipi(VECTOR_HARD);
    travel();
    apic_eoi();
    put32(0, old_divide);
    put32(VECTOR_SOFT * 4, old_soft);
    put32(VECTOR_HARD * 4, old_hard);
    report((log->compatibility_efer & EFER_LMA) != 0 && log->compatibility_push == 4,
           "compatibility mode: LMA is 1, PUSH takes 4 bytes");
    report((log->protected_efer & (EFER_LMA | EFER_LME)) == EFER_LME,
           "paging off: LMA is 0, LME stays");
    report((log->protected_cr0 & (CR0_PG | CR0_PE)) == CR0_PE, "protected mode without paging");
    report(log->paging_32 == MARKER, "32-bit paging with a 4 MiB page");
    report(log->paging_pae == MARKER, "PAE paging with a 2 MiB page");
    report(log->protected_16_push == 2, "16-bit protected mode: PUSH takes 2 bytes");
    report((log->real_cr0 & CR0_PE) == 0, "real mode");
    report(log->soft_interrupts == 2, "real mode: INT n");
    report((log->real_flags & RFLAGS_IF) == 0, "real mode: IF is 0 in the handler");
    report(log->hard_interrupts == 1, "real mode: an interrupt of the local APIC");
    report(log->divide_errors == 1, "real mode: #DE");
    report(log->real_cpuid == cpuid_read(0, 0).ebx, "real mode: CPUID");
    report(log->real_far == MARKER, "real mode: a segment's base is its selector * 16");
    report((log->msw & 1) == 1, "LMSW enters protected mode");
    report(read_cr0() == cr0 && read_cr4() == cr4 && rdmsr(IA32_EFER) == efer,
           "64-bit mode again, with the same control registers");
}

static void test_twice(void)
{
    bool same = true;
    for (unsigned i = 0; i < 20; i++) {
        prepare();
        uint32_t old_divide = get32(0);
        uint32_t old_soft = get32(VECTOR_SOFT * 4);
        put32(0, low(modes_divide));
        put32(VECTOR_SOFT * 4, low(modes_soft));
        travel();
        put32(0, old_divide);
        put32(VECTOR_SOFT * 4, old_soft);
        same = log->paging_pae == MARKER && log->soft_interrupts == 2 &&
               log->hard_interrupts == 0 && same;
    }
    report(same, "twenty times more");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "journey", test_journey },
        { "twice", test_twice },
    };
    apic_enable(VECTOR_SPURIOUS);
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
