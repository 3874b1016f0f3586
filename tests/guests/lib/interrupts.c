/* SPDX-License-Identifier: MIT */
/* The guest's IDT and who handles what (SDM volume 3, chapter "Interrupt and Exception Handling"). */
#include "tests/guests/lib/interrupts.h"

#include "arch/fixup.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/guest.h"

enum { ENTRY_SIZE = 16, GATE_INTERRUPT64 = 0x8E };

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};
_Static_assert(sizeof(struct gate) == 16, "64-bit gate");

extern const uint8_t interrupt_entries[256][ENTRY_SIZE];                /* interrupts.S */
extern const struct exception_fixup guest_fixups[], guest_fixups_end[]; /* guest.ld */

static struct gate idt[256] __attribute__((aligned(16)));
static interrupt_handler handlers[256];
volatile struct guest_fault guest_fault = { .vector = NO_FAULT };

void interrupts_init(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(idt); i++) {
        uint64_t entry = (uintptr_t)interrupt_entries[i];
        idt[i] = (struct gate){
            .offset_low = (uint16_t)entry,
            .selector = SELECTOR_CODE,
            .type = GATE_INTERRUPT64,
            .offset_middle = (uint16_t)(entry >> 16),
            .offset_high = (uint32_t)(entry >> 32),
        };
    }
}

uint64_t interrupts_idt_base(void)
{
    return (uintptr_t)idt;
}

void interrupts_load(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = { INTERRUPTS_IDT_LIMIT, interrupts_idt_base() };
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void interrupt_set_handler(unsigned vector, interrupt_handler handler)
{
    handlers[vector] = handler;
}

static bool continue_at_fixup(struct interrupt_frame *frame)
{
    for (const struct exception_fixup *fixup = guest_fixups; fixup < guest_fixups_end; fixup++) {
        if (fixup->from == frame->rip) {
            guest_fault.vector = (unsigned)frame->vector;
            guest_fault.error_code = frame->error_code;
            frame->rip = fixup->to;
            return true;
        }
    }
    return false;
}

/* Called by interrupts.S. */
void interrupt_dispatch(struct interrupt_frame *frame);

void interrupt_dispatch(struct interrupt_frame *frame)
{
    interrupt_handler handler = handlers[frame->vector];
    if (handler != NULL) {
        handler(frame);
        return;
    }
    if (frame->vector < 32 && continue_at_fixup(frame)) {
        return;
    }
    guest_fail("unexpected vector %llu, error code 0x%llx, at 0x%llx",
               (unsigned long long)frame->vector, (unsigned long long)frame->error_code,
               (unsigned long long)frame->rip);
}
