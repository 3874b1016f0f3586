/* SPDX-License-Identifier: MIT */
/* The interrupt fabric of one VM: its local APICs, the destination map, APICv inhibition. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apic/ioapic.h"
#include "apic/map.h"
#include "lib/spinlock.h"

enum { APIC_MAX_VCPUS = 64, APIC_MAX_IDS = 256 };

struct lapic;

/* What the CPU offers; read from the capability MSRs by vmx/, fixed for the life of a VM. */
struct apic_features {
    bool tpr_shadow;         /* "use TPR shadow" */
    bool apic_accesses;      /* "virtualize APIC accesses" */
    bool x2apic_mode;        /* "virtualize x2APIC mode" */
    bool register_virt;      /* "APIC-register virtualization" */
    bool interrupt_delivery; /* "virtual-interrupt delivery": APICv is never active without */
    bool posted_interrupts;  /* "process posted interrupts"; without it a post is a kick */
    /* What the guest's CPUID says. */
    bool no_x2apic;                /* no x2APIC mode: IA32_APIC_BASE.EXTD is reserved */
    bool protected;                /* the virtual-APIC pages are off limits to software */
    bool cmci;                     /* MCG_CMCI_P: the LVT CMCI register exists */
    uint8_t physical_address_bits; /* limits IA32_APIC_BASE; 0 means 52 */
};

/* Why APICv is off for a VM, at run time. */
enum apicv_inhibit {
    APICV_INHIBIT_OPTION = 0, /* apicv=off */
    APICV_INHIBIT_HARDWARE,   /* the CPU has no virtual-interrupt delivery */
    APICV_INHIBIT_APIC_ID,    /* an xAPIC id was changed, or two are equal */
    APICV_INHIBIT_APIC_BASE,  /* an xAPIC base was moved */
    APICV_INHIBIT_EXTINT,     /* LVT0 or an I/O APIC entry could deliver ExtINT */
    APICV_INHIBIT_DEBUGGER,   /* a debugger blocks interrupts */
    APICV_INHIBIT_MONITOR,    /* monitor command */
};

/* What an external 8259 pair can do, see apic_vm_set_extint_source. */
enum apic_extint_source {
    APIC_EXTINT_NONE = 0, /* there is none */
    APIC_EXTINT_QUIET,    /* it asks for nothing and cannot: all its inputs are masked */
    APIC_EXTINT_LIVE,
};

/* An interrupt message: from an I/O APIC entry, an MSI, an ICR or an LVT entry. */
struct apic_message {
    uint32_t destination;  /* APIC id or logical destination: 8 bits, in x2APIC format 32 */
    bool logical;          /* destination mode */
    bool x2apic_format;    /* destination is 32 bits wide; else 8 with 0xFF = all */
    uint8_t delivery_mode; /* enum apic_delivery_mode of apic/regs.h */
    uint8_t vector;
    bool level;           /* trigger mode */
    bool assert_level;    /* level bit of the ICR: INIT de-assert when false */
    uint8_t shorthand;    /* 0 none, 1 self, 2 all including self, 3 all but self; ICR only */
    struct lapic *source; /* sender of an IPI, NULL for devices */
};

struct apic_vm {
    struct apic_features features;
    unsigned vcpu_count;
    struct lapic *lapics[APIC_MAX_VCPUS];
    struct ioapic ioapic;
    struct spinlock lock;      /* map and inhibition changes */
    _Atomic uint32_t inhibits; /* bit per enum apicv_inhibit */
    uint32_t
        tsc_per_timer_tick; /* local APIC timer input clock: TSC ticks per count at divide 1; 1 */

    /* Owned by apic/. */
    struct apic_map map;
    _Atomic uint32_t arbitration_turn; /* vCPU that won the last lowest-priority arbitration */
    _Atomic uint32_t extint_source;    /* enum apic_extint_source */
    _Atomic uint32_t logged;           /* bit per enum apic_log: said once */
};

/* Things a guest does that are logged once per VM. */
enum apic_log { APIC_LOG_SMI, APIC_LOG_EXTINT };

/* Prepare the fabric of a VM; no local APIC yet. lapic_init adds them. */
void apic_vm_init(struct apic_vm *vm, const struct apic_features *features);

/*
 * Route a message to every local APIC it names; returns the number that accepted it. Any CPU, no
 * apic/ lock held (the I/O APIC delivers after dropping its lock or documents its order).
 */
unsigned apic_vm_deliver(struct apic_vm *vm, const struct apic_message *message);

/*
 * MSI: decode address and data (SDM volume 3, "Message Signalled Interrupts") and deliver. Any CPU.
 */
unsigned apic_vm_deliver_msi(struct apic_vm *vm, uint64_t address, uint32_t data);

/*
 * Set or clear one inhibit reason; every vCPU applies the new state before its next entry (it is
 * kicked). Returns whether the activation state of the VM changed: that of a protected VM cannot.
 * Any CPU.
 */
bool apicv_set_inhibit(struct apic_vm *vm, enum apicv_inhibit reason, bool set);

/*
 * A mode, base, id, LDR or DFR may have changed: bring the map and what follows from it in step. Any
 * CPU, no lock held.
 */
void apic_vm_ids_changed(struct apic_vm *vm);

/* An LVT0, an I/O APIC entry or the source changed: could ExtINT come? Any CPU, no lock held. */
void apic_vm_extint_changed(struct apic_vm *vm);

/*
 * Not for a protected VM, to which no ExtINT can come. Say what the 8259 pair can do, before it becomes LIVE and after it has ceased to be. Any CPU, no
 * apic/ lock held, calls one after the other.
 */
void apic_vm_set_extint_source(struct apic_vm *vm, enum apic_extint_source source);

/* An I/O APIC route changed: every vCPU computes its EOI-exit bitmap anew. Any CPU. */
void apic_vm_routes_changed(struct apic_vm *vm);

/* Ask lapic's owner for something of enum lapic_request, and make it come by. Any CPU. */
void apic_request(struct lapic *lapic, uint32_t request);

/* Name of a reason for logs and the monitor, e.g. "apic-id". */
const char *apicv_inhibit_name(enum apicv_inhibit reason);
