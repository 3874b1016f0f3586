/* SPDX-License-Identifier: MIT */
/* A record of the interrupts that arrived: how many at each vector and CPU, and in which order. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/guests/lib/interrupts.h"

/* From now on record what arrives at this vector, with EOI. Any CPU; NMI: vector 2, without EOI. */
void arrivals_record(uint8_t vector);

/* The same, but the handler sends no EOI: the vector stays in service. */
void arrivals_record_in_service(uint8_t vector);

/* For handlers of the guest's own: note one arrival on this CPU. */
void arrivals_note(uint8_t vector);

/* Forget what arrived, on all CPUs. Nothing may arrive meanwhile. */
void arrivals_clear(void);

/* How many arrived at a vector: on one CPU, on all. */
unsigned arrivals_on(unsigned cpu, uint8_t vector);
unsigned arrivals(uint8_t vector);

/* How many arrived at all vectors on all CPUs. */
unsigned arrivals_total(void);

/* Whether exactly these count vectors arrived, in this order, on whatever CPUs. */
bool arrivals_were(const uint8_t *vectors, unsigned count);
#define ARRIVALS_WERE(...) \
    arrivals_were((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* Wait until count have arrived at the vector, at most some millions of TSC ticks. */
bool arrivals_wait(uint8_t vector, unsigned count);
