/* SPDX-License-Identifier: MIT */
/* Errors that a local APIC detects (SDM volume 3, "Error Handling"). */
#pragma once

#include <stdint.h>

struct lapic;

/*
 * Collect an error (one bit of ESR) for the next write of ESR. When the bit was clear, the owner
 * raises the LVT error interrupt before the next entry. Any CPU, no lock needed.
 */
void error_report(struct lapic *lapic, uint32_t esr_bit);

/* Raise the LVT error interrupt. Owner, root mode. */
void error_raise(struct lapic *lapic);
