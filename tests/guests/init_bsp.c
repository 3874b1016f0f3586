/* SPDX-License-Identifier: MIT */
/*
 * What INIT does to CPU 0 (SDM volume 3, "MP Initialization Protocol"): whether it waits for a start-up IPI
 * afterwards is in the BSP flag of its IA32_APIC_BASE, not in its number.
 *
 * guest: cpus=2
 */
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { BOOT = 0, OTHER = 1, A_WHILE = 1000000, VECTOR_SPURIOUS = 0xEF };
enum { START_PAGE = 0x9000, START_MARK = 0x800 };

static volatile uint64_t ready;

enum { MARK_STARTUP = 1, MARK_RESET = 2, RESET_CODE = 0x10 };

/* Real mode, the start of START_PAGE: leave a mark, and halt. At RESET_CODE the same with another mark. */
#define MARK_AND_HALT(mark)                                       \
    0x2E, 0xC7, 0x06, START_MARK & 0xFF, START_MARK >> 8, (mark), \
        0, /* movw $mark, %cs:START_MARK; 1: cli; hlt; jmp 1b */  \
        0xFA, 0xF4, 0xEB, 0xFC
static const uint8_t start_code[] = {
    MARK_AND_HALT(MARK_STARTUP), 0, 0, 0, 0, 0, MARK_AND_HALT(MARK_RESET),
};

/* Where a PC's firmware goes after a reset of CPU 0 with this shutdown code: to the far address at 467H. */
enum { CMOS_INDEX = 0x70, CMOS_DATA = 0x71, CMOS_SHUTDOWN = 0x0F, SHUTDOWN_JUMP = 0x0A };
enum { SHUTDOWN_ADDRESS = 0x467 };

static void place_code(void)
{
    memcpy((void *)(uintptr_t)START_PAGE, start_code, sizeof(start_code));
    uint32_t far_address = (uint32_t)(START_PAGE >> 4) << 16 | RESET_CODE;
    __asm__ volatile("movl %0, (%1)"
                     :
                     : "r"(far_address), "r"((uintptr_t)SHUTDOWN_ADDRESS)
                     : "memory");
    outb(CMOS_INDEX, CMOS_SHUTDOWN);
    outb(CMOS_DATA, SHUTDOWN_JUMP);
}

static volatile uint16_t *start_mark(void)
{
    return (volatile uint16_t *)(uintptr_t)(START_PAGE + START_MARK);
}

static void pause_for_a_while(void)
{
    uint64_t never = 0;
    guest_wait(&never, A_WHILE);
}

/* On the other CPU, which goes on alone. */
static void init_the_boot_cpu(void *unused)
{
    (void)unused;
    guest_wait(&ready, A_WHILE);
    pause_for_a_while(); /* until it halts */
    place_code();
    *start_mark() = 0;
    apic_send_ipi(cpu_apic_id(BOOT), ICR_STARTUP | ICR_ASSERT | START_PAGE >> 12);
    pause_for_a_while();
    report(*start_mark() == 0, "before INIT a start-up IPI does nothing");
    apic_send_ipi(cpu_apic_id(BOOT), ICR_INIT | ICR_ASSERT);
    pause_for_a_while();
    report(*start_mark() == 0, "after INIT CPU 0 without BSP flag waits");
    apic_send_ipi(cpu_apic_id(BOOT), ICR_STARTUP | ICR_ASSERT | START_PAGE >> 12);
    pause_for_a_while();
    report(*start_mark() == MARK_STARTUP, "a start-up IPI starts it");
    guest_end();
}

static void test_bsp_flag(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);
    report((base & APIC_BASE_BSP) != 0, "CPU 0 is the boot CPU");
    wrmsr(IA32_APIC_BASE, base & ~(uint64_t)APIC_BASE_BSP);
    report((rdmsr(IA32_APIC_BASE) & APIC_BASE_BSP) == 0, "its BSP flag can be cleared");
    cpu_run_async(OTHER, init_the_boot_cpu, NULL);
    ready = 1;
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

void guest_main(void)
{
    static const struct guest_test tests[] = { { "bsp-flag", test_bsp_flag } };
    apic_enable(VECTOR_SPURIOUS);
    if (cpu_start_all() < 2) {
        guest_fail("needs two CPUs");
    }
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
