/* SPDX-License-Identifier: MIT */
/* Host memory for a VM's RAM. */
#pragma once

#include "guest/complaint.h"
#include "guest/ram.h"
#include "vmx/vm.h"

/*
 * Allocate host memory for the ram that ram_plan laid out, in as few and as well aligned pieces as
 * there are, and map it for the guest. On failure nothing stays allocated and a sentence is in
 * complaint. Boot CPU, before the VM runs.
 */
int backing_allocate(struct ram *ram, struct vm *vm, struct complaint *complaint);

/* Give the memory back. The VM never ran. Boot CPU. */
void backing_free(struct ram *ram);
