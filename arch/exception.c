/* SPDX-License-Identifier: MIT */
/* Exceptions of Rivet's own code: IDT, fixups, NMI, the dump (SDM volume 3, chapter 6). */
#include "arch/exception.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "arch/cpu.h"
#include "arch/descriptor.h"
#include "arch/fixup.h"
#include "arch/interrupts.h"
#include "arch/paging.h"
#include "arch/symbols.h"
#include "arch/tsc.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/log.h"

enum { IDT_ENTRIES = 256, STUB_SIZE = 16, FIRST_INTERRUPT = 32 };

#define GATE_INTERRUPT_PRESENT 0x8E00ULL /* type 14, DPL 0: interrupts off in the handler */

struct gate {
    uint64_t low;
    uint64_t high;
};

extern const uint8_t exception_stubs[];                           /* exception_entry.S */
extern const struct exception_fixup fixups_begin[], fixups_end[]; /* linker.ld */

static struct gate idt[IDT_ENTRIES] __attribute__((aligned(16)));
static void (*nmi_handler)(void);
static _Atomic unsigned stray_nmis; /* for a debugger: nobody was there to take them */
static atomic_bool stopping;        /* a CPU panics: NMIs stop whoever gets them */
static _Atomic unsigned stopped;    /* CPUs that have */

static const char *const names[FIRST_INTERRUPT] = {
    [EXCEPTION_DE] = "#DE", [EXCEPTION_DB] = "#DB", [EXCEPTION_NMI] = "NMI", [EXCEPTION_BP] = "#BP",
    [EXCEPTION_OF] = "#OF", [EXCEPTION_BR] = "#BR", [EXCEPTION_UD] = "#UD",  [EXCEPTION_NM] = "#NM",
    [EXCEPTION_DF] = "#DF", [EXCEPTION_TS] = "#TS", [EXCEPTION_NP] = "#NP",  [EXCEPTION_SS] = "#SS",
    [EXCEPTION_GP] = "#GP", [EXCEPTION_PF] = "#PF", [EXCEPTION_MF] = "#MF",  [EXCEPTION_AC] = "#AC",
    [EXCEPTION_MC] = "#MC", [EXCEPTION_XM] = "#XM", [EXCEPTION_VE] = "#VE",  [EXCEPTION_CP] = "#CP",
};

const char *exception_name(uint64_t vector)
{
    return vector < FIRST_INTERRUPT && names[vector] != NULL ? names[vector] : "vector";
}

static unsigned ist_of(unsigned vector)
{
    switch (vector) {
    case EXCEPTION_NMI:
        return IST_NMI;
    case EXCEPTION_DF:
        return IST_DF;
    case EXCEPTION_MC:
        return IST_MC;
    default:
        return IST_NONE;
    }
}

void exception_init(void)
{
    for (unsigned vector = 0; vector < IDT_ENTRIES; vector++) {
        uint64_t stub = (uintptr_t)exception_stubs + (uint64_t)vector * STUB_SIZE;
        idt[vector].low = (stub & 0xFFFF) | SELECTOR_CODE << 16 | (uint64_t)ist_of(vector) << 32 |
                          GATE_INTERRUPT_PRESENT << 32 | (stub >> 16 & 0xFFFF) << 48;
        idt[vector].high = stub >> 32;
    }
}

struct descriptor_table descriptor_idt(void)
{
    return (struct descriptor_table){ sizeof(idt) - 1, (uintptr_t)idt };
}

void exception_set_nmi_handler(void (*handler)(void))
{
    nmi_handler = handler;
}

void exception_nmi(void)
{
    if (atomic_load(&stopping)) {
        atomic_fetch_add(&stopped, 1);
        cpu_halt_forever();
    }
    if (nmi_handler != NULL) {
        nmi_handler();
    } else {
        atomic_fetch_add(&stray_nmis, 1);
    }
}

void exception_stop_others(void)
{
    const struct interrupt_controller *controller = interrupts_controller();
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < cpu_count(); i++) {
        if (cpu_by_index(i) != this_cpu()) {
            controller->send_nmi(cpu_by_index(i)->apic_id);
        }
    }
    /* A CPU that takes no NMI (in SMM, dead) must not keep the panic from being printed. */
    uint64_t limit = rdtsc() + BIT(28);
    while (atomic_load(&stopped) + 1 < cpu_count() && rdtsc() < limit) {
        cpu_relax();
    }
}

static bool fix_up(struct exception_frame *frame)
{
    uintptr_t count = ((uintptr_t)fixups_end - (uintptr_t)fixups_begin) / sizeof(*fixups_begin);
    for (uintptr_t i = 0; i < count; i++) {
        if (fixups_begin[i].from == frame->rip) {
            frame->rip = fixups_begin[i].to;
            return true;
        }
    }
    return false;
}

static void log_registers(const struct exception_frame *f)
{
    log_info("  rax=%016lx rbx=%016lx rcx=%016lx", f->rax, f->rbx, f->rcx);
    log_info("  rdx=%016lx rsi=%016lx rdi=%016lx", f->rdx, f->rsi, f->rdi);
    log_info("  rbp=%016lx rsp=%016lx r8 =%016lx", f->rbp, f->rsp, f->r8);
    log_info("  r9 =%016lx r10=%016lx r11=%016lx", f->r9, f->r10, f->r11);
    log_info("  r12=%016lx r13=%016lx r14=%016lx", f->r12, f->r13, f->r14);
    log_info("  r15=%016lx rip=%016lx rfl=%016lx", f->r15, f->rip, f->rflags);
    log_info("  cr0=%016lx cr2=%016lx cr3=%016lx cr4=%lx", read_cr0(), read_cr2(), read_cr3(),
             read_cr4());
}

static const char *guard_hint(const struct cpu_stacks *stacks, uint64_t address)
{
    const struct {
        const uint8_t *guard;
        const char *text;
    } guards[] = {
        { stacks->main_guard, "; the main stack is exhausted" },
        { stacks->nmi_guard, "; the NMI stack is exhausted" },
        { stacks->df_guard, "; the double-fault stack is exhausted" },
        { stacks->mc_guard, "; the machine-check stack is exhausted" },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(guards); i++) {
        if (address - (uintptr_t)guards[i].guard < STACK_GUARD_SIZE) {
            return guards[i].text;
        }
    }
    return "";
}

/* CR2 explains a page fault, and the double fault of a stack that ran into its guard page. */
static const char *hint(const struct exception_frame *frame)
{
    if (frame->vector != EXCEPTION_PF && frame->vector != EXCEPTION_DF) {
        return "";
    }
    return guard_hint(this_cpu()->arch->stacks, read_cr2());
}

/* A page fault in a page that nobody may touch. */
static const char *forbidden(const struct exception_frame *frame)
{
    return frame->vector == EXCEPTION_PF ? paging_hole_name(read_cr2()) : NULL;
}

static _Noreturn void dump(const struct exception_frame *frame)
{
    log_panic_begin();
    log_info("panic: exception %s (vector %u, error code 0x%lx) on CPU %u at 0x%lx"
             ", cr2=0x%lx%s",
             exception_name(frame->vector), (unsigned)frame->vector, frame->error_code,
             this_cpu()->index, frame->rip, read_cr2(), hint(frame));
    const char *touched = forbidden(frame);
    if (touched != NULL) {
        log_info("panic: that is in %s", touched);
    }
    log_registers(frame);
    backtrace_log(frame->rip, frame->rbp);
    log_panic_end(NULL);
}

/* Called by exception_entry.S with what it pushed; returns to where the exception came from. */
void exception_entry(struct exception_frame *frame)
{
    if (frame->vector >= FIRST_INTERRUPT) {
        interrupts_dispatch((uint8_t)frame->vector);
        return;
    }
    if (frame->vector == EXCEPTION_NMI) {
        exception_nmi();
        return;
    }
    bool may_fix = frame->vector != EXCEPTION_DF && frame->vector != EXCEPTION_MC;
    if (!may_fix || !fix_up(frame)) {
        dump(frame);
    }
}
