/* SPDX-License-Identifier: MIT */
/* Guest memory for apic/'s paravirtual areas (apic/port.h). */
#include "apic/port.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

void *apic_port_guest_memory(struct lapic *lapic, uint64_t address, uint64_t size)
{
    return vm_memory(CONTAINER_OF(lapic, struct vcpu, lapic)->vm, address, size);
}
