/* SPDX-License-Identifier: MIT */
/*
 * Guest memory for apic/'s paravirtual areas (apic/port.h). They are written, so memory that the guest
 * may only read is refused.
 */
#include "apic/port.h"
#include "lib/error.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

void *apic_port_guest_memory(struct lapic *lapic, uint64_t address, uint64_t size)
{
    struct vm *vm = CONTAINER_OF(lapic, struct vcpu, lapic)->vm;
    uint64_t host, left;
    unsigned rights;
    bool writable = ept_lookup(&vm->ept, address, &host, &rights, &left) == RIVET_OK &&
                    (rights & EPT_WRITE) != 0;
    return writable ? vm_memory(vm, address, size) : NULL;
}
