/* SPDX-License-Identifier: MIT */
/* Power off and reset of the host (ACPI 6.5, chapters 4.8 and 7.4). */
#include "drivers/power.h"

#include <stdbool.h>
#include <stdint.h>

#include "arch/acpi.h"
#include "arch/descriptor.h"
#include "arch/port_io.h"
#include "arch/x86.h"
#include "drivers/console.h"
#include "lib/bits.h"

enum {
    PM1_SCI_EN = 1 << 0,
    PM1_SLP_TYP = 7 << 10,
    PM1_SLP_EN = 1 << 13,
};

enum {
    BOCHS_SHUTDOWN_PORT = 0x8900,
    QEMU_PM1_CONTROL = 0x604, /* before the ACPI tables have been read; S5 is type 0 there */
    RESET_CONTROL = 0xCF9,
    RESET_CONTROL_COLD = 0x0E, /* full reset, system reset, go */
    KEYBOARD_COMMAND = 0x64,
    KEYBOARD_PULSE_RESET = 0xFE,
    ACPI_ENABLE_READS = 1000000,
};

static bool is_usable(const struct acpi_register *reg)
{
    return reg->address != 0 && (reg->space == ACPI_SPACE_IO || reg->space == ACPI_SPACE_MEMORY);
}

static uint16_t read_pm1(const struct acpi_register *reg)
{
    if (reg->space == ACPI_SPACE_IO) {
        return inw((uint16_t)reg->address);
    }
    return *(volatile uint16_t *)(uintptr_t)reg->address;
}

static void write_pm1(const struct acpi_register *reg, uint16_t value)
{
    if (reg->space == ACPI_SPACE_IO) {
        outw((uint16_t)reg->address, value);
    } else {
        *(volatile uint16_t *)(uintptr_t)reg->address = value;
    }
}

/* SLP_EN acts only once firmware has handed the PM1 registers over. */
static void enable_acpi(void)
{
    const struct acpi_info *info = acpi();
    if (info->smi_command == 0 || (read_pm1(&info->pm1a_control) & PM1_SCI_EN)) {
        return;
    }
    outb(info->smi_command, info->acpi_enable);
    for (unsigned i = 0; i < ACPI_ENABLE_READS; i++) {
        if (read_pm1(&info->pm1a_control) & PM1_SCI_EN) {
            return;
        }
    }
}

static void sleep(const struct acpi_register *reg, uint8_t type)
{
    uint16_t value = read_pm1(reg) & (uint16_t) ~(PM1_SLP_TYP | PM1_SLP_EN);
    write_pm1(reg, (uint16_t)(value | type << 10 | PM1_SLP_EN));
}

static void enter_s5(void)
{
    const struct acpi_info *info = acpi();
    if (!info->has_s5 || !is_usable(&info->pm1a_control)) {
        return;
    }
    enable_acpi();
    if (is_usable(&info->pm1b_control)) {
        sleep(&info->pm1b_control, info->s5_type_b);
    }
    sleep(&info->pm1a_control, info->s5_type_a);
}

void power_off(void)
{
    console_flush();
    enter_s5();
    for (const char *c = "Shutdown"; *c != '\0'; c++) {
        outb(BOCHS_SHUTDOWN_PORT, (uint8_t)*c);
    }
    outw(QEMU_PM1_CONTROL, PM1_SLP_EN);
    cpu_halt_forever();
}

static void write_reset_register(void)
{
    const struct acpi_register *reg = &acpi()->reset;
    if (!is_usable(reg)) {
        return;
    }
    if (reg->space == ACPI_SPACE_IO) {
        outb((uint16_t)reg->address, acpi()->reset_value);
    } else {
        *(volatile uint8_t *)(uintptr_t)reg->address = acpi()->reset_value;
    }
}

static void triple_fault(void)
{
    struct descriptor_table nothing = { 0, 0 };
    __asm__ volatile("lidt %0; int3" : : "m"(nothing) : "memory");
}

void power_reset(void)
{
    console_flush();
    write_reset_register();
    outb(RESET_CONTROL, RESET_CONTROL_COLD);
    outb(KEYBOARD_COMMAND, KEYBOARD_PULSE_RESET);
    triple_fault();
    cpu_halt_forever();
}
