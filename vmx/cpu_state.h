/* SPDX-License-Identifier: MIT */
/* What vmx/ keeps for each CPU; struct cpu points at it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CPU_MAX_VCPUS = 64 };

struct vcpu;

struct vmx_cpu {
    struct vcpu *current; /* its VMCS is current and its registers are loaded here; NULL at first */

    /*
     * The vCPUs whose home this is. They are only ever added, by vm_start, which publishes each one by
     * count; whether one can run is its own mode and activity.
     */
    struct vcpu *vcpus[CPU_MAX_VCPUS];
    _Atomic unsigned count;

    /* Owned by this CPU. */
    unsigned last;            /* index of the vCPU that ran last */
    unsigned last_before;     /* what last was when that one was chosen */
    uint64_t slice_end;       /* TSC at which it must make room; UINT64_MAX when nobody waits */
    bool reschedule;          /* another vCPU became runnable, or the slice is over */
    uint64_t others_deadline; /* earliest timer of this CPU's vCPUs that are not running */
    uint64_t stopped_clock;   /* what apic_port_tsc says while it is stopped; 0: it runs */
};
