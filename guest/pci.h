/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) with a host bridge as
 * the only function: a guest finds a PCI bus that works and holds no device.
 */
#pragma once

#include <stdint.h>

#include "guest/power.h"
#include "lib/spinlock.h"

struct pci {
    struct spinlock lock;
    uint32_t address;    /* CONFIG_ADDRESS */
    struct power *power; /* owns CF9H, which lies among the ports */
};

/* Register CF8H-CFFH. Boot CPU, before the VM runs. Errors of vm_add_io. */
int pci_init(struct pci *pci, struct vm *vm, struct power *power);

/* State after reset. No vCPU runs. */
void pci_reset(struct pci *pci);
