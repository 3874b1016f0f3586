/* SPDX-License-Identifier: MIT */
/*
 * Power off and reset of a VM: the sleep registers of hardware-reduced ACPI (ACPI 6.5, 4.8.3.7),
 * the reset control register at CF9H, the keyboard controller's reset pulse and port 92H.
 */
#pragma once

#include <stdint.h>

#include "vmx/vm.h"

enum {
    SLEEP_CONTROL_PORT = 0x600,
    SLEEP_STATUS_PORT = 0x601,
    RESET_CONTROL_PORT = 0xCF9,
    RESET_CONTROL_FULL = 0x06, /* SYS_RST and RST_CPU */
};

struct power {
    struct vm *vm;
    uint8_t reset_control;
};

/* Register the ports. Boot CPU, before the VM runs. Errors of vm_add_io. */
int power_init(struct power *power, struct vm *vm);

/* State after reset. No vCPU runs. */
void power_reset_state(struct power *power);

/* The reset control register, for the PCI host bridge whose ports it lies among. Any vCPU. */
uint8_t power_read_reset_control(const struct power *power);
void power_write_reset_control(struct power *power, uint8_t value);
