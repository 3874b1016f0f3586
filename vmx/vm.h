/* SPDX-License-Identifier: MIT */
/* A virtual machine as vmx/ sees it: memory, port and MMIO regions, vCPUs, interrupt fabric. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apic/vm.h"
#include "lib/spinlock.h"
#include "vmx/ept.h"

enum {
    VM_NAME_SIZE = 16,
    VM_MAX_VCPUS = 16,
    VM_MAX_IO = 32,
    VM_MAX_MMIO = 8,
    VM_UNKNOWN_MSRS = 64
};

struct pic;
struct vcpu;
struct vm;

/*
 * Device access handlers, called by the exiting vCPU's CPU in root mode, VMCS current. size 1, 2 or 4
 * (MMIO also 8). offset counts from the region's start. They take their own locks: several vCPUs can
 * call at once.
 */
struct io_ops {
    uint64_t (*read)(void *device, uint64_t offset, unsigned size);
    void (*write)(void *device, uint64_t offset, unsigned size, uint64_t value);
};

struct io_region {
    uint64_t base; /* port or guest-physical address */
    uint64_t size; /* ports or bytes */
    const struct io_ops *ops;
    void *device;
};

/* How a VM ended; also of one that a guest fault killed. */
enum vm_end {
    VM_RUNNING = 0,
    VM_POWERED_OFF, /* S5 or the power-off port */
    VM_DEBUG_EXIT,  /* debug-exit port: end_code holds what was written */
    VM_KILLED, /* a fault that Rivet could not reflect (triple fault without reset, bad VM entry, ...) */
};

/* What the log has said about a VM and need not say again. */
struct vm_said {
    _Atomic bool hole; /* an access to physical addresses that nothing claims */
    struct spinlock lock;
    unsigned unknown_msr_count;
    uint32_t unknown_msrs[VM_UNKNOWN_MSRS];
};

/* Why all vCPUs of a VM must leave guest mode. */
enum vm_stopping { VM_STOPPING_END = 1, VM_STOPPING_RESET = 2, VM_STOPPING_STATE_CYCLE = 4 };

struct vm {
    char name[VM_NAME_SIZE];
    unsigned id;
    struct ept ept;
    struct apic_vm apic;
    unsigned vcpu_count;
    struct vcpu *vcpus[VM_MAX_VCPUS];
    uint8_t *io_bitmap; /* A and B, 8 KiB; all ones: every port exits */
    unsigned io_count, mmio_count;
    struct io_region io[VM_MAX_IO];
    struct io_region mmio[VM_MAX_MMIO];
    _Atomic int end; /* enum vm_end */
    uint32_t end_code;
    /* Called on the CPU whose vCPU stopped last; set by guest/. */
    void (*on_end)(struct vm *vm);
    /* The same, all vCPUs being stopped in root mode: reload memory, set the boot state. */
    void (*on_reset)(struct vm *vm);
    /* The same: hold back what comes from outside (the console) to its devices, or let it in again. */
    void (*on_hold)(struct vm *vm, bool hold);
    /* The VM's 8259 pair, guest/pic.h; NULL: it has none. The INTA cycle: apic/port.h. */
    struct pic *pic;
    int (*acknowledge_extint)(struct vm *vm);
    /*
     * Host TSC at which a device wants on_device_deadline to be called, UINT64_MAX: none does. Any
     * CPU sets it, and kicks vCPU 0 when it comes nearer. Called on vCPU 0's home CPU.
     */
    _Atomic uint64_t device_deadline;
    void (*on_device_deadline)(struct vm *vm, uint64_t now);
    bool reset_on_triple_fault; /* else a triple fault ends the VM: VM_KILLED */
    void *guest;                /* guest/'s own data */
    struct vm_said said;

    _Atomic uint64_t apicv_toggle_at; /* apicv_toggle.c: TSC of the next switch, UINT64_MAX: none */
    _Atomic uint64_t apicv_switches;  /* how many there were */

    _Atomic uint64_t state_cycle_at;  /* state_cycle.c: TSC of the next one, UINT64_MAX: none */
    _Atomic uint64_t state_cycle_due; /* when the last one was asked for */
    uint64_t state_cycles;            /* how many there were */
    struct saved_lapic *saved_lapics; /* one for each vCPU */

    struct ept ept_xapic;      /* ept with the APIC-access page at FEE00000H */
    _Atomic bool ending;       /* claimed by the first vm_stop */
    _Atomic uint32_t stopping; /* enum vm_stopping: why vCPUs must park */
    _Atomic unsigned parked;   /* vCPUs that have */
};

/* Allocate and prepare a VM without memory and vCPUs. NULL when out of memory. Boot CPU before VMs run. */
struct vm *vm_create(const char *name);

/* Map host memory at a guest-physical range (all 4 KiB aligned), write-back, read/write/execute by flags
 * of vmx/ept.h. Boot CPU before the VM runs. ERR_NO_MEMORY, ERR_EXISTS (already mapped). */
int vm_map(struct vm *vm, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights);

/* Host pointer to size bytes of guest RAM at gpa, contiguous on the host; NULL if any byte is not RAM. */
void *vm_memory(struct vm *vm, uint64_t gpa, uint64_t size);

/* Register a device's ports / MMIO window. ERR_EXISTS when it overlaps another, ERR_NO_MEMORY table full.
 * Unclaimed ports read all ones and ignore writes. */
int vm_add_io(struct vm *vm, uint16_t port, unsigned count, const struct io_ops *ops, void *device);
int vm_add_mmio(struct vm *vm, uint64_t gpa, uint64_t size, const struct io_ops *ops, void *device);

/*
 * End the VM; all its vCPUs leave guest mode and never run again, then on_end is called once, on the
 * CPU whose vCPU left last. The first call decides end and code. Any CPU, after vm_start.
 */
void vm_stop(struct vm *vm, enum vm_end end, uint32_t code);

/*
 * Stop all vCPUs, call on_reset on the CPU whose vCPU stopped last, start again at the boot state that
 * on_reset set. Any CPU, after vm_start.
 */
void vm_request_reset(struct vm *vm);

/*
 * Stop all vCPUs, save and restore their local APICs (state_cycle.h), let them run on. Any CPU, after
 * vm_start.
 */
void vm_request_state_cycle(struct vm *vm);

/* End the VM as VM_KILLED with a log line that says why. printf format. Any CPU, after vm_start. */
void vm_kill(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * For run.c: a vCPU of the VM has left guest mode and its state is saved. The last one ends or
 * resets the VM. Home CPU of that vCPU.
 */
void vm_vcpu_parked(struct vm *vm);

/* The host page whose address in the EPT makes accesses APIC accesses; the same for all VMs. */
void *vm_apic_access_page(void);
