/* SPDX-License-Identifier: MIT */
/*
 * The registers of a local APIC, one handler each (SDM volume 3, "Local APIC Register Address
 * Map").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lapic;

/* Who may do what with a register. */
enum lapic_register_access {
    REGISTER_XAPIC_READ = 1 << 0,
    REGISTER_XAPIC_WRITE = 1 << 1,
    REGISTER_XAPIC = REGISTER_XAPIC_READ | REGISTER_XAPIC_WRITE, /* exists in the window */
    REGISTER_X2APIC_READ = 1 << 2,
    REGISTER_X2APIC_WRITE = 1 << 3,
};

struct lapic_register {
    uint32_t (*read)(struct lapic *lapic, uint32_t offset);
    /*
     * Takes the value as the guest wrote it. The page may hold it already (APIC-write exit), so a
     * handler never looks at the page for the old value, and always stores what the register reads
     * as.
     */
    void (*write)(struct lapic *lapic, uint32_t offset, uint32_t value);
    uint32_t x2apic_reserved; /* bits that must be 0 in a WRMSR */
    uint8_t access;
};

/* The register at a 16-byte aligned offset, or NULL when this local APIC has none there. Pure. */
const struct lapic_register *register_at(const struct lapic *lapic, uint32_t offset);

/* The same for a local APIC with every optional register. Pure. */
const struct lapic_register *register_known(uint32_t offset);

/* Put every register to its value after reset, except ID and the mode-dependent LDR. Owner. */
void registers_reset(struct lapic *lapic);
