/* SPDX-License-Identifier: MIT */
/* PCI configuration mechanism 1 with a host bridge as the only function. */
#include "guest/pci.h"

#include "lib/bits.h"

enum { CONFIG_PORTS = 0xCF8, PORT_COUNT = 8, DATA_OFFSET = 4, RESET_OFFSET = 1 };

/* CONFIG_ADDRESS: bus, device and function of the bridge are all 0. */
#define ADDRESS_ENABLE   0x80000000U
#define ADDRESS_FUNCTION 0x00FFFF00U
#define ADDRESS_REGISTER 0x000000FCU
#define ADDRESS_WRITABLE (ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

/* Configuration space of the bridge, by dwords: ids, class; the rest reads zero. */
enum { REGISTER_ID = 0x00, REGISTER_CLASS = 0x08 };
#define BRIDGE_ID    0x0D578086U /* Intel's id for a host bridge without quirks */
#define BRIDGE_CLASS 0x06000000U /* host bridge, revision 0 */

static uint32_t size_mask(unsigned size)
{
    return size >= 4 ? UINT32_MAX : (1U << (8 * size)) - 1;
}

static uint32_t read_config(const struct pci *pci)
{
    if ((pci->address & ADDRESS_ENABLE) == 0 || (pci->address & ADDRESS_FUNCTION) != 0) {
        return UINT32_MAX;
    }
    switch (pci->address & ADDRESS_REGISTER) {
    case REGISTER_ID:
        return BRIDGE_ID;
    case REGISTER_CLASS:
        return BRIDGE_CLASS;
    default:
        return 0;
    }
}

static uint64_t read_ports(void *device, uint64_t offset, unsigned size)
{
    struct pci *pci = device;
    uint32_t value = UINT32_MAX;

    spin_lock(&pci->lock);
    if (offset >= DATA_OFFSET) {
        value = read_config(pci) >> (8 * (offset - DATA_OFFSET));
    } else if (offset == 0 && size == 4) {
        value = pci->address;
    } else if (offset == RESET_OFFSET && size == 1) {
        value = power_read_reset_control(pci->power);
    }
    spin_unlock(&pci->lock);
    return value & size_mask(size);
}

static void write_ports(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci *pci = device;

    if (offset == 0 && size == 4) {
        spin_lock(&pci->lock);
        pci->address = (uint32_t)value & ADDRESS_WRITABLE;
        spin_unlock(&pci->lock);
    } else if (offset == RESET_OFFSET && size == 1) {
        power_write_reset_control(pci->power, (uint8_t)value);
    }
}

int pci_init(struct pci *pci, struct vm *vm, struct power *power)
{
    static const struct io_ops ops = { read_ports, write_ports };

    *pci = (struct pci){ .power = power };
    return vm_add_io(vm, CONFIG_PORTS, PORT_COUNT, &ops, pci);
}

void pci_reset(struct pci *pci)
{
    pci->address = 0;
}
