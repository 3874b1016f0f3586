/* SPDX-License-Identifier: MIT */
/*
 * Runs a stream of bytes as operations (guest accesses, IPIs, lines, MSIs, time, APICv switches,
 * INIT) on apic/ with the hardware model around it and on the slow reference, and compares
 * everything a guest can see after each of them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum differential_world {
    WORLD_SOFTWARE,      /* no virtual-interrupt delivery, TPR shadow */
    WORLD_NO_TPR_SHADOW, /* nothing at all */
    WORLD_APICV,         /* everything on */
    WORLD_TOGGLED,       /* APICv switched by operations of the stream */
    WORLD_COUNT,
};

/* Groups of operations, as a mask. */
enum {
    OPERATIONS_REGISTERS = 1 << 0,
    OPERATIONS_ICR = 1 << 1,
    OPERATIONS_IOAPIC = 1 << 2,
    OPERATIONS_TIME = 1 << 3,
    OPERATIONS_ALL = 0xF,
    OPERATIONS_STATE = 1 << 4, /* many of them: states saved, and set, malformed ones too */
};

/* Aborts with a message when apic/ and the reference differ. */
void differential_run(enum differential_world world, unsigned operations, const uint8_t *data,
                      size_t size);
