/* SPDX-License-Identifier: MIT */
/* Symbolized backtraces by frame pointers. */
#include <inttypes.h>
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

static void log_address(uint64_t address)
{
    uint64_t offset;
    const char *name = symbol_find(address, &offset);
    if (name != NULL) {
        log_info("  [%016" PRIx64 "] %s+0x%" PRIx64, address, name, offset);
    } else {
        log_info("  [%016" PRIx64 "]", address);
    }
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

void backtrace_log(uint64_t rip, uint64_t frame_pointer)
{
    log_info("backtrace of CPU %u:", this_cpu()->index);
    if (rip != 0) {
        log_address(rip);
    }
    for (unsigned i = 0; i < BACKTRACE_MAX && is_on_stack(frame_pointer); i++) {
        const struct stack_frame *frame = (const struct stack_frame *)(uintptr_t)frame_pointer;
        if (frame->return_address == 0) {
            break;
        }
        log_address(frame->return_address);
        if (frame->caller <= frame_pointer) {
            break; /* frames of one stack only go up: anything else is the end, or damage */
        }
        frame_pointer = frame->caller;
    }
}
