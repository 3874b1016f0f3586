/* SPDX-License-Identifier: MIT */
/* What test programs expect of QEMU and Bochs, for VMs with the word testdev. */
#include "guest/testdev.h"

#include "apic/ioapic.h"
#include "guest/isa_irq.h"
#include "lib/error.h"
#include "lib/string.h"

enum {
    PORT_DEBUG_EXIT = 0xF4,  /* isa-debug-exit, 4 ports */
    PORT_ECHO = 0xE0,        /* pc-testdev: 4 ports that keep what is written */
    PORT_FLUSH = 0xE4,       /* pc-testdev: would unmap a page of the window for a moment */
    PORT_BYTE_ECHO = 0xE8,   /* pc-testdev: one byte, at each of 4 ports */
    PORT_IRQ_LINES = 0x2000, /* pc-testdev: a port for each I/O APIC pin */
    PORT_FW_CFG = 0x510,     /* selector, data */
    PORT_SHUTDOWN = 0x8900,  /* Bochs: the letters of "Shutdown" */
};

#define WINDOW_BASE 0xFF000000ULL

/* fw_cfg items. */
enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MAX_CPUS = 0x0F,
};
#define FW_CFG_SIGNATURE_TEXT 0x554D4551U /* "QEMU" */

static uint64_t read_nothing(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    (void)offset;
    (void)size;
    return UINT64_MAX;
}

static void write_nothing(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    (void)device;
    (void)offset;
    (void)size;
    (void)value;
}

static void write_debug_exit(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *testdev = device;

    (void)offset;
    (void)size;
    vm_stop(testdev->vm, VM_DEBUG_EXIT, (uint32_t)value);
}

/* --- pc-testdev ------------------------------------------------------------------------------- */

static uint64_t read_echo(void *device, uint64_t offset, unsigned size)
{
    const struct testdev *testdev = device;

    (void)size;
    return testdev->echo >> (8 * offset);
}

static void write_echo(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *testdev = device;
    uint64_t mask = ((1ULL << (8 * size)) - 1) << (8 * offset);

    spin_lock(&testdev->lock);
    testdev->echo = (uint32_t)((testdev->echo & ~mask) | ((value << (8 * offset)) & mask));
    spin_unlock(&testdev->lock);
}

static uint64_t read_byte_echo(void *device, uint64_t offset, unsigned size)
{
    const struct testdev *testdev = device;

    (void)offset;
    (void)size;
    return testdev->byte_echo;
}

static void write_byte_echo(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *testdev = device;

    (void)offset;
    (void)size;
    testdev->byte_echo = (uint8_t)value;
}

static void write_irq_line(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *testdev = device;

    (void)size;
    isa_irq_set(testdev->vm, (unsigned)offset, value != 0);
}

static uint64_t read_window(void *device, uint64_t offset, unsigned size)
{
    const struct testdev *testdev = device;
    uint64_t value = 0;

    memcpy(&value, testdev->window + offset, size);
    return value;
}

static void write_window(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *testdev = device;

    memcpy(testdev->window + offset, &value, size);
}

/* --- fw_cfg ----------------------------------------------------------------------------------- */

static uint64_t item_value(const struct testdev *testdev, uint16_t key)
{
    switch (key) {
    case FW_CFG_SIGNATURE:
        return FW_CFG_SIGNATURE_TEXT;
    case FW_CFG_ID:
        return 1; /* the port interface, no DMA */
    case FW_CFG_RAM_SIZE:
        return testdev->memory;
    case FW_CFG_NB_CPUS:
    case FW_CFG_MAX_CPUS:
        return testdev->vm->vcpu_count;
    default:
        return 0;
    }
}

static uint64_t read_fw_cfg(void *device, uint64_t offset, unsigned size)
{
    struct testdev *testdev = device;
    uint64_t byte = 0;

    if (offset != 1 || size != 1) {
        return 0;
    }
    spin_lock(&testdev->lock);
    if (testdev->item_offset < TESTDEV_FW_CFG_SIZE) {
        byte = (testdev->item >> (8 * testdev->item_offset++)) & 0xFF;
    }
    spin_unlock(&testdev->lock);
    return byte;
}

static void write_fw_cfg(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct testdev *testdev = device;

    if (offset != 0 || size != 2) {
        return;
    }
    spin_lock(&testdev->lock);
    testdev->item = item_value(testdev, (uint16_t)value);
    testdev->item_offset = 0;
    spin_unlock(&testdev->lock);
}

/* --- Bochs's shutdown port -------------------------------------------------------------------- */

static void write_shutdown(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    static const char text[] = "Shutdown";
    struct testdev *testdev = device;

    (void)offset;
    (void)size;
    spin_lock(&testdev->lock);
    testdev->shutdown = (char)value == text[testdev->shutdown] ? testdev->shutdown + 1 : 0;
    bool done = testdev->shutdown == sizeof(text) - 1;
    if (done) {
        testdev->shutdown = 0;
    }
    spin_unlock(&testdev->lock);
    if (done) {
        vm_stop(testdev->vm, VM_POWERED_OFF, 0);
    }
}

/* ---------------------------------------------------------------------------------------------- */

int testdev_init(struct testdev *testdev, struct vm *vm, const struct ram *ram)
{
    static const struct {
        uint16_t port, count;
        struct io_ops ops;
    } table[] = {
        { PORT_DEBUG_EXIT, 4, { read_nothing, write_debug_exit } },
        { PORT_ECHO, 4, { read_echo, write_echo } },
        { PORT_FLUSH, 4, { read_nothing, write_nothing } },
        { PORT_BYTE_ECHO, 4, { read_byte_echo, write_byte_echo } },
        { PORT_IRQ_LINES, IOAPIC_PINS, { read_nothing, write_irq_line } },
        { PORT_FW_CFG, 2, { read_fw_cfg, write_fw_cfg } },
        { PORT_SHUTDOWN, 1, { read_nothing, write_shutdown } },
    };
    static const struct io_ops window = { read_window, write_window };

    memset(testdev, 0, sizeof(*testdev));
    testdev->vm = vm;
    testdev->memory = ram->low_end + ram->high_end - RAM_FOUR_GIB;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int error = vm_add_io(vm, table[i].port, table[i].count, &table[i].ops, testdev);
        if (error != RIVET_OK) {
            return error;
        }
    }
    return vm_add_mmio(vm, WINDOW_BASE, TESTDEV_MEMORY_SIZE, &window, testdev);
}

void testdev_reset(struct testdev *testdev)
{
    testdev->echo = 0;
    testdev->byte_echo = 0;
    testdev->item = 0;
    testdev->item_offset = 0;
    testdev->shutdown = 0;
    memset(testdev->window, 0, sizeof(testdev->window));
}
