/* SPDX-License-Identifier: MIT */
/* The destination map of a VM (SDM volume 3, "Determining IPI Destination"). */
#include "apic/map.h"

#include "apic/lapic.h"
#include "apic/page.h"
#include "apic/regs.h"
#include "apic/vm.h"

_Static_assert((int)APIC_MAX_VCPUS == (int)APIC_MAP_MAX_VCPUS, "the map knows all vCPUs");
_Static_assert(APIC_MAX_VCPUS <= 64, "a set of vCPUs is a 64-bit mask");

enum { BROADCAST_8 = 0xFF, CLUSTER_MEMBERS_X2APIC = 16 };
#define BROADCAST_32 0xFFFFFFFFU

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void store(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static void add(_Atomic uint64_t *word, uint64_t member)
{
    store(word, load(word) | member);
}

static void clear(_Atomic uint64_t *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        store(&words[i], 0);
    }
}

static void add_cluster(struct apic_map *map, uint8_t logical_id, uint64_t member)
{
    for (unsigned bit = 0; bit < APIC_MAP_MEMBERS; bit++) {
        if ((logical_id & BIT(bit)) != 0) {
            add(&map->cluster[logical_id >> 4][bit], member);
        }
    }
}

static void add_flat(struct apic_map *map, uint8_t logical_id, uint64_t member)
{
    for (unsigned bit = 0; bit < APIC_MAP_FLAT; bit++) {
        if ((logical_id & BIT(bit)) != 0) {
            add(&map->flat[bit], member);
        }
    }
}

/* DFR models other than flat and cluster are undefined: such a local APIC has no logical id. */
static void add_xapic(struct apic_map *map, const struct lapic *lapic, uint64_t member)
{
    uint8_t logical_id = (uint8_t)(page_read(lapic, APIC_LDR) >> 24);
    uint32_t model = page_read(lapic, APIC_DFR) & APIC_DFR_MODEL;

    add(&map->xapic, member);
    add(&map->physical[page_read(lapic, APIC_ID) >> 24], member);
    if (model == APIC_DFR_FLAT) {
        add_flat(map, logical_id, member);
    } else if (model == APIC_DFR_CLUSTER) {
        add_cluster(map, logical_id, member);
    }
}

static void add_lapic(struct apic_map *map, const struct lapic *lapic)
{
    uint64_t member = BIT(lapic->id);
    switch (lapic_mode(lapic)) {
    case LAPIC_XAPIC:
        add_xapic(map, lapic, member);
        break;
    case LAPIC_X2APIC:
        add(&map->x2apic, member);
        add(&map->physical[lapic->id], member);
        break;
    case LAPIC_DISABLED:
        break;
    }
}

/* All that the map is made of, for one local APIC; 0: it is not in it. */
static uint32_t map_input(const struct lapic *lapic)
{
    if (lapic == NULL || lapic_mode(lapic) == LAPIC_DISABLED) {
        return 0;
    }
    if (lapic_mode(lapic) == LAPIC_X2APIC) {
        return LAPIC_X2APIC;
    }
    return page_read(lapic, APIC_ID) | page_read(lapic, APIC_LDR) >> 8 |
           (page_read(lapic, APIC_DFR) & APIC_DFR_MODEL) >> 16 | LAPIC_XAPIC;
}

static bool note_input(struct apic_vm *vm)
{
    bool changed = false;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        uint32_t input = map_input(vm->lapics[i]);
        changed |= input != vm->map.built_from[i];
        vm->map.built_from[i] = input;
    }
    return changed;
}

static void rebuild(struct apic_vm *vm)
{
    struct apic_map *map = &vm->map;

    atomic_fetch_add_explicit(&map->sequence, 1, memory_order_seq_cst);
    clear(map->physical, APIC_MAP_PHYSICAL);
    clear(map->flat, APIC_MAP_FLAT);
    clear(&map->cluster[0][0], APIC_MAP_CLUSTERS * APIC_MAP_MEMBERS);
    store(&map->xapic, 0);
    store(&map->x2apic, 0);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->lapics[i] != NULL) {
            add_lapic(map, vm->lapics[i]);
        }
    }
    atomic_fetch_add_explicit(&map->sequence, 1, memory_order_release);
}

bool apic_map_update(struct apic_vm *vm)
{
    bool changed = note_input(vm);
    if (changed) {
        rebuild(vm);
    }
    return changed;
}

static uint64_t lookup_physical(const struct apic_map *map, uint32_t destination)
{
    return destination < APIC_MAP_PHYSICAL ? load(&map->physical[destination]) : 0;
}

static uint64_t lookup_logical_xapic(const struct apic_map *map, uint8_t destination)
{
    uint64_t found = 0;
    for (unsigned bit = 0; bit < APIC_MAP_FLAT; bit++) {
        if ((destination & BIT(bit)) != 0) {
            found |= load(&map->flat[bit]);
        }
    }
    for (unsigned bit = 0; bit < APIC_MAP_MEMBERS; bit++) {
        if ((destination & BIT(bit)) != 0) {
            found |= load(&map->cluster[destination >> 4][bit]);
        }
    }
    return found;
}

/*
 * The logical x2APIC id is (id / 16) in bits 31:16 and one bit of 15:0 for id % 16 ("Deriving
 * Logical x2APIC ID from the Local x2APIC ID"), so a destination is a slice of the set of ids.
 */
static uint64_t lookup_logical_x2apic(const struct apic_map *map, uint32_t destination)
{
    uint32_t cluster = destination >> 16;
    if (cluster >= APIC_MAX_VCPUS / CLUSTER_MEMBERS_X2APIC) {
        return 0;
    }
    uint64_t members = (uint64_t)(destination & 0xFFFF) << (cluster * CLUSTER_MEMBERS_X2APIC);
    return members & load(&map->x2apic);
}

static uint64_t lookup_logical(const struct apic_map *map, uint32_t destination)
{
    uint64_t found = lookup_logical_x2apic(map, destination);
    if (destination <= 0xFF) {
        found |= lookup_logical_xapic(map, (uint8_t)destination);
    }
    return found;
}

static uint64_t lookup_destination(const struct apic_map *map, const struct apic_message *message)
{
    uint32_t broadcast = message->x2apic_format ? BROADCAST_32 : BROADCAST_8;
    if (message->destination == broadcast) {
        return load(&map->xapic) | load(&map->x2apic);
    }
    if (message->logical) {
        return lookup_logical(map, message->destination);
    }
    return lookup_physical(map, message->destination);
}

static uint64_t lookup(const struct apic_map *map, const struct apic_message *message)
{
    uint64_t all = load(&map->xapic) | load(&map->x2apic);
    uint64_t self = message->source != NULL ? BIT(message->source->id) : 0;

    switch ((enum apic_shorthand)message->shorthand) {
    case APIC_SHORTHAND_SELF:
        return all & self;
    case APIC_SHORTHAND_ALL:
        return all;
    case APIC_SHORTHAND_OTHERS:
        return all & ~self;
    case APIC_SHORTHAND_NONE:
        break;
    }
    return lookup_destination(map, message);
}

uint64_t apic_map_lookup(const struct apic_vm *vm, const struct apic_message *message)
{
    const struct apic_map *map = &vm->map;
    uint32_t before;
    uint64_t found;

    do {
        before = atomic_load_explicit(&map->sequence, memory_order_acquire);
        found = lookup(map, message);
        atomic_thread_fence(memory_order_acquire);
    } while ((before & 1) != 0 ||
             atomic_load_explicit(&map->sequence, memory_order_relaxed) != before);
    return found;
}
