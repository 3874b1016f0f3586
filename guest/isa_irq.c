/* SPDX-License-Identifier: MIT */
/* Where the interrupt line of an ISA device goes: the I/O APIC, and the 8259 pair of a VM with one. */
#include "guest/isa_irq.h"

#include <stddef.h>

#include "apic/ioapic.h"
#include "guest/pic.h"
#include "vmx/vm.h"

enum { TIMER = 0, CASCADE = 2, TIMER_PIN = 2 };

void isa_irq_set(struct vm *vm, unsigned irq, bool level)
{
    unsigned pin = irq;

    if (vm->pic != NULL && irq < PIC_IRQS) {
        if (irq == CASCADE) {
            return;
        }
        pic_set_line(vm->pic, irq, level);
        pin = irq == TIMER ? TIMER_PIN : irq;
    }
    ioapic_set_line(&vm->apic, pin, level);
}
