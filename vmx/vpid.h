/* SPDX-License-Identifier: MIT */
/* Invalidation of a vCPU's cached translations (SDM volume 3, "Virtual-Processor Identifiers"). */
#pragma once

#include <stdint.h>

struct vcpu;

/*
 * Forget the vCPU's linear and combined mappings on this CPU, as a MOV to a control register does that
 * Rivet has emulated. Owner, root mode.
 */
void vpid_flush(const struct vcpu *vcpu);
/* Forget what this CPU has cached of the EPT with this pointer. Owner of its user, root mode. */
void ept_flush(uint64_t eptp);
