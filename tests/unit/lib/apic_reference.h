/* SPDX-License-Identifier: MIT */
/*
 * A slow, plain local APIC and I/O APIC, written from the SDM as a reference for apic/ and sharing
 * nothing with it: bool arrays, no page, no posting, every interrupt is seen at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { REF_VCPUS = 4, REF_PINS = 24, REF_GP = -1, REF_TIME_STEP = 1000 };

/* Host TSC ticks per timer count at divide 1. */
enum { REF_TICKS_PER_COUNT = 10000 };

enum { REF_PIC_VECTOR = 0x0B };

struct ref_lapic {
    uint64_t base;
    uint32_t id, ldr, dfr, tpr, svr, esr;
    uint64_t icr;
    uint32_t lvt[7]; /* CMCI, timer, thermal, PMI, LINT0, LINT1, error */
    bool irr[256], isr[256], tmr[256];
    uint32_t errors; /* since ESR was written */
    uint32_t initial, count, divide, phase;
    uint64_t deadline;
    int64_t tsc_offset;
    bool interrupts_enabled;
    unsigned nmis;
    bool init, sipi;
    uint8_t sipi_vector;
    bool lint0;           /* the pin */
    uint8_t lint0_vector; /* of a level from it that awaits its EOI; 0: none */
    bool extint;          /* an ExtINT message */
};

struct ref_pin {
    uint8_t vector, mode, destination;
    bool logical, polarity, remote_irr, level, masked, asserted;
};

struct ref {
    uint64_t tsc;
    unsigned arbitration;
    struct ref_lapic lapic[REF_VCPUS];
    uint32_t ioapic_id, ioapic_select;
    struct ref_pin pin[REF_PINS];
    bool has_pic; /* an 8259 pair asks by ExtINT; its vector is REF_PIC_VECTOR */
};

void ref_start(struct ref *ref);

/* The guest's accesses: 32 bits in the window; MSRs 800H-8FFH, 6E0H and 1BH: 0 or REF_GP. */
uint32_t ref_mmio_read(struct ref *ref, unsigned cpu, uint32_t offset);
void ref_mmio_write(struct ref *ref, unsigned cpu, uint32_t offset, uint32_t value);
int ref_msr_read(struct ref *ref, unsigned cpu, uint32_t msr, uint64_t *value);
int ref_msr_write(struct ref *ref, unsigned cpu, uint32_t msr, uint64_t value);

/*
 * The interrupt that the CPU takes now, in service from then on; -1 for none. That of the 8259 pair goes first
 * and is not in service; its output is low then.
 */
int ref_take_interrupt(struct ref *ref, unsigned cpu);

/* What ends HLT: the vector of the local APIC that PPR lets through, or -1, whatever IF says. */
int ref_pending_interrupt(const struct ref *ref, unsigned cpu);

/* A pin: LINT0's level; and an interrupt of another local source, by its offset. */
void ref_lint0(struct ref *ref, unsigned cpu, bool level);
void ref_local_interrupt(struct ref *ref, unsigned cpu, uint32_t offset);

/*
 * The registers in the layout of struct kvm_lapic_state, REF_STATE_SIZE bytes: as they are; and set, with
 * false and no change for a state in which no local APIC can be.
 */
enum { REF_STATE_SIZE = 1024 };
void ref_get_state(const struct ref *ref, unsigned cpu, uint8_t *bytes);
bool ref_set_state(struct ref *ref, unsigned cpu, const uint8_t *bytes);

void ref_set_tsc_offset(struct ref *ref, unsigned cpu, int64_t offset);
void ref_pass_time(struct ref *ref, unsigned steps);
void ref_reset(struct ref *ref, unsigned cpu, bool init);

void ref_line(struct ref *ref, unsigned pin, bool asserted);
uint32_t ref_ioapic_read(struct ref *ref, uint32_t offset);
void ref_ioapic_write(struct ref *ref, uint32_t offset, uint32_t value);
void ref_msi(struct ref *ref, uint32_t address, uint32_t data);
