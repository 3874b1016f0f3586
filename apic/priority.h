/* SPDX-License-Identifier: MIT */
/* Pending interrupts and priorities (SDM volume 3, "Task and Processor Priorities"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lapic;

/* PPR as TPR and vISR in the page give it now. Any CPU (of another's vCPU: a snapshot). */
uint8_t priority_ppr(const struct lapic *lapic);

/* The functions below: owner, root mode. */

/* Store PPR in the page and return it. */
uint8_t priority_update_ppr(struct lapic *lapic);

/* Move PIR into vIRR if ON is set; remembers that RVI must follow. */
void priority_pull_posted(struct lapic *lapic);

/* The vector in vIRR that PPR lets through, or -1. */
int priority_deliverable(const struct lapic *lapic);
