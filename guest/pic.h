/* SPDX-License-Identifier: MIT */
/*
 * A pair of 8259A interrupt controllers (Intel 8259A data sheet) as a PC has it: the second one on
 * input 2 of the first, edge or level per input by ELCR (Intel ICH data sheets, "8259 Interrupt
 * Controllers"). INT drives LINT0 of vCPU 0 and pin 0 of the I/O APIC.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/spinlock.h"
#include "vmx/vm.h"

enum { PIC_IRQS = 16, PIC_FIRMWARE_VECTOR = 0x08, PIC_FIRMWARE_VECTOR_2 = 0x70 };

/* One 8259A. */
struct pic_chip {
    uint8_t irr, isr, imr;
    uint8_t lines;     /* levels at the inputs */
    uint8_t level;     /* ELCR: inputs that are level-triggered */
    uint8_t vector;    /* ICW2: of input 0 */
    uint8_t lowest;    /* input of the lowest priority */
    uint8_t next_icw;  /* the initialization command word that is expected, 0: none */
    bool wants_icw4;   /* ICW1 bit 0 */
    bool single;       /* ICW1 bit 1: no ICW3 */
    bool level_all;    /* ICW1 bit 3 */
    bool auto_eoi;     /* ICW4 bit 1 */
    bool fully_nested; /* ICW4 bit 4: special fully nested mode */
    bool rotate;       /* rotate in automatic EOI mode */
    bool special_mask; /* OCW3 */
    bool reads_isr;    /* OCW3 */
    bool poll;         /* OCW3: the next read is a poll */
    bool initialized;  /* by its ICWs; it asks for nothing before */
    bool output;       /* INT */
};

struct pic {
    struct spinlock lock; /* everything below; taken before the I/O APIC's lock */
    struct vm *vm;
    struct pic_chip chips[2];
};

/* Register the ports and become vm->pic. Boot CPU, before the VM runs. Errors of vm_add_io. */
int pic_init(struct pic *pic, struct vm *vm);

/*
 * State after power-up: not initialized, everything masked; or what a PC's firmware leaves: vectors
 * 08H and 70H, the timer unmasked. No vCPU runs.
 */
void pic_reset(struct pic *pic, bool firmware);

/* Drive input irq (0 to 15, not 2) to a level. Any CPU. */
void pic_set_line(struct pic *pic, unsigned irq, bool level);

/* The INTA cycle: vm->acknowledge_extint. vCPU 0's CPU, or where an I/O APIC sent it. */
int pic_acknowledge(struct vm *vm);
