/* SPDX-License-Identifier: MIT */
/*
 * Executes a decoded instruction (vmx/decode.h) on general registers, flags and memory that the caller
 * provides. Pure logic, tested on the host against the CPU itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/decode.h"

struct machine {
    uint64_t *gpr; /* 16 registers in encoding order, RSP included */
    uint64_t rflags;
    uint64_t next_rip;   /* RIP after the instruction */
    unsigned stack_size; /* bytes of the stack pointer: 2, 4 or 8 */
    /*
     * Access size bytes of memory at segment:offset. A read whose bytes will be written by the same
     * instruction has for_write set. 0, or a negative code, which execute returns at once.
     */
    int (*read)(void *context, unsigned segment, uint64_t offset, unsigned size, bool for_write,
                uint64_t *value);
    int (*write)(void *context, unsigned segment, uint64_t offset, unsigned size, uint64_t value);
    void *context;
};

enum { EXECUTE_DONE = 0, EXECUTE_REPEAT = 1 };

/* The offset in its segment of the instruction's memory operand; no string instructions. Pure. */
uint64_t execute_address(const struct instruction *instruction, const struct machine *machine);

/*
 * Execute the instruction; of a repeated string instruction, one iteration. EXECUTE_DONE: it is
 * finished (the caller advances RIP). EXECUTE_REPEAT: iterations are left. Negative: an access failed;
 * registers and flags are unchanged.
 */
int execute(const struct instruction *instruction, struct machine *machine);
