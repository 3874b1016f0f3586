/* SPDX-License-Identifier: MIT */
/* Fuzzes the I/O APIC, its level interrupts and their EOIs against the slow reference. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c tests/unit/lib/apic_guest.c */
/* links: tests/unit/lib/apic_differential.c tests/unit/lib/apic_reference.c */
/* links: tests/unit/lib/apic_differential_state.c */
/* links: tests/unit/lib/apic_reference_bus.c tests/unit/lib/apic_reference_local.c */
#include "tests/unit/lib/apic_differential.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1) {
        differential_run(data[0] % WORLD_COUNT, OPERATIONS_IOAPIC | OPERATIONS_REGISTERS, data + 1,
                         size - 1);
    }
    return 0;
}
