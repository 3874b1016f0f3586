/* SPDX-License-Identifier: MIT */
/* Guest-physical memory as a guest's access sees it: RAM, read-only memory, devices, holes. */
#pragma once

#include <stdint.h>

struct guest_span;
struct vcpu;

/*
 * Read or write size (1 to 8) bytes at gpa, which do not cross a page; devices see accesses of 1, 2, 4 or
 * 8 bytes. Owner, root mode.
 */
uint64_t mmio_read(struct vcpu *vcpu, uint64_t gpa, unsigned size);
void mmio_write(struct vcpu *vcpu, uint64_t gpa, unsigned size, uint64_t value);

/* The same for the one or two parts of a guest-linear access (vmx/guest_memory.h), 8 bytes in all. */
uint64_t mmio_read_span(struct vcpu *vcpu, const struct guest_span *span);
void mmio_write_span(struct vcpu *vcpu, const struct guest_span *span, uint64_t value);
