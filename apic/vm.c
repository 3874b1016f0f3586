/* SPDX-License-Identifier: MIT */
/*
 * The interrupt fabric of a VM: delivery of messages, lowest-priority arbitration, APICv inhibition
 * (SDM volume 3, "Issuing Interprocessor Interrupts", "Message Signalled Interrupts").
 */
#include "apic/vm.h"

#include "apic/extint.h"
#include "apic/lapic.h"
#include "apic/map.h"
#include "apic/page.h"
#include "apic/port.h"
#include "apic/priority.h"

void apic_vm_init(struct apic_vm *vm, const struct apic_features *features)
{
    *vm = (struct apic_vm){ .features = *features, .tsc_per_timer_tick = 1 };
    if (!features->interrupt_delivery) {
        atomic_store(&vm->inhibits, BIT32(APICV_INHIBIT_HARDWARE));
    }
    ioapic_init(&vm->ioapic);
}

/* --- Delivery ------------------------------------------------------------------------------- */

static uint64_t enabled_only(const struct apic_vm *vm, uint64_t candidates)
{
    uint64_t enabled = 0;
    for (uint64_t left = candidates; left != 0; left &= left - 1) {
        unsigned index = (unsigned)__builtin_ctzll(left);
        if (lapic_software_enabled(vm->lapics[index])) {
            enabled |= BIT(index);
        }
    }
    return enabled;
}

/* Those among candidates whose PPR is the lowest; all, where no PPR can be read. */
static uint64_t lowest_only(const struct apic_vm *vm, uint64_t candidates)
{
    if (vm->features.protected) {
        return candidates;
    }
    uint64_t lowest = 0;
    unsigned lowest_ppr = APIC_PRIORITY + 1;
    for (uint64_t left = candidates; left != 0; left &= left - 1) {
        unsigned index = (unsigned)__builtin_ctzll(left);
        unsigned ppr = priority_ppr(vm->lapics[index]);
        if (ppr < lowest_ppr) {
            lowest_ppr = ppr;
            lowest = 0;
        }
        if (ppr == lowest_ppr) {
            lowest |= BIT(index);
        }
    }
    return lowest;
}

/*
 * "Lowest Priority Delivery Mode": the processor with the lowest PPR; among equals the next one
 * after the last winner, so that everyone gets its turn.
 */
static uint64_t arbitrate(struct apic_vm *vm, uint64_t candidates)
{
    uint64_t tied = lowest_only(vm, enabled_only(vm, candidates));
    if (tied == 0) {
        return 0;
    }
    unsigned last = atomic_load_explicit(&vm->arbitration_turn, memory_order_relaxed);
    uint64_t after_last = last < 63 ? tied & ~(BIT(last + 1) - 1) : 0;
    unsigned winner = (unsigned)__builtin_ctzll(after_last != 0 ? after_last : tied);
    atomic_store_explicit(&vm->arbitration_turn, winner, memory_order_relaxed);
    return BIT(winner);
}

/* A start-up is an IPI: in an I/O APIC entry and in an MSI its delivery mode is reserved. */
static bool is_reserved(const struct apic_message *message)
{
    return message->delivery_mode == APIC_DELIVERY_SIPI && message->source == NULL;
}

unsigned apic_vm_deliver(struct apic_vm *vm, const struct apic_message *message)
{
    if (is_reserved(message)) {
        return 0;
    }
    uint64_t targets = apic_map_lookup(vm, message);
    unsigned accepted = 0;

    if (message->delivery_mode == APIC_DELIVERY_LOWEST_PRIORITY) {
        targets = arbitrate(vm, targets);
    }
    for (; targets != 0; targets &= targets - 1) {
        accepted += lapic_accept(vm->lapics[__builtin_ctzll(targets)], message);
    }
    return accepted;
}

/* Message address and data. With RH set and logical mode, one of the processors named takes it. */
#define MSI_ADDRESS_PREFIX   0xFFF00000ULL
#define MSI_ADDRESS_FEE      0xFEE00000ULL
#define MSI_ADDRESS_DEST     0xFF000ULL
#define MSI_ADDRESS_REDIRECT BIT(3)
#define MSI_ADDRESS_LOGICAL  BIT(2)
#define MSI_DATA_VECTOR      0xFFU
#define MSI_DATA_MODE        0x700U
#define MSI_DATA_ASSERT      BIT32(14)
#define MSI_DATA_LEVEL       BIT32(15)

unsigned apic_vm_deliver_msi(struct apic_vm *vm, uint64_t address, uint32_t data)
{
    if (address >> 32 != 0 || (address & MSI_ADDRESS_PREFIX) != MSI_ADDRESS_FEE) {
        return 0;
    }
    struct apic_message message = {
        .destination = (uint32_t)field_get(MSI_ADDRESS_DEST, address),
        .logical = (address & MSI_ADDRESS_LOGICAL) != 0,
        .delivery_mode = (uint8_t)field_get(MSI_DATA_MODE, data),
        .vector = data & MSI_DATA_VECTOR,
        .level = (data & MSI_DATA_LEVEL) != 0,
        .assert_level = (data & MSI_DATA_ASSERT) != 0,
    };
    bool redirect = message.logical && (address & MSI_ADDRESS_REDIRECT) != 0;
    if (redirect && message.delivery_mode == APIC_DELIVERY_FIXED) {
        message.delivery_mode = APIC_DELIVERY_LOWEST_PRIORITY;
    }
    if (message.level && !message.assert_level) {
        return 0;
    }
    return apic_vm_deliver(vm, &message);
}

/* --- Requests ------------------------------------------------------------------------------- */

void apic_request(struct lapic *lapic, uint32_t request)
{
    atomic_fetch_or(&lapic->requests, request);
    apic_port_kick(lapic);
}

static void request_all(struct apic_vm *vm, uint32_t request)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->lapics[i] != NULL) {
            apic_request(vm->lapics[i], request);
        }
    }
}

void apic_vm_routes_changed(struct apic_vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->lapics[i] != NULL && atomic_load(&vm->lapics[i]->apicv_active)) {
            apic_request(vm->lapics[i], LAPIC_REQUEST_EOI_EXITS);
        }
    }
}

/* --- APICv inhibition ----------------------------------------------------------------------- */

/* Caller holds vm->lock. Whether the VM's activation state changed. */
static bool set_inhibit_locked(struct apic_vm *vm, enum apicv_inhibit reason, bool set)
{
    uint32_t old = atomic_load(&vm->inhibits);
    uint32_t new = set ? old | BIT32(reason) : old & ~BIT32(reason);
    atomic_store(&vm->inhibits, new);
    return (old == 0) != (new == 0);
}

bool apicv_set_inhibit(struct apic_vm *vm, enum apicv_inhibit reason, bool set)
{
    if (vm->features.protected) {
        return false;
    }
    spin_lock(&vm->lock);
    bool changed = set_inhibit_locked(vm, reason, set);
    spin_unlock(&vm->lock);
    if (changed) {
        request_all(vm, LAPIC_REQUEST_APICV);
    }
    return changed;
}

const char *apicv_inhibit_name(enum apicv_inhibit reason)
{
    static const char *const names[] = {
        [APICV_INHIBIT_OPTION] = "option",   [APICV_INHIBIT_HARDWARE] = "hardware",
        [APICV_INHIBIT_APIC_ID] = "apic-id", [APICV_INHIBIT_APIC_BASE] = "apic-base",
        [APICV_INHIBIT_EXTINT] = "extint",   [APICV_INHIBIT_DEBUGGER] = "debugger",
        [APICV_INHIBIT_MONITOR] = "monitor",
    };
    return (unsigned)reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

/*
 * Hardware knows only the x2APIC id and one APIC-access address. Ids that differ from it include
 * all that are equal to another's.
 */
static void find_irregular(const struct apic_vm *vm, bool *id, bool *base)
{
    *id = *base = false;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        const struct lapic *lapic = vm->lapics[i];
        if (lapic != NULL && lapic_mode(lapic) == LAPIC_XAPIC) {
            *id |= page_read(lapic, APIC_ID) >> 24 != lapic->id;
            *base |= (lapic_read_base(lapic) & APIC_BASE_ADDRESS) != APIC_BASE_DEFAULT;
        }
    }
}

void apic_vm_ids_changed(struct apic_vm *vm)
{
    bool id, base;

    spin_lock(&vm->lock);
    bool moved = apic_map_update(vm);
    find_irregular(vm, &id, &base);
    bool inhibited_before = atomic_load(&vm->inhibits) != 0;
    set_inhibit_locked(vm, APICV_INHIBIT_APIC_ID, id);
    set_inhibit_locked(vm, APICV_INHIBIT_APIC_BASE, base);
    bool changed = inhibited_before != (atomic_load(&vm->inhibits) != 0);
    spin_unlock(&vm->lock);
    if (changed) {
        request_all(vm, LAPIC_REQUEST_APICV);
    }
    if (moved) {
        apic_vm_routes_changed(vm);
    }
}

static bool extint_possible(struct apic_vm *vm)
{
    if (vm->features.protected || atomic_load(&vm->extint_source) != APIC_EXTINT_LIVE) {
        return false;
    }
    bool open = ioapic_has_extint(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        const struct lapic *lapic = vm->lapics[i];
        open |= lapic != NULL && (extint_lvt0_open(lapic) ||
                                  (atomic_load(&lapic->extint) & LAPIC_EXTINT_MESSAGE) != 0);
    }
    return open;
}

/*
 * Several CPUs can be here with different answers. Each ends only when the reason stands as it finds
 * the registers afterwards, so that the last answer is the right one.
 */
void apic_vm_extint_changed(struct apic_vm *vm)
{
    bool possible = extint_possible(vm);

    while (possible != ((atomic_load(&vm->inhibits) & BIT32(APICV_INHIBIT_EXTINT)) != 0)) {
        apicv_set_inhibit(vm, APICV_INHIBIT_EXTINT, possible);
        possible = extint_possible(vm);
    }
}

void apic_vm_set_extint_source(struct apic_vm *vm, enum apic_extint_source source)
{
    if (atomic_exchange(&vm->extint_source, source) != source) {
        apic_vm_extint_changed(vm);
    }
}
