/* SPDX-License-Identifier: MIT */
/* Which vCPU a CPU runs: round robin over those at home there, with a time slice. */
#pragma once

#include <stdint.h>

struct vcpu;

/* Hand a vCPU to its home CPU. Boot CPU. */
void schedule_add(struct vcpu *vcpu);

/* A vCPU has become runnable: have its home CPU look. Any CPU. */
void schedule_notice(struct vcpu *vcpu);

/* TSC at which this CPU must leave guest mode for the sake of others; UINT64_MAX: never. */
uint64_t schedule_deadline(void);

/* That time may have come: end the slice, fire timers of vCPUs that are not running. Root mode. */
void schedule_deadline_check(void);

/* The vCPU chosen here last leaves without having run: its turn does not count. Root mode. */
void schedule_give_turn_back(void);

/* The vCPU running here wants to let others run (PAUSE). Root mode. */
void schedule_yield(void);
