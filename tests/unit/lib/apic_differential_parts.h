/* SPDX-License-Identifier: MIT */
/* What the files of the comparison with the slow reference share with each other. */
#pragma once

#include <stdint.h>

#include "tests/unit/lib/apic_reference.h"

extern struct ref ref;

/* The stream; 0 when it has ended. next_value: mostly few bits, which are more often legal. */
uint8_t next8(void);
uint32_t next32(void);
uint32_t next_value(void);

/* Aborts with a message unless the two are equal. */
void same(uint64_t actual, uint64_t expected, const char *what, uint32_t detail);

/* An operation on saved states. */
void differential_state(unsigned cpu, uint8_t which);
