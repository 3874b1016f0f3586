/* SPDX-License-Identifier: MIT */
/*
 * Local APICs saved, wiped and restored while guests run, as live migration would (option
 * state=cycle): no guest can tell, and the tests compare what guests print under it with what they print
 * on a bare machine.
 */
#pragma once

#include <stdint.h>

struct vm;

/*
 * Have that done to the VM every STATE_CYCLE_US, or as often as leaves it time to run, from now on. A VM
 * whose local APICs are protected is left out, with a log line: they can be neither saved nor restored.
 * Boot CPU, before the VM runs, its vCPUs created.
 */
enum { STATE_CYCLE_US = 500 };
void state_cycle_start(struct vm *vm);

/* TSC of the next time; UINT64_MAX: never. Any CPU. */
uint64_t state_cycle_deadline(const struct vm *vm);

/* Stop the VM's vCPUs for it when it is time. A CPU in root mode, no lock held. */
void state_cycle_poll(struct vm *vm, uint64_t now);

/*
 * Do it: save all, wipe all, restore all, in an order that changes each time. All vCPUs are parked, so
 * that the caller owns them. A local APIC that refuses its own state is the VM's end.
 */
void state_cycle_run(struct vm *vm);
