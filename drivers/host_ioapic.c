/* SPDX-License-Identifier: MIT */
/* The host's I/O APICs and its two 8259 PICs. */
#include "drivers/host_ioapic.h"

#include <stddef.h>

#include "arch/acpi.h"
#include "arch/paging.h"
#include "arch/port_io.h"
#include "drivers/host_apic.h"
#include "lib/bits.h"

enum {
    IOAPIC_INDEX = 0x00, /* memory-mapped pair: index, then data */
    IOAPIC_DATA = 0x10,
    IOAPIC_WINDOW = 0x20,
    IOAPIC_VERSION = 0x01,
    IOAPIC_VERSION_MAX_ENTRY = 0xFF0000,
    IOAPIC_REDIRECTION = 0x10, /* two registers for each pin: low, high */
};

#define REDIRECTION_ACTIVE_LOW        BIT32(13)
#define REDIRECTION_LEVEL             BIT32(15)
#define REDIRECTION_MASKED            BIT32(16)
#define REDIRECTION_DESTINATION_SHIFT 24

enum {
    PIC1_COMMAND = 0x20,
    PIC1_DATA = 0x21,
    PIC2_COMMAND = 0xA0,
    PIC2_DATA = 0xA1,
    PIC_ICW1_INIT_ICW4 = 0x11,
    PIC_ICW2_PIC1 = 0x20, /* vectors away from the exceptions: a PIC can always raise its IRQ 7 */
    PIC_ICW2_PIC2 = 0x28,
    PIC_ICW3_PIC1 = 0x04, /* PIC 2 is on pin 2 */
    PIC_ICW3_PIC2 = 0x02,
    PIC_ICW4_8086 = 0x01,
    PIC_MASK_ALL = 0xFF,
};

static uint32_t read_register(const struct acpi_ioapic *ioapic, uint32_t index)
{
    volatile uint32_t *window = (volatile uint32_t *)(uintptr_t)ioapic->address;
    window[IOAPIC_INDEX / 4] = index;
    return window[IOAPIC_DATA / 4];
}

static void write_register(const struct acpi_ioapic *ioapic, uint32_t index, uint32_t value)
{
    volatile uint32_t *window = (volatile uint32_t *)(uintptr_t)ioapic->address;
    window[IOAPIC_INDEX / 4] = index;
    window[IOAPIC_DATA / 4] = value;
}

static uint32_t pin_count(const struct acpi_ioapic *ioapic)
{
    return (uint32_t)field_get(IOAPIC_VERSION_MAX_ENTRY, read_register(ioapic, IOAPIC_VERSION)) + 1;
}

/* Destination first: the low word, written last, is what can unmask the pin. */
static void write_redirection(const struct acpi_ioapic *ioapic, uint32_t pin, uint32_t low,
                              uint32_t apic_id)
{
    uint32_t index = IOAPIC_REDIRECTION + 2 * pin;
    write_register(ioapic, index, low | REDIRECTION_MASKED);
    write_register(ioapic, index + 1, apic_id << REDIRECTION_DESTINATION_SHIFT);
    write_register(ioapic, index, low);
}

static void mask_pics(void)
{
    outb(PIC1_COMMAND, PIC_ICW1_INIT_ICW4);
    outb(PIC2_COMMAND, PIC_ICW1_INIT_ICW4);
    outb(PIC1_DATA, PIC_ICW2_PIC1);
    outb(PIC2_DATA, PIC_ICW2_PIC2);
    outb(PIC1_DATA, PIC_ICW3_PIC1);
    outb(PIC2_DATA, PIC_ICW3_PIC2);
    outb(PIC1_DATA, PIC_ICW4_8086);
    outb(PIC2_DATA, PIC_ICW4_8086);
    outb(PIC1_DATA, PIC_MASK_ALL);
    outb(PIC2_DATA, PIC_MASK_ALL);
}

static bool is_usable(const struct acpi_ioapic *ioapic)
{
    return paging_is_mapped(ioapic->address, IOAPIC_WINDOW);
}

void host_ioapic_init(void)
{
    if (acpi()->has_8259) {
        mask_pics();
    }
    for (unsigned i = 0; i < acpi()->ioapic_count; i++) {
        const struct acpi_ioapic *ioapic = &acpi()->ioapics[i];
        uint32_t pins = is_usable(ioapic) ? pin_count(ioapic) : 0;
        for (uint32_t pin = 0; pin < pins; pin++) {
            write_redirection(ioapic, pin, REDIRECTION_MASKED, 0);
        }
    }
}

static const struct acpi_ioapic *find_ioapic(uint32_t gsi)
{
    for (unsigned i = 0; i < acpi()->ioapic_count; i++) {
        const struct acpi_ioapic *ioapic = &acpi()->ioapics[i];
        if (is_usable(ioapic) && gsi >= ioapic->gsi_base &&
            gsi - ioapic->gsi_base < pin_count(ioapic)) {
            return ioapic;
        }
    }
    return NULL;
}

bool host_ioapic_route_isa(uint8_t irq, uint8_t vector)
{
    struct acpi_override isa = acpi_isa_interrupt(irq);
    const struct acpi_ioapic *ioapic = find_ioapic(isa.gsi);
    uint32_t apic_id = host_apic_id();
    if (ioapic == NULL || apic_id >= 0xFF) {
        return false;
    }
    uint32_t low = vector | (isa.active_low ? REDIRECTION_ACTIVE_LOW : 0) |
                   (isa.level ? REDIRECTION_LEVEL : 0);
    write_redirection(ioapic, isa.gsi - ioapic->gsi_base, low, apic_id);
    return true;
}
