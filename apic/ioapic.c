/* SPDX-License-Identifier: MIT */
/*
 * The guest's I/O APIC: 24 pins, edge and level, remote IRR, EOI by broadcast and by its EOI
 * register (82093AA data sheet; the EOI register is that of version 20H).
 */
#include "apic/ioapic.h"

#include "apic/lapic.h"
#include "apic/map.h"
#include "apic/regs.h"
#include "apic/vm.h"

/* The window. */
enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40 };

/* Registers behind it. */
enum { IOAPIC_ID = 0x00, IOAPIC_VER = 0x01, IOAPIC_ARB = 0x02, IOAPIC_REDIRECTION = 0x10 };

#define IOAPIC_ID_BITS       0x0F000000U
#define IOAPIC_VERSION       0x20U
#define IOAPIC_MAX_PIN_SHIFT 16

/* Redirection table entry. */
#define RTE_VECTOR          0xFFULL
#define RTE_DELIVERY_MODE   0x700ULL
#define RTE_LOGICAL         BIT(11)
#define RTE_DELIVERY_STATUS BIT(12)
#define RTE_REMOTE_IRR      BIT(14)
#define RTE_LEVEL           BIT(15)
#define RTE_MASKED          BIT(16)
#define RTE_DESTINATION     0xFF00000000000000ULL
#define RTE_READ_ONLY       (RTE_DELIVERY_STATUS | RTE_REMOTE_IRR)
#define RTE_BITS            (0x1FFFFULL | RTE_DESTINATION)

void ioapic_init(struct ioapic *ioapic)
{
    *ioapic = (struct ioapic){ 0 };
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->redirection[pin] = RTE_MASKED;
    }
}

/* --- Delivery ------------------------------------------------------------------------------- */

static uint8_t delivery_mode(uint64_t entry)
{
    return (uint8_t)field_get(RTE_DELIVERY_MODE, entry);
}

/*
 * Only fixed and lowest-priority interrupts have an EOI; the others are edge whatever the entry
 * says.
 */
static bool is_level(uint64_t entry)
{
    return (entry & RTE_LEVEL) != 0 && (delivery_mode(entry) == APIC_DELIVERY_FIXED ||
                                        delivery_mode(entry) == APIC_DELIVERY_LOWEST_PRIORITY);
}

static struct apic_message message_of(uint64_t entry)
{
    return (struct apic_message){
        .destination = (uint32_t)field_get(RTE_DESTINATION, entry),
        .logical = (entry & RTE_LOGICAL) != 0,
        .delivery_mode = delivery_mode(entry),
        .vector = (uint8_t)field_get(RTE_VECTOR, entry),
        .level = is_level(entry),
        .assert_level = true,
    };
}

/* Send the pin's interrupt if its entry lets it. A level one is outstanding once it is accepted. */
static void fire(struct apic_vm *vm, unsigned pin)
{
    uint64_t *entry = &vm->ioapic.redirection[pin];
    if ((*entry & RTE_MASKED) != 0 || (is_level(*entry) && (*entry & RTE_REMOTE_IRR) != 0)) {
        return;
    }
    struct apic_message message = message_of(*entry);
    unsigned accepted = apic_vm_deliver(vm, &message);
    if (message.level && accepted != 0) {
        *entry |= RTE_REMOTE_IRR;
    }
}

/* A level-triggered pin fires as long as its line is asserted. */
static void reevaluate(struct apic_vm *vm, unsigned pin)
{
    bool asserted = (vm->ioapic.line_state & BIT32(pin)) != 0;
    if (asserted && is_level(vm->ioapic.redirection[pin])) {
        fire(vm, pin);
    }
}

void ioapic_set_line(struct apic_vm *vm, unsigned pin, bool level)
{
    struct ioapic *ioapic = &vm->ioapic;
    if (pin >= IOAPIC_PINS) {
        return;
    }
    spin_lock(&ioapic->lock);
    bool was = (ioapic->line_state & BIT32(pin)) != 0;
    ioapic->line_state = level ? ioapic->line_state | BIT32(pin) : ioapic->line_state & ~BIT32(pin);
    if (level && !was) {
        fire(vm, pin);
    }
    spin_unlock(&ioapic->lock);
}

void ioapic_eoi_locked(struct apic_vm *vm, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &vm->ioapic.redirection[pin];
        if ((*entry & RTE_REMOTE_IRR) != 0 && (*entry & RTE_VECTOR) == vector) {
            *entry &= ~RTE_REMOTE_IRR;
            reevaluate(vm, pin);
        }
    }
}

void ioapic_eoi(struct apic_vm *vm, uint8_t vector)
{
    spin_lock(&vm->ioapic.lock);
    ioapic_eoi_locked(vm, vector);
    spin_unlock(&vm->ioapic.lock);
}

void ioapic_retry(struct apic_vm *vm)
{
    spin_lock(&vm->ioapic.lock);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        reevaluate(vm, pin);
    }
    spin_unlock(&vm->ioapic.lock);
}

/* --- What APICv wants to know --------------------------------------------------------------- */

/* What is outstanding from a masked entry, those know that have accepted it (eoi.c). */
void ioapic_level_routes_locked(struct apic_vm *vm, uint32_t id, uint64_t routes[4])
{
    for (unsigned word = 0; word < 4; word++) {
        routes[word] = 0;
    }
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = vm->ioapic.redirection[pin];
        struct apic_message message = message_of(entry);
        if ((entry & RTE_MASKED) == 0 && message.level &&
            (apic_map_lookup(vm, &message) & BIT(id)) != 0) {
            routes[message.vector / 64U] |= BIT(message.vector % 64U);
        }
    }
}

bool ioapic_has_extint(struct apic_vm *vm)
{
    bool found = false;

    spin_lock(&vm->ioapic.lock);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = vm->ioapic.redirection[pin];
        found |= (entry & RTE_MASKED) == 0 && delivery_mode(entry) == APIC_DELIVERY_EXTINT;
    }
    spin_unlock(&vm->ioapic.lock);
    return found;
}

/* --- Registers ------------------------------------------------------------------------------ */

static bool is_redirection(uint32_t index)
{
    return index >= IOAPIC_REDIRECTION && index < IOAPIC_REDIRECTION + 2 * IOAPIC_PINS;
}

static uint32_t read_register(const struct ioapic *ioapic)
{
    uint32_t index = ioapic->select;
    if (is_redirection(index)) {
        uint64_t entry = ioapic->redirection[(index - IOAPIC_REDIRECTION) / 2];
        return (uint32_t)(index % 2 != 0 ? entry >> 32 : entry);
    }
    switch (index) {
    case IOAPIC_ID:
    case IOAPIC_ARB:
        return ioapic->id;
    case IOAPIC_VER:
        return IOAPIC_VERSION | (IOAPIC_PINS - 1) << IOAPIC_MAX_PIN_SHIFT;
    default:
        return 0;
    }
}

uint32_t ioapic_mmio_read(struct apic_vm *vm, uint32_t offset)
{
    struct ioapic *ioapic = &vm->ioapic;
    uint32_t value = 0;

    spin_lock(&ioapic->lock);
    if (offset == IOREGSEL) {
        value = ioapic->select;
    } else if (offset == IOWIN) {
        value = read_register(ioapic);
    }
    spin_unlock(&ioapic->lock);
    return value;
}

/* Software clears a stuck remote IRR by switching the entry to edge and back. */
static void write_entry(struct apic_vm *vm, unsigned pin, uint64_t value)
{
    uint64_t *entry = &vm->ioapic.redirection[pin];
    uint64_t new = (value & RTE_BITS & ~RTE_READ_ONLY) | (*entry & RTE_READ_ONLY);
    if ((new &RTE_LEVEL) == 0) {
        new &= ~RTE_REMOTE_IRR;
    }
    *entry = new;
    reevaluate(vm, pin);
}

/* Whether a level-triggered or ExtINT route is among the old and the new. */
static bool write_redirection(struct apic_vm *vm, uint32_t index, uint32_t value)
{
    unsigned pin = (index - IOAPIC_REDIRECTION) / 2;
    uint64_t old = vm->ioapic.redirection[pin];
    uint64_t new = index % 2 != 0 ? (old & 0xFFFFFFFFULL) | (uint64_t)value << 32
                                  : (old & ~0xFFFFFFFFULL) | value;
    write_entry(vm, pin, new);
    return is_level(old) || is_level(new);
}

/* Whether a level-triggered route changed. */
static bool write_register(struct apic_vm *vm, uint32_t value)
{
    struct ioapic *ioapic = &vm->ioapic;
    if (is_redirection(ioapic->select)) {
        return write_redirection(vm, ioapic->select, value);
    }
    if (ioapic->select == IOAPIC_ID) {
        ioapic->id = value & IOAPIC_ID_BITS;
    }
    return false;
}

void ioapic_mmio_write(struct apic_vm *vm, uint32_t offset, uint32_t value)
{
    struct ioapic *ioapic = &vm->ioapic;
    bool routes_changed = false;

    spin_lock(&ioapic->lock);
    switch (offset) {
    case IOREGSEL:
        ioapic->select = value & 0xFF;
        break;
    case IOWIN:
        routes_changed = write_register(vm, value);
        break;
    case IOEOI:
        ioapic_eoi_locked(vm, (uint8_t)value);
        break;
    default:
        break;
    }
    spin_unlock(&ioapic->lock);
    if (routes_changed) {
        apic_vm_routes_changed(vm);
    }
    if (offset == IOWIN) {
        apic_vm_extint_changed(vm);
    }
}
