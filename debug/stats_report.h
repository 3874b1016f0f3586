/* SPDX-License-Identifier: MIT */
/* The table of VM exits at the end of a run. */
#pragma once

#include "vmx/vm.h"

/*
 * Log, for each vCPU of the VM, its exits by reason with the SDM's names, most frequent first, and
 * how its interrupts were delivered. Any CPU; exact only when the VM has ended.
 */
void stats_report(const struct vm *vm);
