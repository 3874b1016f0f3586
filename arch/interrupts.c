/* SPDX-License-Identifier: MIT */
/* Host interrupt vectors 32-255 and their handlers. */
#include "arch/interrupts.h"

#include <stddef.h>

#include "arch/cpu.h"
#include "arch/vectors.h"
#include "lib/log.h"

enum { FIRST_VECTOR = 32, VECTORS = 256 };

static const struct interrupt_controller *controller;
static void (*handlers[VECTORS])(void);

void interrupts_set_controller(const struct interrupt_controller *new_controller)
{
    controller = new_controller;
}

const struct interrupt_controller *interrupts_controller(void)
{
    return controller;
}

void interrupts_set_handler(uint8_t vector, void (*handler)(void))
{
    ASSERT(vector >= FIRST_VECTOR);
    /* cppcheck-suppress arrayIndexOutOfBoundsCond ; a uint8_t ends at 255, cppcheck tries 256 */
    ASSERT(handlers[vector] == NULL);
    handlers[vector] = handler;
}

void interrupts_dispatch(uint8_t vector)
{
    if (vector == VECTOR_SPURIOUS) {
        return;
    }
    controller->eoi();
    if (handlers[vector] != NULL) {
        handlers[vector]();
    } else {
        log_warn("CPU %u: interrupt with vector 0x%x, which nobody expects", this_cpu()->index,
                 vector);
    }
}

void interrupts_wait(void)
{
    /* STI holds interrupts off for one more instruction: none is lost between the two. */
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}
