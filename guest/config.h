/* SPDX-License-Identifier: MIT */
/*
 * The modules' command lines as a list of VMs (docs/guests.md):
 *
 *   kernel vm=NAME [vcpus=N] [mem=SIZE] [cpus=LIST] [testdev] [pic] [nox2apic]
 *       [protected] [noinitrd] [-- GUEST COMMAND LINE]
 *   initrd vm=NAME
 *   module vm=NAME [-- MODULE COMMAND LINE]
 *
 * Pure logic, but for the log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/boot_info.h"
#include "arch/cpu.h"
#include "vmx/vm.h"

enum { CONFIG_MAX_VMS = 16, CONFIG_MAX_EXTRAS = 8 };

/* What one VM shall be. Module numbers index boot_info.modules; -1: none. */
struct vm_config {
    char name[VM_NAME_SIZE];
    bool failed; /* a mistake was reported: do not start */
    int kernel;
    int initrd;
    unsigned extra_count; /* multiboot modules */
    int extras[CONFIG_MAX_EXTRAS];
    unsigned vcpus;
    uint64_t memory;    /* bytes, a multiple of 4096 */
    unsigned cpu_count; /* CPUs to run on, in the order given; 0: any */
    uint8_t cpus[MAX_CPUS];
    bool testdev;
    bool pic;       /* an 8259 pair and an 8254; testdev has them too, unless protected */
    bool nox2apic;  /* no x2APIC mode, and no word of it in CPUID */
    bool protected; /* Rivet does not touch the virtual-APIC pages */
    bool noinitrd;
};

struct config {
    unsigned vm_count;
    struct vm_config vms[CONFIG_MAX_VMS];
    unsigned strays; /* modules with a mistake that belong to no VM of the list */
};

/*
 * Read all command lines; cpu_count is how many CPUs the machine has. Each mistake is one line of
 * the log and marks its VM as failed, or counts as a stray. Boot CPU.
 */
void config_read(const struct boot_info *info, unsigned cpu_count, struct config *config);

/* Report a mistake: "error: module N (its words): ...". Module numbers in the text count from 1. */
void config_mistake(const struct boot_info *info, int module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What follows "--" in a module's command line; "" when nothing does. */
const char *config_arguments(const struct boot_module *module);
