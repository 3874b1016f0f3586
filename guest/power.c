/* SPDX-License-Identifier: MIT */
/* Power off and reset of a VM. */
#include "guest/power.h"

#include "lib/error.h"

/* Sleep control register. */
enum { SLP_TYP_SHIFT = 2, SLP_TYP_MASK = 7, SLP_EN = 1 << 5, S5_TYPE = 5 };

/* Reset control register. */
enum { SYS_RST = 1 << 1, RST_CPU = 1 << 2 };

/* There is no keyboard controller; only the pulse on its reset line works. */
enum { KBC_DATA_PORT = 0x60, KBC_COMMAND_PORT = 0x64, KBC_PULSE_RESET = 0xFE, KBC_IDLE = 0 };

/* System control port A. */
enum { PORT_A = 0x92, PORT_A_RESET = 1 << 0, PORT_A_A20 = 1 << 1 };

static uint64_t read_sleep(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return 0; /* WAK_STS never comes: S5 does not return */
}

static void write_sleep(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct power *power = device;

    (void)size;
    if (offset == 0 && (value & SLP_EN) != 0 &&
        ((value >> SLP_TYP_SHIFT) & SLP_TYP_MASK) == S5_TYPE) {
        vm_stop(power->vm, VM_POWERED_OFF, 0);
    }
}

static uint64_t read_kbc(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return KBC_IDLE; /* ready for a command, and never has data */
}

static void write_kbc_command(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct power *power = device;

    (void)offset;
    (void)size;
    if ((uint8_t)value == KBC_PULSE_RESET) {
        vm_request_reset(power->vm);
    }
}

static void write_kbc_data(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)device;
    (void)offset;
    (void)size;
    (void)value;
}

static uint64_t read_port_a(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return PORT_A_A20;
}

static void write_port_a(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct power *power = device;

    (void)offset;
    (void)size;
    if ((value & PORT_A_RESET) != 0) {
        vm_request_reset(power->vm);
    }
}

uint8_t power_read_reset_control(const struct power *power)
{
    return power->reset_control;
}

void power_write_reset_control(struct power *power, uint8_t value)
{
    power->reset_control = value & SYS_RST; /* RST_CPU clears itself by the reset it causes */
    if ((value & RST_CPU) != 0) {
        vm_request_reset(power->vm);
    }
}

int power_init(struct power *power, struct vm *vm)
{
    static const struct io_ops sleep = { read_sleep, write_sleep };
    static const struct io_ops kbc_data = { read_kbc, write_kbc_data };
    static const struct io_ops kbc_command = { read_kbc, write_kbc_command };
    static const struct io_ops port_a = { read_port_a, write_port_a };

    *power = (struct power){ .vm = vm };
    int error = vm_add_io(vm, SLEEP_CONTROL_PORT, 2, &sleep, power);
    if (error == RIVET_OK) {
        error = vm_add_io(vm, KBC_DATA_PORT, 1, &kbc_data, power);
    }
    if (error == RIVET_OK) {
        error = vm_add_io(vm, KBC_COMMAND_PORT, 1, &kbc_command, power);
    }
    if (error == RIVET_OK) {
        error = vm_add_io(vm, PORT_A, 1, &port_a, power);
    }
    return error;
}

void power_reset_state(struct power *power)
{
    power->reset_control = 0;
}
