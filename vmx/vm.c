/* SPDX-License-Identifier: MIT */
/* Virtual machines: memory, device regions, end and reset. */
#include "vmx/vm.h"

#include <stdarg.h>
#include <stddef.h>

#include "apic/port.h"
#include "arch/memory.h"
#include "arch/tsc.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/print.h"
#include "lib/string.h"
#include "vmx/apic_port.h"
#include "vmx/capabilities.h"
#include "vmx/schedule.h"
#include "vmx/state_cycle.h"
#include "vmx/vcpu.h"

enum { IO_BITMAP_SIZE = 0x2000, GPA_BITS = 48 };

/* One page for all VMs: accesses to it never reach memory, only its address counts. */
static void *apic_access_page;

void *vm_apic_access_page(void)
{
    return apic_access_page;
}

static int init_memory(struct vm *vm)
{
    uint64_t caps = vmx_capabilities()->ept_vpid;
    struct ept_features features = {
        .page_2m = (caps & EPT_CAP_2M) != 0,
        .page_1g = (caps & EPT_CAP_1G) != 0,
        .accessed_dirty = (caps & EPT_CAP_ACCESSED_DIRTY) != 0,
    };
    if (apic_access_page == NULL) {
        apic_access_page = memory_alloc_page();
    }
    vm->io_bitmap = memory_alloc(IO_BITMAP_SIZE, PAGE_SIZE);
    if (vm->io_bitmap == NULL || apic_access_page == NULL) {
        return ERR_NO_MEMORY;
    }
    memset(vm->io_bitmap, 0xFF, IO_BITMAP_SIZE);
    return ept_init(&vm->ept, &features);
}

struct vm *vm_create(const char *name)
{
    static unsigned next_id;
    struct vm *vm = memory_alloc(sizeof(*vm), PAGE_SIZE);
    if (vm == NULL || init_memory(vm) != RIVET_OK) {
        return NULL;
    }
    lib_snprintf(vm->name, sizeof(vm->name), "%s", name);
    vm->id = next_id++;
    atomic_store(&vm->apicv_toggle_at, UINT64_MAX);
    atomic_store(&vm->state_cycle_at, UINT64_MAX);
    struct apic_features features = vmx_apic_features();
    apic_vm_init(&vm->apic, &features);
    atomic_store(&vm->device_deadline, UINT64_MAX);
    return vm;
}

int vm_map(struct vm *vm, uint64_t gpa, uint64_t hpa, uint64_t size, unsigned rights)
{
    return ept_map(&vm->ept, gpa, hpa, size, rights);
}

void *vm_memory(struct vm *vm, uint64_t gpa, uint64_t size)
{
    uint64_t first, hpa, left;
    unsigned rights;
    if (ept_lookup(&vm->ept, gpa, &first, &rights, &left) != RIVET_OK) {
        return NULL;
    }
    uint64_t done = left;
    while (done < size) {
        if (ept_lookup(&vm->ept, gpa + done, &hpa, &rights, &left) != RIVET_OK ||
            hpa != first + done) {
            return NULL;
        }
        done += left;
    }
    return (void *)(uintptr_t)first;
}

static int add_region(struct io_region *regions, unsigned *count, unsigned limit,
                      const struct io_region *region)
{
    for (unsigned i = 0; i < *count; i++) {
        if (region->base < regions[i].base + regions[i].size &&
            regions[i].base < region->base + region->size) {
            return ERR_EXISTS;
        }
    }
    if (*count == limit) {
        return ERR_NO_MEMORY;
    }
    regions[(*count)++] = *region;
    return RIVET_OK;
}

int vm_add_io(struct vm *vm, uint16_t port, unsigned count, const struct io_ops *ops, void *device)
{
    struct io_region region = { port, count, ops, device };
    return add_region(vm->io, &vm->io_count, VM_MAX_IO, &region);
}

int vm_add_mmio(struct vm *vm, uint64_t gpa, uint64_t size, const struct io_ops *ops, void *device)
{
    struct io_region region = { gpa, size, ops, device };
    return add_region(vm->mmio, &vm->mmio_count, VM_MAX_MMIO, &region);
}

/* Make every vCPU look at vm->stopping. */
static void stop_vcpus(struct vm *vm, enum vm_stopping why)
{
    atomic_fetch_or(&vm->stopping, why);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        apic_port_kick(&vm->vcpus[i]->lapic);
    }
}

void vm_stop(struct vm *vm, enum vm_end end, uint32_t code)
{
    if (atomic_exchange(&vm->ending, true)) {
        return;
    }
    vm->end_code = code;
    atomic_store(&vm->end, end);
    stop_vcpus(vm, VM_STOPPING_END);
}

void vm_kill(struct vm *vm, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    lib_vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_warn("VM %s is ended: %s", vm->name, text);
    vm_stop(vm, VM_KILLED, 0);
}

void vm_request_reset(struct vm *vm)
{
    stop_vcpus(vm, VM_STOPPING_RESET);
}

void vm_request_state_cycle(struct vm *vm)
{
    stop_vcpus(vm, VM_STOPPING_STATE_CYCLE);
}

/* The guest's TSC counts from 0 now, on all vCPUs alike. */
static void start_tsc(struct vm *vm)
{
    int64_t offset = -(int64_t)rdtsc();
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        lapic_set_tsc_offset(&vm->vcpus[i]->lapic, offset);
    }
}

static void reset(struct vm *vm)
{
    vm->on_reset(vm);
    start_tsc(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        vcpu_reset(vm->vcpus[i]);
    }
}

static void cycle_state(struct vm *vm)
{
    vm->on_hold(vm, true);
    state_cycle_run(vm);
    vm->on_hold(vm, false);
}

static void release(struct vm *vm)
{
    atomic_store(&vm->parked, 0);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        atomic_store(&vm->vcpus[i]->parked, false);
        apic_port_kick(&vm->vcpus[i]->lapic);
    }
}

/*
 * When all vCPUs are parked, this CPU owns all of them until it releases them. A vm_stop that comes
 * meanwhile finds them on their way and parks them again.
 */
void vm_vcpu_parked(struct vm *vm)
{
    if (atomic_fetch_add(&vm->parked, 1) + 1 != vm->vcpu_count) {
        return;
    }
    uint32_t why = atomic_load(&vm->stopping);
    if (why & VM_STOPPING_END) {
        vm->on_end(vm);
        return;
    }
    atomic_fetch_and(&vm->stopping, ~why);
    if (why & VM_STOPPING_STATE_CYCLE) {
        cycle_state(vm);
    }
    if (why & VM_STOPPING_RESET) {
        reset(vm);
    }
    release(vm);
}

void vm_start(struct vm *vm)
{
    if (ept_view_with_page(&vm->ept_xapic, &vm->ept, APIC_ACCESS_GPA, (uintptr_t)apic_access_page,
                           EPT_READ | EPT_WRITE) != RIVET_OK) {
        fatal("VM %s: no memory for the APIC-access page's tables", vm->name);
    }
    start_tsc(vm);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        schedule_add(vm->vcpus[i]);
    }
}
