/* SPDX-License-Identifier: MIT */
/*
 * Debug exceptions around instructions that a hypervisor may have to carry out itself: single-step,
 * breakpoints and the STI and MOV SS shadows (SDM volume 3, "Debug Exceptions"), and what is #UD.
 */
#include "arch/cpuid.h"
#include "tests/guests/lib/apic.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum { DR6_B0 = 1, DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_CONDITIONS = 0xE00F };
enum { DR7_L0 = 1, DR7_GD = 1 << 13, DR7_RW0_WRITE = 1 << 16, DR7_RW0_IO = 2 << 16 };
enum { DR7_RW0_ALL = 3 << 16, DR7_LEN0_4 = 3 << 18 };
enum { COM1_SCRATCH = 0x3FF };

static volatile unsigned traps;
static volatile uint64_t first_rip;
static volatile uint64_t first_dr6;

static void handle_debug(struct interrupt_frame *frame)
{
    if (traps == 0) {
        first_rip = frame->rip;
        first_dr6 = read_dr6();
    }
    traps++;
    write_dr6(DR6_RESET);
    write_dr7(DR7_RESET);
    frame->rflags &= ~RFLAGS_TF;
    frame->rflags |= RFLAGS_RF;
}

static void arm(void)
{
    interrupt_set_handler(EXCEPTION_DB, handle_debug);
    traps = 0;
    first_rip = 0;
    first_dr6 = 0;
    write_dr6(DR6_RESET);
}

/*
 * Single-step one instruction: TF is set by POPF, so that #DB comes after the instruction that follows
 * it. Whether it came there, once, as a single-step trap.
 */
#define STEPS(instruction, ...)                                                      \
    ({                                                                               \
        uint64_t after_;                                                             \
        arm();                                                                       \
        __asm__ volatile("pushfq\n\t"                                                \
                         "orq $0x100, (%%rsp)\n\t"                                   \
                         "popfq\n\t" instruction "\n"                                \
                         "1: nop\n\t"                                                \
                         "movq $1b, %[after]\n\t"                                    \
                         : [after] "=&r"(after_)__VA_ARGS__);                        \
        traps == 1 && first_rip == after_ && (first_dr6 & DR6_CONDITIONS) == DR6_BS; \
    })

static void test_step_plain(void)
{
    report(STEPS("nop", : : "cc", "memory"), "single-step: NOP");
    report(STEPS("cpuid", : "a"(0) : "rbx", "rcx", "rdx", "cc", "memory"), "single-step: CPUID");
    report(STEPS("rdtsc", : : "rax", "rdx", "cc", "memory"), "single-step: RDTSC");
    report(STEPS("pause", : : "cc", "memory"), "single-step: PAUSE");
    report(STEPS("wbinvd", : : "cc", "memory"), "single-step: WBINVD");
    report(STEPS("sgdt -32(%%rsp)", : : "cc", "memory"), "single-step: SGDT");
    report(STEPS("invlpg (%%rsp)", : : "cc", "memory"), "single-step: INVLPG");
    report(STEPS("sti", : : "cc", "memory"), "single-step: STI");
    report(STEPS("cli", : : "cc", "memory"), "single-step: CLI");
    guest_cli();
}

static void test_step_registers(void)
{
    report(STEPS("movq %%cr0, %%rax", : : "rax", "cc", "memory"), "single-step: MOV from CR0");
    report(STEPS("movq %%rax, %%cr0",
                 : "a"(read_cr0())
                 : "cc", "memory"),
           "single-step: MOV to CR0");
    report(STEPS("movq %%rax, %%cr3",
                 : "a"(read_cr3())
                 : "cc", "memory"),
           "single-step: MOV to CR3");
    report(STEPS("movq %%rax, %%cr4",
                 : "a"(read_cr4())
                 : "cc", "memory"),
           "single-step: MOV to CR4");
    report(STEPS("movq %%rax, %%cr8", : "a"(0) : "cc", "memory"), "single-step: MOV to CR8");
    report(STEPS("movq %%cr8, %%rax", : : "rax", "cc", "memory"), "single-step: MOV from CR8");
    report(STEPS("clts", : : "cc", "memory"), "single-step: CLTS");
    report(STEPS("movq %%dr7, %%rax", : : "rax", "cc", "memory"), "single-step: MOV from DR7");
    report(STEPS("rdmsr",
                 : "c"(IA32_APIC_BASE)
                 : "rax", "rdx", "cc", "memory"),
           "single-step: RDMSR of APIC_BASE");
    uint64_t base = rdmsr(IA32_APIC_BASE);
    report(STEPS("wrmsr",
                 : "c"(IA32_APIC_BASE), "a"((uint32_t)base), "d"((uint32_t)(base >> 32))
                 : "cc", "memory"),
           "single-step: WRMSR of APIC_BASE");
    if ((cpuid_read(1, 0).ecx & CPUID_1_ECX_XSAVE) != 0) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        report(STEPS("xsetbv",
                     : "c"(0), "a"((uint32_t)xgetbv(0)), "d"(0)
                     : "cc", "memory"),
               "single-step: XSETBV");
    }
}

static void test_step_io(void)
{
    static const uint8_t source[4] = { 1, 2, 3, 4 };
    static volatile uint32_t *const svr = (volatile uint32_t *)(0xFEE00000 + APIC_SVR);
    report(STEPS("outb %%al, %%dx",
                 : "d"(COM1_SCRATCH), "a"(0x5A)
                 : "cc", "memory"),
           "single-step: OUT");
    report(STEPS("inb %%dx, %%al", : "d"(COM1_SCRATCH) : "rax", "cc", "memory"), "single-step: IN");
    report(STEPS("movl (%[svr]), %%eax",
                 : [svr] "r"(svr)
                 : "rax", "cc", "memory"),
           "single-step: a read of an APIC register");
    report(STEPS("movl %%eax, (%[svr])",
                 : [svr] "r"(svr), "a"(*svr)
                 : "cc", "memory"),
           "single-step: a write of an APIC register");
    const uint8_t *from = source;
    uint64_t count = 4;
    arm();
    uint64_t at;
    __asm__ volatile("pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n"
                     "1: rep outsb\n\t"
                     "movq $1b, %[at]"
                     : "+S"(from), "+c"(count), [at] "=&r"(at)
                     : "d"(COM1_SCRATCH)
                     : "cc", "memory");
    report(traps == 1 && first_rip == at, "single-step: REP OUTS traps after one iteration");
    report(count == 0 && from == source + 4 && inb(COM1_SCRATCH) == 4, "and goes on to its end");
}

/* "If an instruction that sets MOV SS shadow ... debug exceptions are suppressed" for one more. */
static void test_step_shadow(void)
{
    uint64_t after;
    uint32_t ss;
    __asm__ volatile("movl %%ss, %0" : "=r"(ss));
    arm();
    __asm__ volatile("pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "movl %[ss], %%ss\n\t"
                     "nop\n"
                     "1: nop\n\t"
                     "movq $1b, %[after]"
                     : [after] "=&r"(after)
                     : [ss] "r"(ss)
                     : "cc", "memory");
    report(traps == 1 && first_rip == after, "single-step: none between MOV SS and the next one");
}

static void test_execute_breakpoint(void)
{
    uint64_t at;
    arm();
    __asm__ volatile("movq $1f, %[at]\n\t"
                     "movq %[at], %%dr0\n\t"
                     "movq %[enable], %%dr7\n"
                     "1: cpuid"
                     : [at] "=&r"(at)
                     : [enable] "r"(DR7_RESET | DR7_L0), "a"(0)
                     : "rbx", "rcx", "rdx", "memory");
    report(traps == 1 && first_rip == at && (first_dr6 & DR6_CONDITIONS) == DR6_B0,
           "breakpoint: before CPUID, with RF it goes on");
}

static uint64_t watched;

static void test_data_breakpoint(void)
{
    arm();
    write_dr0((uintptr_t)&watched);
    write_dr7(DR7_RESET | DR7_L0 | DR7_RW0_WRITE | DR7_LEN0_4);
    (void)*(volatile uint64_t *)&watched;
    unsigned by_read = traps;
    *(volatile uint64_t *)&watched = 1;
    report(by_read == 0 && traps == 1 && (first_dr6 & DR6_CONDITIONS) == DR6_B0,
           "breakpoint: a write to memory, not a read");
    arm();
    write_dr7(DR7_RESET | DR7_L0 | DR7_RW0_ALL | DR7_LEN0_4);
    (void)*(volatile uint64_t *)&watched;
    report(traps == 1, "breakpoint: a read of memory");
}

/* A port breakpoint, with CR4.DE. */
static void test_io_breakpoint(void)
{
    uint64_t after;
    write_cr4(read_cr4() | CR4_DE);
    arm();
    write_dr0(COM1_SCRATCH);
    write_dr7(DR7_RESET | DR7_L0 | DR7_RW0_IO);
    __asm__ volatile("outb %%al, %%dx\n"
                     "1: nop\n\t"
                     "movq $1b, %[after]"
                     : [after] "=&r"(after)
                     : "d"(COM1_SCRATCH), "a"(0));
    report(traps == 1 && first_rip == after && (first_dr6 & DR6_CONDITIONS) == DR6_B0,
           "breakpoint: a port, after the OUT");
    arm();
    write_dr7(DR7_RESET | DR7_L0 | DR7_RW0_IO);
    outb(COM1_SCRATCH - 1, 0);
    report(traps == 0, "breakpoint: not at another port");
    write_dr7(DR7_RESET);
    write_cr4(read_cr4() & ~CR4_DE);
}

static void test_general_detect(void)
{
    uint64_t at;
    arm();
    __asm__ volatile("movq %[enable], %%dr7\n"
                     "1: movq %%dr0, %%rax\n\t"
                     "movq $1b, %[at]"
                     : [at] "=&r"(at)
                     : [enable] "r"(DR7_RESET | DR7_GD)
                     : "rax", "memory");
    report(traps == 1 && first_rip == at && (first_dr6 & DR6_BD) != 0,
           "general detect: #DB before MOV from a debug register");
}

static void test_undefined(void)
{
    uint64_t operand[2] __attribute__((aligned(16))) = { 0, 0 };
    struct cpuid leaf1 = cpuid_read(1, 0);
    struct cpuid leaf7 = cpuid_read(7, 0);
    report(FAULT_OF("ud2", : : "m"(operand)) == EXCEPTION_UD, "UD2 is #UD");
    report(FAULT_OF("vmxon %0", : : "m"(operand)) == EXCEPTION_UD, "VMXON without CR4.VMXE is #UD");
    report(FAULT_OF("vmclear %0", : : "m"(operand)) == EXCEPTION_UD, "VMCLEAR is #UD");
    report(FAULT_OF("vmptrld %0", : : "m"(operand)) == EXCEPTION_UD, "VMPTRLD is #UD");
    report(FAULT_OF("vmptrst %0", : "=m"(operand)) == EXCEPTION_UD, "VMPTRST is #UD");
    report(FAULT_OF("vmread %%rax, %%rax", : : : "rax") == EXCEPTION_UD, "VMREAD is #UD");
    report(FAULT_OF("vmwrite %%rax, %%rax", : : : "rax") == EXCEPTION_UD, "VMWRITE is #UD");
    report(FAULT_OF("vmlaunch", : : : "cc") == EXCEPTION_UD, "VMLAUNCH is #UD");
    report(FAULT_OF("vmresume", : : : "cc") == EXCEPTION_UD, "VMRESUME is #UD");
    report(FAULT_OF("vmxoff", : : : "cc") == EXCEPTION_UD, "VMXOFF is #UD");
    report(FAULT_OF("invept %0, %%rax", : : "m"(operand) : "rax") == EXCEPTION_UD, "INVEPT is #UD");
    report(FAULT_OF("invvpid %0, %%rax",
                    :
                    : "m"(operand)
                    : "rax") == EXCEPTION_UD,
           "INVVPID is #UD");
    report(FAULT_OF("vmfunc", : : "a"(0), "c"(0)) == EXCEPTION_UD, "VMFUNC is #UD");
    report(FAULT_OF("getsec", : : "a"(0) : "rbx") == EXCEPTION_UD, "GETSEC is #UD");
    report(FAULT_OF("rsm", : : : "memory") == EXCEPTION_UD, "RSM is #UD");
    bool monitor = (leaf1.ecx & CPUID_1_ECX_MONITOR) != 0;
    report((FAULT_OF("monitor",
                     :
                     : "a"(operand), "c"(0), "d"(0)) == NO_FAULT) == monitor,
           "MONITOR exists just when CPUID says so");
    report(monitor || FAULT_OF("mwait",
                               :
                               : "a"(0), "c"(0)) == EXCEPTION_UD,
           "without MONITOR MWAIT is #UD");
    bool invpcid = (leaf7.ebx & BIT32(10)) != 0;
    report((FAULT_OF("invpcid %0, %%rax",
                     :
                     : "m"(operand), "a"(2)) == NO_FAULT) == invpcid,
           "INVPCID exists just when CPUID says so");
    bool rdtscp = (cpuid_read(0x80000001, 0).edx & CPUID_80000001_EDX_RDTSCP) != 0;
    report((FAULT_OF("rdtscp",
                     :
                     :
                     : "rax", "rcx", "rdx") == NO_FAULT) == rdtscp,
           "RDTSCP exists just when CPUID says so");
    bool rdrand = (leaf1.ecx & CPUID_1_ECX_RDRAND) != 0;
    report((FAULT_OF("rdrand %%eax",
                     :
                     :
                     : "rax", "cc") == NO_FAULT) == rdrand,
           "RDRAND exists just when CPUID says so");
}

void guest_main(void)
{
    static const struct guest_test tests[] = {
        { "step-plain", test_step_plain },
        { "step-registers", test_step_registers },
        { "step-io", test_step_io },
        { "step-shadow", test_step_shadow },
        { "execute-breakpoint", test_execute_breakpoint },
        { "data-breakpoint", test_data_breakpoint },
        { "io-breakpoint", test_io_breakpoint },
        { "general-detect", test_general_detect },
        { "undefined", test_undefined },
    };
    guest_run_tests(tests, ARRAY_SIZE(tests));
}
