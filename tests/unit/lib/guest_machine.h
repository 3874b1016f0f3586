/* SPDX-License-Identifier: MIT */
/*
 * A model of vmx/, arch/ and apic/ as guest/ sees them. Each scenario runs in a child process, as a
 * machine runs it once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmx/vcpu.h"
#include "vmx/vm.h"

enum { MACHINE_MAX_VMS = 17 };

/* What a scenario leaves for its test to look at; shared between the two processes. */
struct outcome {
    char said[16384];
    bool powered_off;
    unsigned started, inhibited, toggled, cycled, creations;
    unsigned homes[MACHINE_MAX_VMS][VM_MAX_VCPUS];
    struct vcpu_boot_state boot_states[MACHINE_MAX_VMS];
    uint8_t first_byte, scratch_byte; /* of the kernel and of low memory, when a scenario looks */
};
extern struct outcome *outcome;

/* What a test sets, and what its scenario finds. */
struct machine_model {
    const char *options; /* of Rivet's command line */
    const char *lacks;   /* what protected VMs need and the CPU has not */
    bool vcpus_fail;     /* vcpu_create has no memory */
    struct vm *vms[MACHINE_MAX_VMS];
    uint8_t *last_ram; /* host address of guest-physical 0 of the VM mapped last */
};
extern struct machine_model machine;

/* Before and after each test: an empty outcome, a machine without options. */
void machine_prepare(void);
void machine_forget(void);

/* Let the scenario happen in a child process; the machine's end ends the child. */
void machine_run(void (*scenario)(void));

/* In the child: end it, and with it the test, when something is wrong. */
void machine_check(bool right, const char *what);
