/* SPDX-License-Identifier: MIT */
/*
 * The destination map of a VM: which local APICs a destination names, in constant time for every
 * destination mode (SDM volume 3, "Determining IPI Destination"). A set of vCPUs is a 64-bit mask.
 *
 * Rebuilt under vm->lock when a mode, id, LDR or DFR changes; read without a lock: the sequence
 * number is odd while a rebuild is under way, and a reader that saw it change looks again.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct apic_message;
struct apic_vm;

enum { APIC_MAP_PHYSICAL = 256, APIC_MAP_FLAT = 8, APIC_MAP_CLUSTERS = 16, APIC_MAP_MEMBERS = 4 };
enum { APIC_MAP_MAX_VCPUS = 64 };

struct apic_map {
    _Atomic uint32_t sequence;
    _Atomic uint64_t physical[APIC_MAP_PHYSICAL]; /* by xAPIC id, or x2APIC id below 256 */
    _Atomic uint64_t flat[APIC_MAP_FLAT];         /* by bit of the logical id, flat model */
    _Atomic uint64_t cluster[APIC_MAP_CLUSTERS][APIC_MAP_MEMBERS]; /* cluster model */
    _Atomic uint64_t xapic;                                        /* local APICs in xAPIC mode */
    _Atomic uint64_t x2apic; /* in x2APIC mode; their logical ids follow from the id */
    uint32_t built_from[APIC_MAP_MAX_VCPUS]; /* mode, id, LDR and DFR of each; under vm->lock */
};

/*
 * Bring the map in step with the local APICs' registers: it is built anew when a mode, id, LDR or DFR
 * has changed. Whether it was. Caller holds vm->lock.
 */
bool apic_map_update(struct apic_vm *vm);

/* The enabled local APICs that message's shorthand or destination names. Any CPU, no lock. */
uint64_t apic_map_lookup(const struct apic_vm *vm, const struct apic_message *message);
