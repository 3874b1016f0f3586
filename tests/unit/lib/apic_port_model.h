/* SPDX-License-Identifier: MIT */
/*
 * A model of what apic/ needs from its host (apic/port.h), and of the hardware around it: guest
 * mode with virtual-interrupt delivery and posted interrupts, written from the SDM's pseudo code
 * (volume 3, chapter "APIC Virtualization and Virtual Interrupts") and sharing nothing with apic/.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "apic/lapic.h"
#include "apic/regs.h"
#include "apic/vm.h"

enum { MODEL_VCPUS = 64 };

struct model_vcpu {
    _Alignas(4096) uint8_t page[4096];          /* the virtual-APIC page */
    _Alignas(4096) uint8_t software_page[4096]; /* of a protected local APIC: the other registers */
    struct pi_desc pi;
    struct lapic lapic;
    bool in_guest;           /* in guest mode on another CPU: notifications and kicks reach it */
    bool interrupts_enabled; /* RFLAGS.IF and no shadow */

    /* The VMCS. */
    uint8_t rvi, svi, tpr_threshold;
    uint64_t eoi_exit[4];

    /* Calls of the port. */
    unsigned kicks, notifications, nmis, refreshes, logs;
    unsigned status_writes, threshold_writes, bitmap_writes;
    unsigned self_notifications, fresh_pages;
    bool notification_pending; /* in the host's local APIC */
    uint8_t self_ipis[32];     /* bit per vector: hardware has sent it as a self-IPI */
};

struct model {
    struct apic_vm vm;
    uint64_t tsc;                            /* host TSC */
    int (*acknowledge)(struct lapic *lapic); /* the 8259 pair; NULL: none */
    struct model_vcpu vcpu[MODEL_VCPUS];
};

extern struct model model;

/* Guest RAM: MODEL_RAM bytes from MODEL_RAM_BASE on. */
enum { MODEL_RAM = 256, MODEL_RAM_BASE = 0x5000 };
extern uint8_t model_ram[MODEL_RAM];

/* Every feature of a CPU with APICv, and the guest's CMCI. */
extern const struct apic_features model_all_features;

/* A new VM with that many vCPUs in xAPIC mode, software-disabled as after reset, in root mode. */
void model_start(const struct apic_features *features, unsigned vcpus);

/* Vector 0FFH and the enable bit into SVR of every vCPU. */
void model_enable_all(void);

/* Put a vCPU into x2APIC mode. */
void model_enter_x2apic(unsigned index);

/*
 * One VM entry: lapic_before_entry, then with APICv active what hardware does at entry. Returns the
 * vector that the guest receives, by injection or virtual-interrupt delivery, or -1. The vCPU is
 * back in root mode afterwards unless stay is set.
 */
int model_enter(unsigned index);

/* With the vCPU in guest mode (APICv active): hardware's own next step. Vector delivered, or -1. */
int model_evaluate(unsigned index);

/*
 * The guest writes EOI, by hardware when APICv is active (with the EOI-induced exit), else by exit.
 */
void model_eoi(unsigned index);

/* The guest writes TPR: virtualized by the CPU with APICv active or a TPR shadow. */
void model_write_tpr(unsigned index, uint8_t value);

/* Self-IPI virtualization of a legal vector. */
void model_self_ipi(unsigned index, uint8_t vector);

/* Highest vector of a bank in the page, or -1. */
int model_highest(unsigned index, uint32_t bank);

uint32_t model_read(unsigned index, uint32_t offset);
