/* SPDX-License-Identifier: MIT */
/* Guest accesses to the local APIC as the CPU carries them out. */
#include "tests/unit/lib/apic_guest.h"

#include <string.h>

#include "lib/error.h"
#include "tests/unit/lib/apic_port_model.h"

static bool active(unsigned index)
{
    return lapic_apicv_active(&model.vcpu[index].lapic);
}

static bool register_virt(unsigned index)
{
    return active(index) && model.vm.features.register_virt;
}

static void store(unsigned index, uint32_t offset, uint32_t value)
{
    memcpy(&model.vcpu[index].page[offset], &value, sizeof(value));
}

/* Lists of "Virtualizing Reads from the APIC-Access Page" and "... Writes to ...". */
static bool is_virtual_write(uint32_t offset)
{
    return offset == 0x20 || offset == 0x80 || offset == 0xB0 || offset == 0xD0 || offset == 0xE0 ||
           offset == 0xF0 || offset == 0x280 || offset == 0x300 || offset == 0x310 ||
           (offset >= 0x320 && offset <= 0x380) || offset == 0x3E0;
}

static bool is_virtual_read(uint32_t offset)
{
    return is_virtual_write(offset) || offset == 0x30 || (offset >= 0x100 && offset < 0x280);
}

uint32_t guest_mmio_read(unsigned index, uint32_t offset)
{
    if (register_virt(index) && is_virtual_read(offset)) {
        return model_read(index, offset);
    }
    return (uint32_t)lapic_mmio_read(&model.vcpu[index].lapic, offset, 4);
}

/* "APIC-Write Emulation", offset 300H: what makes it a self-IPI. */
static bool is_virtual_self_ipi(uint32_t icr)
{
    return (icr & 0xFFF3B700) == 0 && (icr >> 18 & 3) == 1 && (icr & 0xF0) != 0;
}

static void hardware_write(unsigned index, uint32_t offset, uint32_t value)
{
    struct lapic *lapic = &model.vcpu[index].lapic;
    switch (offset) {
    case APIC_TPR:
        model_write_tpr(index, (uint8_t)value);
        return;
    case APIC_EOI:
        store(index, offset, 0);
        model_eoi(index);
        return;
    case APIC_ICR2:
        store(index, offset, value & 0xFF000000);
        return;
    case APIC_ICR:
        store(index, offset, value);
        if (is_virtual_self_ipi(value)) {
            model_self_ipi(index, (uint8_t)value);
            return;
        }
        break;
    default:
        store(index, offset, value);
        break;
    }
    lapic_apic_write(lapic, offset);
}

void guest_mmio_write(unsigned index, uint32_t offset, uint32_t value)
{
    if (register_virt(index) && is_virtual_write(offset)) {
        hardware_write(index, offset, value);
    } else if (offset == APIC_TPR && model.vm.features.tpr_shadow) {
        model_write_tpr(index, (uint8_t)value);
    } else {
        lapic_mmio_write(&model.vcpu[index].lapic, offset, 4, value);
    }
}

static bool x2apic(unsigned index)
{
    return lapic_mode(&model.vcpu[index].lapic) == LAPIC_X2APIC;
}

static bool direct(unsigned index)
{
    return x2apic(index) && model.vm.features.x2apic_mode && model.vm.features.tpr_shadow;
}

static bool is_direct(uint64_t direct_msrs, uint32_t msr)
{
    return msr - 0x800 < 64 && (direct_msrs >> (msr - 0x800) & 1) != 0;
}

int guest_read_msr(unsigned index, uint32_t msr, uint64_t *value)
{
    if (direct(index) && is_direct(lapic_direct_reads(&model.vcpu[index].lapic), msr)) {
        memcpy(value, &model.vcpu[index].page[(msr - 0x800) * 16], sizeof(*value));
        return RIVET_OK;
    }
    return lapic_read_msr(&model.vcpu[index].lapic, msr, value);
}

int guest_write_msr(unsigned index, uint32_t msr, uint64_t value)
{
    if (!direct(index) || !is_direct(lapic_direct_writes(&model.vcpu[index].lapic), msr)) {
        return lapic_write_msr(&model.vcpu[index].lapic, msr, value);
    }
    if (value >> 8 != 0 || (msr == 0x80B && value != 0)) {
        return ERR_GP;
    }
    if (msr == 0x808) {
        model_write_tpr(index, (uint8_t)value);
    } else if (msr == 0x80B) {
        model_eoi(index);
    } else {
        store(index, APIC_SELF_IPI, (uint32_t)value);
        if (value >= 16) {
            model_self_ipi(index, (uint8_t)value);
        } else {
            lapic_apic_write(&model.vcpu[index].lapic, APIC_SELF_IPI);
        }
    }
    return RIVET_OK;
}
