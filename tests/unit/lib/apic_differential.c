/* SPDX-License-Identifier: MIT */
/* apic/ and the slow reference side by side. */
#include "tests/unit/lib/apic_differential.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apic/paravirt.h"
#include "lib/error.h"
#include "tests/unit/lib/apic_differential_parts.h"
#include "tests/unit/lib/apic_guest.h"
#include "tests/unit/lib/apic_port_model.h"
#include "tests/unit/lib/apic_reference.h"

struct ref ref;

static struct {
    const uint8_t *data;
    size_t size;
} input;

uint8_t next8(void)
{
    if (input.size == 0) {
        return 0;
    }
    input.size--;
    return *input.data++;
}

uint32_t next32(void)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        value = value << 8 | next8();
    }
    return value;
}

/* Mostly values with few bits, which are more often legal. */
uint32_t next_value(void)
{
    uint8_t form = next8();
    switch (form & 3) {
    case 0:
        return next8();
    case 1:
        return (uint32_t)next8() | (uint32_t)next8() << (form >> 3);
    case 2:
        return (uint32_t)next8() << 24 | (form >> 2);
    default:
        return next32();
    }
}

void same(uint64_t actual, uint64_t expected, const char *what, uint32_t detail)
{
    if (actual != expected) {
        fprintf(stderr, "differs: %s (%x): apic %llx, reference %llx\n", what, detail,
                (unsigned long long)actual, (unsigned long long)expected);
        abort();
    }
}

/* --- Interrupts ------------------------------------------------------------------------------- */

/* One entry, or one step of hardware in guest mode: the vector that the guest receives. */
static int step(unsigned cpu)
{
    struct model_vcpu *vcpu = &model.vcpu[cpu];
    bool hardware = vcpu->in_guest && lapic_apicv_active(&vcpu->lapic);
    int vector = hardware ? model_evaluate(cpu) : model_enter(cpu);
    while (vector < 0 && !vcpu->in_guest) { /* a kick came before its first instruction */
        vector = model_enter(cpu);
    }
    return vector;
}

static bool deliver_round(void)
{
    bool progress = false;
    for (unsigned cpu = 0; cpu < REF_VCPUS; cpu++) {
        bool entered = !model.vcpu[cpu].in_guest;
        int vector = step(cpu);
        same((uint64_t)vector, (uint64_t)ref_take_interrupt(&ref, cpu), "interrupt", cpu);
        progress |= vector >= 0 || entered;
    }
    return progress;
}

/* Until nothing more is delivered anywhere and every vCPU is in guest mode. */
static void settle(void)
{
    while (deliver_round()) {
    }
    for (unsigned cpu = 0; cpu < REF_VCPUS; cpu++) {
        same(model.vcpu[cpu].nmis, ref.lapic[cpu].nmis, "NMIs", cpu);
    }
}

/* --- Operations ------------------------------------------------------------------------------- */

static bool timer_runs(unsigned cpu)
{
    return ref.lapic[cpu].count != 0;
}

/* What a divisor does to a running count is the unit tests' business. */
static bool skips(unsigned cpu, uint32_t offset)
{
    return offset == APIC_DIVIDE && timer_runs(cpu);
}

static void mmio(unsigned cpu, uint32_t offset)
{
    bool write = (next8() & 1) != 0;
    if (!write) {
        same(guest_mmio_read(cpu, offset), ref_mmio_read(&ref, cpu, offset), "window", offset);
        return;
    }
    uint32_t value = next_value();
    if (!skips(cpu, offset)) {
        guest_mmio_write(cpu, offset, value);
        ref_mmio_write(&ref, cpu, offset, value);
    }
}

static void write_msr(unsigned cpu, uint32_t msr, uint64_t value)
{
    int result = msr == MSR_APIC_BASE ? lapic_write_base(&model.vcpu[cpu].lapic, value)
                                      : guest_write_msr(cpu, msr, value);
    int expected = ref_msr_write(&ref, cpu, msr, value);
    same(result == RIVET_OK, expected == 0, "WRMSR", msr);
}

static void read_msr(unsigned cpu, uint32_t msr)
{
    uint64_t value = 0, expected = 0;
    int result = RIVET_OK;
    if (msr == MSR_APIC_BASE) {
        value = lapic_read_base(&model.vcpu[cpu].lapic);
    } else {
        result = guest_read_msr(cpu, msr, &value);
    }
    int expected_result = ref_msr_read(&ref, cpu, msr, &expected);
    same(result == RIVET_OK, expected_result == 0, "RDMSR", msr);
    same(value, expected, "MSR", msr);
}

static void msr(unsigned cpu, uint32_t offset)
{
    uint8_t form = next8();
    uint32_t number = 0x800 + offset / 16;
    if ((form & 1) == 0) {
        read_msr(cpu, number);
        return;
    }
    uint64_t value = next_value();
    value |= (form & 2) != 0 ? (uint64_t)next_value() << 32 : 0;
    if (!skips(cpu, offset)) {
        write_msr(cpu, number, value);
    }
}

static void access_register(unsigned cpu)
{
    uint32_t offset = (next8() & 0x3F) * 16U;
    if (lapic_mode(&model.vcpu[cpu].lapic) == LAPIC_XAPIC) {
        mmio(cpu, offset);
    } else {
        msr(cpu, offset);
    }
}

static void change_base(unsigned cpu)
{
    static const uint64_t bases[] = { 0xFEE00800, 0xFEE00C00, 0xFEE00000, 0xFEE00400, 0xFED00800 };
    uint8_t pick = next8();
    uint64_t base = bases[pick % 5] | (cpu == 0 ? APIC_BASE_BSP : 0);
    write_msr(cpu, MSR_APIC_BASE, pick > 240 ? base | 1ULL << (next8() & 63) : base);
    read_msr(cpu, MSR_APIC_BASE);
}

static void enable(unsigned cpu)
{
    if (lapic_mode(&model.vcpu[cpu].lapic) == LAPIC_XAPIC) {
        guest_mmio_write(cpu, APIC_SVR, 0x1FF);
        ref_mmio_write(&ref, cpu, APIC_SVR, 0x1FF);
    } else {
        write_msr(cpu, 0x80F, 0x1FF);
    }
}

/* One byte for each vCPU. */
static void enable_pv_eoi(unsigned cpu)
{
    uint64_t value = (MODEL_RAM_BASE + cpu * 4) | (next8() & 1);
    same((uint64_t)lapic_write_pv_eoi(&model.vcpu[cpu].lapic, value), RIVET_OK, "PV EOI", cpu);
}

enum { VAPIC_WORDS = 128 };

/* The vapic word comes, goes, or the guest writes TPR there and exits. */
static void use_vapic(unsigned cpu)
{
    struct model_vcpu *vcpu = &model.vcpu[cpu];
    unsigned place = VAPIC_WORDS + cpu * 4;
    uint8_t pick = next8(), tpr = next8();

    if ((pick & 1) != 0) {
        uint64_t address = (pick & 2) != 0 ? 0 : MODEL_RAM_BASE + place;
        same((uint64_t)lapic_set_vapic(&vcpu->lapic, address), RIVET_OK, "vapic", cpu);
        return;
    }
    vcpu->in_guest = false;
    settle();
    if (vcpu->lapic.paravirt.vapic_published && model_ram[place] != tpr) {
        model_ram[place] = tpr;
        lapic_after_exit(&vcpu->lapic);
        vcpu->in_guest = false;
        ref.lapic[cpu].tpr = tpr;
    }
}

/* If the byte says so, clearing it is the EOI; the reference does what its register would. */
static bool pv_eoi(unsigned cpu)
{
    uint8_t *byte = &model_ram[cpu * 4];
    bool offered = (*byte & PV_EOI_NOT_NEEDED) != 0;
    if (offered) {
        *byte = 0;
        ref_mmio_write(&ref, cpu, APIC_EOI, 0);
        return true;
    }
    return false;
}

static void eoi(unsigned cpu)
{
    if (pv_eoi(cpu)) {
        return;
    }
    if (lapic_mode(&model.vcpu[cpu].lapic) == LAPIC_XAPIC) {
        guest_mmio_write(cpu, APIC_EOI, 0);
        ref_mmio_write(&ref, cpu, APIC_EOI, 0);
    } else {
        write_msr(cpu, 0x80B, 0);
    }
}

static void send_ipi(unsigned cpu)
{
    uint32_t low = next8() | (uint32_t)(next8() & 0xF) << 8 | (uint32_t)(next8() & 0xF) << 16;
    uint32_t destination = next8();
    low |= (next8() & 3U) << 14;
    if (lapic_mode(&model.vcpu[cpu].lapic) == LAPIC_XAPIC) {
        guest_mmio_write(cpu, APIC_ICR2, destination << 24);
        ref_mmio_write(&ref, cpu, APIC_ICR2, destination << 24);
        guest_mmio_write(cpu, APIC_ICR, low);
        ref_mmio_write(&ref, cpu, APIC_ICR, low);
    } else {
        write_msr(cpu, 0x830, (uint64_t)destination << 32 | low);
    }
}

/* INIT and SIPI: the vCPU looks at what is pending, as vmx/ would. */
static void take_events(unsigned cpu)
{
    struct ref_lapic *expected = &ref.lapic[cpu];
    bool waits = (next8() & 1) != 0;
    struct lapic_events events = lapic_take_events(&model.vcpu[cpu].lapic, waits);
    bool boot_cpu = (expected->base & APIC_BASE_BSP) != 0;

    same(events.init, expected->init, "INIT", cpu);
    waits = expected->init ? !boot_cpu : waits;
    int sipi = waits && expected->sipi ? expected->sipi_vector : -1;
    same((uint64_t)events.sipi, (uint64_t)sipi, "SIPI", cpu);
    expected->sipi = false;
    if (expected->init) {
        expected->init = false;
        lapic_reset(&model.vcpu[cpu].lapic, true);
        ref_reset(&ref, cpu, true);
    }
}

static void power_up(unsigned cpu)
{
    lapic_reset(&model.vcpu[cpu].lapic, false);
    ref_reset(&ref, cpu, false);
}

static void toggle_interrupts(unsigned cpu)
{
    bool now = !ref.lapic[cpu].interrupts_enabled;
    ref.lapic[cpu].interrupts_enabled = model.vcpu[cpu].interrupts_enabled = now;
}

/* HLT with interrupts enabled or not: is there something to wake for? */
static void look_for_wakeup(unsigned cpu)
{
    bool enabled = ref.lapic[cpu].interrupts_enabled;
    int vector = ref_pending_interrupt(&ref, cpu);

    same((uint64_t)lapic_has_interrupt(&model.vcpu[cpu].lapic), (uint64_t)vector, "wake-up", cpu);
    same(enabled && vector >= 0, false, "an interrupt was left over", cpu);
}

static void pass_time(void)
{
    unsigned steps = next8();
    model.tsc += (uint64_t)steps * REF_TIME_STEP;
    ref_pass_time(&ref, steps);
    for (unsigned cpu = 0; cpu < REF_VCPUS; cpu++) {
        lapic_timer_poll(&model.vcpu[cpu].lapic, model.tsc);
    }
}

static void start_timer(unsigned cpu)
{
    uint32_t lvt = (next8() & 3U) << 17 | next8();
    uint32_t count = next8();
    if (lapic_mode(&model.vcpu[cpu].lapic) == LAPIC_XAPIC) {
        guest_mmio_write(cpu, APIC_LVT_TIMER, lvt);
        ref_mmio_write(&ref, cpu, APIC_LVT_TIMER, lvt);
        guest_mmio_write(cpu, APIC_INITIAL_COUNT, count);
        ref_mmio_write(&ref, cpu, APIC_INITIAL_COUNT, count);
    } else {
        write_msr(cpu, 0x832, lvt);
        write_msr(cpu, 0x838, count);
    }
}

static void set_deadline(unsigned cpu)
{
    uint64_t guest_tsc = model.tsc + (uint64_t)ref.lapic[cpu].tsc_offset;
    write_msr(cpu, MSR_TSC_DEADLINE, guest_tsc - 10000 + next8() * 1000ULL);
    read_msr(cpu, MSR_TSC_DEADLINE);
}

static void move_tsc(unsigned cpu)
{
    int64_t offset = (int64_t)(int32_t)next32();
    lapic_set_tsc_offset(&model.vcpu[cpu].lapic, offset);
    ref_set_tsc_offset(&ref, cpu, offset);
}

static void drive_line(void)
{
    uint8_t pick = next8();
    ioapic_set_line(&model.vm, (pick >> 1) % REF_PINS, (pick & 1) != 0);
    ref_line(&ref, (pick >> 1) % REF_PINS, (pick & 1) != 0);
}

/* The 8259 pair lowers its output when it is asked for the vector. */
static int acknowledge(struct lapic *lapic)
{
    lapic_set_lint0(lapic, false);
    return REF_PIC_VECTOR;
}

/* LINT0 by an 8259 pair or something else; the other sources. */
static void local_source(unsigned cpu)
{
    static const uint16_t others[] = { APIC_LVT_CMCI, APIC_LVT_THERMAL, APIC_LVT_PMI,
                                       APIC_LVT_LINT1 };
    struct lapic *lapic = &model.vcpu[cpu].lapic;
    uint8_t pick = next8();
    bool high = (pick & 1) != 0;

    if (pick < 0x40) {
        lapic_local_interrupt(lapic, others[pick % 4]);
        ref_local_interrupt(&ref, cpu, others[pick % 4]);
    } else if (!ref.has_pic) {
        ref.has_pic = true;
        apic_vm_set_extint_source(&model.vm, APIC_EXTINT_LIVE);
    } else {
        lapic_set_lint0(lapic, high);
        ref_lint0(&ref, cpu, high);
    }
}

static void access_ioapic(void)
{
    static const uint32_t offsets[] = { 0x00, 0x10, 0x10, 0x40, 0x20 };
    uint8_t pick = next8();
    uint32_t offset = offsets[pick % 5];
    if (pick >= 128) {
        same(ioapic_mmio_read(&model.vm, offset), ref_ioapic_read(&ref, offset), "IOAPIC", offset);
        return;
    }
    uint32_t value = next_value();
    ioapic_mmio_write(&model.vm, offset, value);
    ref_ioapic_write(&ref, offset, value);
}

static void write_ioapic(uint32_t index, uint32_t value)
{
    ioapic_mmio_write(&model.vm, 0x00, index);
    ioapic_mmio_write(&model.vm, 0x10, value);
    ref_ioapic_write(&ref, 0x00, index);
    ref_ioapic_write(&ref, 0x10, value);
}

static void route_pin(void)
{
    unsigned pin = next8() % REF_PINS;
    write_ioapic(0x11 + 2 * pin, (uint32_t)next8() << 24);
    write_ioapic(0x10 + 2 * pin, next8() | (uint32_t)(next8() & 0xF) << 8 | (next8() & 3U) << 15);
}

static void read_pin(void)
{
    unsigned pin = next8() % REF_PINS;
    ioapic_mmio_write(&model.vm, 0x00, 0x10 + 2 * pin);
    ref_ioapic_write(&ref, 0x00, 0x10 + 2 * pin);
    same(ioapic_mmio_read(&model.vm, 0x10), ref_ioapic_read(&ref, 0x10), "redirection", pin);
}

static void send_msi(void)
{
    uint32_t address = 0xFEE00000 | (uint32_t)next8() << 12 | (next8() & 0xCU);
    uint32_t data = next8() | (uint32_t)(next8() & 0xC7) << 8;
    apic_vm_deliver_msi(&model.vm, address, data);
    ref_msi(&ref, address, data);
}

static void switch_apicv(void)
{
    static const enum apicv_inhibit reasons[] = { APICV_INHIBIT_MONITOR, APICV_INHIBIT_DEBUGGER };
    uint8_t pick = next8();
    apicv_set_inhibit(&model.vm, reasons[pick & 1], (pick & 2) != 0);
}

/* --- The stream ------------------------------------------------------------------------------- */

static void register_operation(unsigned cpu, uint8_t which)
{
    switch (which % 8) {
    case 0:
        change_base(cpu);
        break;
    case 1:
        enable(cpu);
        break;
    case 2:
        toggle_interrupts(cpu);
        break;
    case 3:
        look_for_wakeup(cpu);
        break;
    case 4:
        differential_state(cpu, which);
        break;
    default:
        access_register(cpu);
        break;
    }
}

static void icr_operation(unsigned cpu, uint8_t which)
{
    switch (which % 8) {
    case 0:
        take_events(cpu);
        break;
    case 1:
        eoi(cpu);
        break;
    case 2:
        send_msi();
        break;
    case 5:
        if ((which & 8) != 0) {
            use_vapic(cpu);
        } else {
            enable_pv_eoi(cpu);
        }
        break;
    case 3:
        if (next8() == 0) {
            power_up(cpu);
        }
        break;
    default:
        send_ipi(cpu);
        break;
    }
}

static void ioapic_operation(unsigned cpu, uint8_t which)
{
    switch (which % 8) {
    case 0:
        access_ioapic();
        break;
    case 1:
        route_pin();
        break;
    case 2:
        read_pin();
        break;
    case 3:
    case 4:
        eoi(cpu);
        break;
    default:
        if ((which & 8) != 0) {
            local_source(cpu);
        } else {
            drive_line();
        }
        break;
    }
}

static void time_operation(unsigned cpu, uint8_t which)
{
    switch (which % 8) {
    case 0:
        start_timer(cpu);
        break;
    case 1:
        set_deadline(cpu);
        break;
    case 2:
        move_tsc(cpu);
        break;
    case 3:
        eoi(cpu);
        break;
    default:
        pass_time();
        break;
    }
}

static void one_operation(enum differential_world world, unsigned operations)
{
    uint8_t pick = next8();
    unsigned cpu = pick % REF_VCPUS;
    uint8_t which = next8();

    lapic_after_exit(&model.vcpu[cpu].lapic);
    if (world == WORLD_TOGGLED && which >= 0xE0) {
        switch_apicv();
        return;
    }
    if ((operations & OPERATIONS_STATE) != 0 && which >= 0xA0) {
        differential_state(cpu, which);
        return;
    }
    switch (1U << (pick / REF_VCPUS % 4) & operations) {
    case OPERATIONS_REGISTERS:
        register_operation(cpu, which);
        break;
    case OPERATIONS_ICR:
        icr_operation(cpu, which);
        break;
    case OPERATIONS_IOAPIC:
        ioapic_operation(cpu, which);
        break;
    case OPERATIONS_TIME:
        time_operation(cpu, which);
        break;
    default:
        enable(cpu);
        break;
    }
}

static void start(enum differential_world world)
{
    struct apic_features features = model_all_features;
    features.physical_address_bits = 32;
    if (world == WORLD_SOFTWARE || world == WORLD_NO_TPR_SHADOW) {
        features.interrupt_delivery = features.posted_interrupts = features.register_virt = false;
        features.tpr_shadow = world == WORLD_SOFTWARE;
    }
    model_start(&features, REF_VCPUS);
    model.vm.tsc_per_timer_tick = REF_TICKS_PER_COUNT;
    ref_start(&ref);
    ref.tsc = model.tsc;
    model.acknowledge = acknowledge;
    settle();
}

void differential_run(enum differential_world world, unsigned operations, const uint8_t *data,
                      size_t size)
{
    input.data = data;
    input.size = size;
    start(world);
    while (input.size != 0) {
        one_operation(world, operations);
        settle();
    }
}
