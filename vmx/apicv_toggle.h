/* SPDX-License-Identifier: MIT */
/*
 * APICv switched off and on again while guests run (option apicv=toggle): no guest can tell, and the
 * tests compare what guests print under it with what they print on a bare machine.
 */
#pragma once

#include <stdint.h>

struct vm;

/* Have the VM's APICv switched every 300 us from now on. Boot CPU, before the VM runs. */
void apicv_toggle_start(struct vm *vm);

/* TSC at which some vCPU of the VM must be in root mode to switch; UINT64_MAX: never. Any CPU. */
uint64_t apicv_toggle_deadline(const struct vm *vm);

/* Switch when it is time, by one vCPU for all of them. A CPU in root mode, no lock held. */
void apicv_toggle_poll(struct vm *vm);
