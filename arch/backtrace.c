/* SPDX-License-Identifier: MIT */
/* Symbolized backtraces by frame pointers. */
#include <stdbool.h>
#include <stddef.h>

#include "arch/cpu.h"
#include "arch/descriptor.h"
#include "arch/exception.h"
#include "arch/symbols.h"
#include "lib/log.h"

extern uint8_t image_start[], image_text_end[]; /* linker.ld */

struct symbol {
    uint32_t address;
    uint32_t name; /* offset in symbols_names */
};

/* tools/symtab */
extern const uint32_t symbols_count;
extern const struct symbol symbols_begin[];
extern const char symbols_names[];

enum { BACKTRACE_MAX = 32 };

/* What a function with frame pointer has on the stack. */
struct stack_frame {
    uint64_t caller; /* its frame pointer */
    uint64_t return_address;
};

const char *symbol_find(uint64_t address, uint64_t *offset)
{
    uint32_t low = 0;
    uint32_t high = symbols_count;
    if (address < (uintptr_t)image_start || address >= (uintptr_t)image_text_end) {
        return NULL;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (symbols_begin[middle].address <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    *offset = address - symbols_begin[low - 1].address;
    return &symbols_names[symbols_begin[low - 1].name];
}

static void log_address(uint64_t address, uint64_t inside)
{
    uint64_t offset;
    const char *name = symbol_find(inside, &offset);
    if (name != NULL) {
        log_info("  [%016lx] %s+0x%lx", address, name, offset + (address - inside));
    } else {
        log_info("  [%016lx]", address);
    }
}

/* A call that does not return may be its function's last instruction: one byte back is inside. */
static void log_caller(uint64_t return_address)
{
    log_address(return_address, return_address - 1);
}

/* Inside one stack of this CPU, whole frame and all: nothing else is followed. */
static bool is_on_stack(uint64_t frame)
{
    const struct cpu_stacks *s = this_cpu()->arch->stacks;
    const struct {
        const uint8_t *base;
        uint64_t size;
    } stacks[] = {
        { s->main, sizeof(s->main) },
        { s->nmi, sizeof(s->nmi) },
        { s->df, sizeof(s->df) },
        { s->mc, sizeof(s->mc) },
    };
    for (unsigned i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
        if (frame - (uintptr_t)stacks[i].base <= stacks[i].size - sizeof(struct stack_frame)) {
            return frame % sizeof(uint64_t) == 0;
        }
    }
    return false;
}

/* The frame above this one, or 0 at the end: frames of one stack only go up, others are damaged. */
static uint64_t next_frame(uint64_t frame_pointer)
{
    uint64_t caller = ((const struct stack_frame *)(uintptr_t)frame_pointer)->caller;
    return caller > frame_pointer && is_on_stack(caller) ? caller : 0;
}

void backtrace_log(uint64_t rip, uint64_t frame_pointer)
{
    uint64_t last = 0;
    unsigned lines = 0;
    log_info("backtrace of CPU %u:", this_cpu()->index);
    if (rip != 0) {
        log_address(rip, rip);
    }
    frame_pointer = is_on_stack(frame_pointer) ? frame_pointer : 0;
    while (frame_pointer != 0 && lines < BACKTRACE_MAX) {
        uint64_t address = ((const struct stack_frame *)(uintptr_t)frame_pointer)->return_address;
        if (address != last) { /* recursion is shown once */
            log_caller(address);
            lines++;
        }
        last = address;
        frame_pointer = next_frame(frame_pointer);
    }
}
