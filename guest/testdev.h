/* SPDX-License-Identifier: MIT */
/*
 * What test programs expect of QEMU and Bochs, for VMs with the word testdev: QEMU's
 * isa-debug-exit, pc-testdev and the fw_cfg keys that give CPU count and memory size; Bochs's
 * shutdown port.
 */
#pragma once

#include <stdint.h>

#include "guest/ram.h"
#include "lib/spinlock.h"
#include "vmx/vm.h"

enum { TESTDEV_MEMORY_SIZE = 0x10000, TESTDEV_FW_CFG_SIZE = 8 };

struct testdev {
    struct spinlock lock;
    struct vm *vm;
    uint64_t memory; /* bytes of guest RAM */
    uint32_t echo;   /* pc-testdev's port that reads what was written */
    uint8_t byte_echo;
    uint64_t item;                       /* fw_cfg: the selected item */
    unsigned item_offset;                /* bytes of it that were read */
    unsigned shutdown;                   /* characters of "Shutdown" seen at port 8900H */
    uint8_t window[TESTDEV_MEMORY_SIZE]; /* pc-testdev's MMIO window at FF000000H: plain memory */
};

/* Register ports and window. Boot CPU, before the VM runs. Errors of vm_add_io and vm_add_mmio. */
int testdev_init(struct testdev *testdev, struct vm *vm, const struct ram *ram);

/* State after reset. No vCPU runs. */
void testdev_reset(struct testdev *testdev);
