/* SPDX-License-Identifier: MIT */
/* Where the interrupt line of an ISA device goes: the I/O APIC, and the 8259 pair of a VM with one. */
#pragma once

#include <stdbool.h>

struct vm;

/*
 * Drive a line to a level: pin irq of the I/O APIC; on a VM with an 8259 pair its input too, and as
 * on a PC the timer's line 0 goes to pin 2, and line 2, where the second 8259 is, nowhere. Lines from
 * 16 on have a pin only. Any CPU.
 */
void isa_irq_set(struct vm *vm, unsigned irq, bool level);
