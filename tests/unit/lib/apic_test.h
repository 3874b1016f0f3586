/* SPDX-License-Identifier: MIT */
/*
 * What every unit test of apic/ includes: cmocka, the model of the port, short words for accesses.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/error.h"
#include "tests/unit/lib/apic_port_model.h"

static inline struct lapic *lapic_of(unsigned index)
{
    return &model.vcpu[index].lapic;
}

/* xAPIC window, 32 bits. */
static inline uint32_t mmio_get(unsigned index, uint32_t offset)
{
    return (uint32_t)lapic_mmio_read(lapic_of(index), offset, 4);
}

static inline void mmio_set(unsigned index, uint32_t offset, uint32_t value)
{
    lapic_mmio_write(lapic_of(index), offset, 4, value);
}

/* x2APIC MSRs by register offset. */
static inline uint32_t msr_of(uint32_t offset)
{
    return 0x800 + offset / 16;
}

static inline int msr_set(unsigned index, uint32_t offset, uint64_t value)
{
    return lapic_write_msr(lapic_of(index), msr_of(offset), value);
}

static inline uint64_t msr_get(unsigned index, uint32_t offset)
{
    uint64_t value = 0xDEADDEADDEADDEAD;
    assert_int_equal(lapic_read_msr(lapic_of(index), msr_of(offset), &value), RIVET_OK);
    return value;
}

/* A register write in whichever mode the local APIC is. */
static inline void reg_set(unsigned index, uint32_t offset, uint32_t value)
{
    if (lapic_mode(lapic_of(index)) == LAPIC_X2APIC) {
        assert_int_equal(msr_set(index, offset, value), RIVET_OK);
    } else {
        mmio_set(index, offset, value);
    }
}

/* A fixed, edge-triggered message to one vCPU. */
static inline bool post(unsigned index, uint8_t vector)
{
    struct apic_message message = { .vector = vector };
    return lapic_accept(lapic_of(index), &message);
}

static inline uint32_t read_esr(unsigned index)
{
    reg_set(index, APIC_ESR, 0);
    return model_read(index, APIC_ESR);
}

/* Without virtual-interrupt delivery: everything in software. */
static inline struct apic_features software_features(void)
{
    struct apic_features features = model_all_features;
    features.interrupt_delivery = features.posted_interrupts = features.register_virt = false;
    return features;
}

static inline void start_software(unsigned vcpus)
{
    struct apic_features features = software_features();
    model_start(&features, vcpus);
    model_enable_all();
}

static inline void start_apicv(unsigned vcpus)
{
    model_start(&model_all_features, vcpus);
    model_enable_all();
    for (unsigned i = 0; i < vcpus; i++) {
        model_enter(i);
    }
}
