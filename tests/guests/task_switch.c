/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches in 32-bit protected mode without paging: by JMP, CALL, IRET, INT and an
 * exception through task gates, 16-bit TSS, T flag, and a fault of the new task (SDM volume 3, chapter
 * "Task Management"). lib/tasks.S is what runs there.
 */
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"
#include "tests/guests/lib/interrupts.h"

enum { MAIN = 0x30, JUMPED = 0x38, CALLED = 0x40, FAULT = 0x48, WORD = 0x50, TRAPPED = 0x58 };
enum {
    BAD = 0x60,
    REFUSED = 0x68,
    ABSENT = 0x70,
    DATA = 0x10,
    CODE = 0x18,
    CODE_16 = 0x78,
    STACK_16 = 0x80
};
enum { BEYOND = 0xF8, ENTRIES = 17, GATES = 256, STACK_SIZE = 256, TASKS = 8 };
enum { AVAILABLE = 0x89, BUSY = 0x8B, AVAILABLE_16 = 0x81, NT = 0x4000, TS = 8 };
enum { VECTOR_DB = 1, VECTOR_TS = 10, VECTOR_GP = 13, VECTOR_INT = 0x50, DR6_BT = 0x8000 };

/* "32-Bit Task-State Segment (TSS)". */
struct tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3;
    uint32_t eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint32_t trap_and_map;
};
_Static_assert(sizeof(struct tss) == 104, "as the processor has it");

/* "16-Bit TSS Format". */
struct tss_16 {
    uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2;
    uint16_t ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
_Static_assert(sizeof(struct tss_16) == 44, "as the processor has it");

struct __attribute__((packed)) table_pointer {
    uint16_t limit;
    uint64_t base;
};

extern struct table_pointer tasks_gdt_pointer, tasks_idt_pointer;
extern uint32_t tasks_main, tasks_count, tasks_notes[128];
extern const uint8_t task_jumped[], task_called[], task_fault[], task_16[], task_trapped[];
extern const uint8_t task_bad[], task_refused[], tasks_debug[], tasks_after_jump[];
extern const uint8_t tasks_after_bad[];
void tasks_travel(void);

static uint64_t gdt[ENTRIES], idt[GATES];
static struct tss main_task, jumped, called, fault, trapped, bad, refused;
static struct tss_16 word;
static uint8_t stacks[TASKS][STACK_SIZE] __attribute__((aligned(16)));

static uint32_t address(const volatile void *what)
{
    return (uint32_t)(uintptr_t)what;
}

static uint64_t describe(uint32_t base, uint32_t limit, uint64_t rights)
{
    return limit | (uint64_t)(base & 0xFFFFFF) << 16 | rights << 40 | (uint64_t)(base >> 24) << 56;
}

static uint32_t stack_of(unsigned task)
{
    return address(stacks[task]) + STACK_SIZE;
}

static void make_task(struct tss *tss, unsigned selector, const uint8_t *entry, unsigned number)
{
    *tss = (struct tss){ .eip = address(entry), .eflags = 2, .esp = stack_of(number) };
    tss->es = tss->ss = tss->ds = tss->fs = tss->gs = DATA;
    tss->cs = CODE;
    tss->trap_and_map = sizeof(*tss) << 16;
    gdt[selector / 8] = describe(address(tss), sizeof(*tss) - 1, AVAILABLE);
}

/* Code and stack in segments of their own, so that 16 bits are enough. */
static void make_task_16(void)
{
    word = (struct tss_16){ .flags = 2, .cx = 0x5678, .cs = CODE_16 };
    word.es = word.ds = DATA;
    word.ss = STACK_16;
    word.sp = STACK_SIZE;
    gdt[CODE_16 / 8] = describe(address(task_16), 0xFFFF, 0x9B);
    gdt[STACK_16 / 8] = describe(address(stacks[6]), 0xFFFF, 0x93);
    gdt[WORD / 8] = describe(address(&word), sizeof(word) - 1, AVAILABLE_16);
}

static void task_gate(unsigned vector, unsigned selector)
{
    idt[vector] = (uint64_t)selector << 16 | 0x85ULL << 40;
}

static void prepare(void)
{
    gdt[1] = 0x00AF9B000000FFFF;
    gdt[DATA / 8] = 0x00CF93000000FFFF;
    gdt[CODE / 8] = 0x00CF9B000000FFFF;
    make_task(&main_task, MAIN, NULL, 0);
    make_task(&jumped, JUMPED, task_jumped, 1);
    make_task(&called, CALLED, task_called, 2);
    make_task(&fault, FAULT, task_fault, 3);
    make_task(&trapped, TRAPPED, task_trapped, 4);
    make_task(&bad, BAD, task_bad, 5);
    make_task(&refused, REFUSED, task_refused, 7);
    make_task_16();
    jumped.esi = 0x55667788;
    jumped.fs = 0;
    trapped.trap_and_map |= 1;
    bad.ss = DATA | 3; /* RPL is not CPL */
    task_gate(VECTOR_TS, REFUSED);
    task_gate(VECTOR_GP, FAULT);
    task_gate(VECTOR_INT, CALLED);
    uint32_t debug = address(tasks_debug);
    idt[VECTOR_DB] =
        (debug & 0xFFFF) | (uint64_t)CODE << 16 | 0x8EULL << 40 | (uint64_t)(debug >> 16) << 48;
    tasks_gdt_pointer = (struct table_pointer){ sizeof(gdt) - 1, address(gdt) };
    tasks_idt_pointer = (struct table_pointer){ sizeof(idt) - 1, address(idt) };
    tasks_main = address(&main_task);
}

static unsigned next;

static bool noted(uint32_t value)
{
    return tasks_notes[next++] == value;
}

/* What note_task of lib/tasks.S notes. */
static void check_task(const char *name, unsigned selector, unsigned nt, unsigned ts, unsigned main,
                       unsigned own)
{
    report(noted(selector), "%s: task register", name);
    report(noted(nt), "%s: NT", name);
    report(noted(ts), "%s: CR0.TS", name);
    report(noted(main), "%s: busy flag of the first task", name);
    report(noted(own), "%s: own busy flag", name);
}

static void check_main(const char *name)
{
    check_task(name, MAIN, 0, TS, BUSY, BUSY);
}

static void check_notes(void)
{
    check_task("JMP", JUMPED, 0, TS, AVAILABLE, BUSY);
    report(noted(0x55667788), "JMP: a general register");
    report(noted(0), "JMP: a null segment register");
    report(noted(0x11223344), "JMP back: a general register");
    check_main("JMP back");
    check_task("CALL", CALLED, NT, TS, BUSY, BUSY);
    check_main("IRET");
    check_task("INT", CALLED, NT, TS, BUSY, BUSY);
    check_main("IRET from INT");
    report(noted(BEYOND), "#GP: error code");
    check_task("#GP", FAULT, NT, TS, BUSY, BUSY);
    check_main("IRET from #GP");
    report(noted(0xFFFF5678), "16-bit TSS: upper half of a general register");
    report(noted(WORD), "16-bit TSS: task register");
    report(noted(NT), "16-bit TSS: NT");
    check_main("IRET from a 16-bit TSS");
    report(noted(DR6_BT), "T flag: DR6.BT");
    report(noted(0), "T flag: before the first instruction");
    check_task("T flag", TRAPPED, NT, TS, BUSY, BUSY);
    check_main("IRET from the trapped task");
    report(noted(DATA), "#TS: error code");
    check_task("#TS", REFUSED, NT, TS, AVAILABLE, BUSY);
    check_main("JMP from #TS");
    report(next == tasks_count, "nothing else happened");
}

static void check_segments(void)
{
    report(called.link == MAIN, "CALL and INT: the link");
    report(fault.link == MAIN, "#GP: the link");
    report(jumped.link == 0, "JMP: no link");
    report(refused.link == BAD, "#TS is raised in the new task");
    report(main_task.eip == address(tasks_after_bad), "the old task goes on behind JMP");
    report((uint32_t)called.eip > address(task_called), "a task that IRET left goes on behind it");
    report((called.eflags & NT) == 0, "IRET clears NT in the task that it leaves");
    report(main_task.cr3 == 0 && main_task.ldt == 0 && main_task.esp0 == 0,
           "what a switch does not save stays");
    report(word.cx == 0x5678 && word.cs == CODE_16 && word.ax == NT,
           "16-bit TSS: registers are saved");
    report((gdt[WORD / 8] >> 40 & 0xFF) == AVAILABLE_16, "16-bit TSS: IRET makes it available");
}

void guest_main(void)
{
    prepare();
    tasks_travel();
    cpu_load_tables(0);
    interrupts_load();
    check_notes();
    check_segments();
}
