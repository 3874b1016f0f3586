/* SPDX-License-Identifier: MIT */
/*
 * Guest accesses to physical addresses that are not plain RAM: the local APIC's and I/O APIC's windows,
 * device regions, read-only memory and holes (SDM volume 3, "EPT Violations", "APIC-Access VM Exits").
 */

#include <stdatomic.h>

#include "apic/ioapic.h"
#include "apic/lapic.h"
#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/log.h"
#include "lib/print.h"
#include "lib/string.h"
#include "vmx/decode.h"
#include "vmx/event.h"
#include "vmx/execute.h"
#include "vmx/exits.h"
#include "vmx/guest_memory.h"
#include "vmx/mmio.h"
#include "vmx/step.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

/* Exit qualification for EPT violations. */
#define EPT_VIOLATION_FETCH          BIT(2)
#define EPT_VIOLATION_LINEAR_VALID   BIT(7)
#define EPT_VIOLATION_TRANSLATED     BIT(8) /* 0: a paging-structure entry of the walk */
#define EPT_VIOLATION_NMI_UNBLOCKING BIT(12)

/* Exit qualification for APIC accesses. */
#define APIC_ACCESS_OFFSET 0xFFFULL
#define APIC_ACCESS_TYPE   (0xFULL << 12)
enum { APIC_ACCESS_READ = 0, APIC_ACCESS_WRITE = 1 };

#define INTERRUPTIBILITY_NMI BIT(3)
#define PENDING_DEBUG_BS     BIT(14)

/* Iterations of a repeated string instruction in one exit: bounds the time with interrupts off. */
enum { REPEAT_ITERATIONS = 256 };

/* --- Physical accesses ------------------------------------------------------------------------- */

static bool in_lapic_window(const struct vcpu *vcpu, uint64_t gpa)
{
    return lapic_mode(&vcpu->lapic) == LAPIC_XAPIC &&
           align_down(gpa, PAGE_SIZE) == (lapic_read_base(&vcpu->lapic) & APIC_BASE_ADDRESS);
}

static bool in_ioapic_window(uint64_t gpa)
{
    return align_down(gpa, PAGE_SIZE) == IOAPIC_DEFAULT_BASE;
}

static const struct io_region *find_region(const struct vm *vm, uint64_t gpa, unsigned size)
{
    for (unsigned i = 0; i < vm->mmio_count; i++) {
        const struct io_region *region = &vm->mmio[i];
        if (gpa >= region->base && gpa - region->base < region->size &&
            region->size - (gpa - region->base) >= size) {
            return region;
        }
    }
    return NULL;
}

static void say_hole(struct vcpu *vcpu, uint64_t gpa, const char *access)
{
    struct vm *vm = vcpu->vm;
    if (!atomic_exchange(&vm->said.hole, true)) {
        log_info("vm %s: vcpu %u: %s of %llx, where nothing is (further ones are not logged)",
                 vm->name, vcpu->index, access, (unsigned long long)gpa);
    }
}

static uint64_t all_ones(unsigned size)
{
    return ~0ULL >> (64 - 8 * size);
}

static uint64_t ioapic_read(struct vcpu *vcpu, uint64_t gpa, unsigned size)
{
    unsigned offset = gpa & (PAGE_SIZE - 1);
    uint64_t word = ioapic_mmio_read(&vcpu->vm->apic, offset & ~3U);
    return word >> (8 * (offset & 3)) & all_ones(size);
}

/* Devices see accesses of 1, 2, 4 or 8 bytes; others are split into bytes. */
static bool is_device_size(unsigned size)
{
    return (size & (size - 1)) == 0;
}

static uint64_t device_read(struct vcpu *vcpu, uint64_t gpa, unsigned size)
{
    if (in_lapic_window(vcpu, gpa)) {
        return lapic_mmio_read(&vcpu->lapic, gpa & (PAGE_SIZE - 1), size);
    }
    if (in_ioapic_window(gpa)) {
        return ioapic_read(vcpu, gpa, size);
    }
    const struct io_region *region = find_region(vcpu->vm, gpa, size);
    if (region) {
        return region->ops->read(region->device, gpa - region->base, size) & all_ones(size);
    }
    say_hole(vcpu, gpa, "read");
    return all_ones(size);
}

static void device_write(struct vcpu *vcpu, uint64_t gpa, unsigned size, uint64_t value)
{
    if (in_lapic_window(vcpu, gpa)) {
        lapic_mmio_write(&vcpu->lapic, gpa & (PAGE_SIZE - 1), size, value);
        return;
    }
    if (in_ioapic_window(gpa)) {
        ioapic_mmio_write(&vcpu->vm->apic, gpa & (PAGE_SIZE - 1), (uint32_t)value);
        return;
    }
    const struct io_region *region = find_region(vcpu->vm, gpa, size);
    if (region) {
        region->ops->write(region->device, gpa - region->base, size, value);
        return;
    }
    say_hole(vcpu, gpa, "write");
}

/* RAM or read-only memory at gpa, or NULL; the local APIC's window hides memory under it. */
static uint8_t *memory_at(struct vcpu *vcpu, uint64_t gpa, unsigned size, unsigned *rights)
{
    uint64_t hpa, left;
    if (in_lapic_window(vcpu, gpa) ||
        ept_lookup(&vcpu->vm->ept, gpa, &hpa, rights, &left) != RIVET_OK || left < size) {
        return NULL;
    }
    return (uint8_t *)(uintptr_t)hpa;
}

uint64_t mmio_read(struct vcpu *vcpu, uint64_t gpa, unsigned size)
{
    unsigned rights;
    uint64_t value = 0;
    uint8_t *memory = memory_at(vcpu, gpa, size, &rights);

    if (memory) {
        memcpy(&value, memory, size);
    } else if (is_device_size(size)) {
        value = device_read(vcpu, gpa, size);
    } else {
        for (unsigned i = 0; i < size; i++) {
            value |= device_read(vcpu, gpa + i, 1) << (8 * i);
        }
    }
    return value;
}

/* A write to read-only memory is lost, as one to a ROM. */
void mmio_write(struct vcpu *vcpu, uint64_t gpa, unsigned size, uint64_t value)
{
    unsigned rights;
    uint8_t *memory = memory_at(vcpu, gpa, size, &rights);

    if (memory) {
        if (rights & EPT_WRITE) {
            memcpy(memory, &value, size);
        }
    } else if (is_device_size(size)) {
        device_write(vcpu, gpa, size, value & all_ones(size));
    } else {
        for (unsigned i = 0; i < size; i++) {
            device_write(vcpu, gpa + i, 1, value >> (8 * i) & 0xFF);
        }
    }
}

uint64_t mmio_read_span(struct vcpu *vcpu, const struct guest_span *span)
{
    uint64_t value = mmio_read(vcpu, span->gpa[0], span->size[0]);
    if (span->size[1]) {
        value |= mmio_read(vcpu, span->gpa[1], span->size[1]) << (8 * span->size[0]);
    }
    return value;
}

void mmio_write_span(struct vcpu *vcpu, const struct guest_span *span, uint64_t value)
{
    mmio_write(vcpu, span->gpa[0], span->size[0], value);
    if (span->size[1]) {
        mmio_write(vcpu, span->gpa[1], span->size[1], value >> (8 * span->size[0]));
    }
}

/* --- The instruction --------------------------------------------------------------------------- */

/* One emulation: what the machine's callbacks need. */
struct emulation {
    struct vcpu *vcpu;
    struct guest_mmu mmu;
    struct fault fault;
};

static int translate(struct emulation *emulation, unsigned segment, uint64_t offset, unsigned size,
                     unsigned access, struct guest_span *span)
{
    uint64_t linear;
    int error =
        guest_linear(&emulation->mmu, segment, offset, size, access, &linear, &emulation->fault);
    if (error) {
        return error;
    }
    return guest_translate(&emulation->mmu, linear, size, access, span, &emulation->fault);
}

static int machine_read(void *context, unsigned segment, uint64_t offset, unsigned size,
                        bool for_write, uint64_t *value)
{
    struct emulation *emulation = context;
    struct guest_span span;
    int error =
        translate(emulation, segment, offset, size, for_write ? ACCESS_WRITE : ACCESS_READ, &span);
    if (error) {
        return error;
    }
    *value = mmio_read_span(emulation->vcpu, &span);
    return 0;
}

static int machine_write(void *context, unsigned segment, uint64_t offset, unsigned size,
                         uint64_t value)
{
    struct emulation *emulation = context;
    struct guest_span span;
    int error = translate(emulation, segment, offset, size, ACCESS_WRITE, &span);
    if (error) {
        return error;
    }
    mmio_write_span(emulation->vcpu, &span, value);
    return 0;
}

/* End the VM over an access to gpa; bytes, when there are any, are those at RIP. */
static void kill(struct vcpu *vcpu, uint64_t gpa, const char *why, const uint8_t *bytes,
                 unsigned count)
{
    char text[3 * INSTRUCTION_MAX_LENGTH + 1] = "";
    for (size_t i = 0; i < count; i++) {
        lib_snprintf(text + 3 * i, sizeof(text) - 3 * i, " %02x", bytes[i]);
    }
    vm_kill(vcpu->vm, "vCPU %u: %s at RIP %llx, physical address %llx%s%s", vcpu->index, why,
            (unsigned long long)vmread(VMCS_GUEST_RIP), (unsigned long long)gpa,
            count ? ", bytes" : "", text);
}

/* Fetch the first size bytes at RIP. */
static int fetch(struct emulation *emulation, uint8_t *bytes, unsigned size)
{
    uint64_t linear;
    int error = guest_linear(&emulation->mmu, SEGMENT_CS, vmread(VMCS_GUEST_RIP), 1, ACCESS_FETCH,
                             &linear, &emulation->fault);
    if (error) {
        return error;
    }
    return guest_read_linear(&emulation->mmu, linear, bytes, size, ACCESS_FETCH, &emulation->fault);
}

static unsigned bytes_to_page_end(void)
{
    uint64_t linear = vmread(VMCS_GUEST_CS_BASE) + vmread(VMCS_GUEST_RIP);
    uint64_t left = PAGE_SIZE - (linear & (PAGE_SIZE - 1));
    return left < INSTRUCTION_MAX_LENGTH ? (unsigned)left : INSTRUCTION_MAX_LENGTH;
}

/* Fetch and decode the instruction at RIP. The next page is touched only if the instruction is. */
static int fetch_and_decode(struct emulation *emulation, uint8_t *bytes, unsigned *count,
                            struct instruction *instruction)
{
    *count = bytes_to_page_end();
    int result = fetch(emulation, bytes, *count);
    if (result) {
        return result;
    }
    result = decode(bytes, *count, guest_code_mode(), instruction);
    if (result == ERR_RANGE) {
        *count = INSTRUCTION_MAX_LENGTH;
        result = fetch(emulation, bytes, *count);
        if (result) {
            return result;
        }
        result = decode(bytes, *count, guest_code_mode(), instruction);
    }
    return result < 0 ? ERR_INVALID : RIVET_OK;
}

/* A repeated instruction goes on later: RIP stays, the instructions's start is over. */
static void leave_repeating(uint64_t rflags)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
            state & ~(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
    if (rflags & RFLAGS_TF) {
        vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
                vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) | PENDING_DEBUG_BS);
    }
}

static uint64_t instruction_pointer_mask(void)
{
    return guest_code_mode() == DECODE_64 ? ~0ULL : 0xFFFFFFFFU;
}

static uint64_t next_rip(const struct instruction *instruction)
{
    return (vmread(VMCS_GUEST_RIP) + instruction->length) & instruction_pointer_mask();
}

/* Run the instruction; an access that faults raises its exception after what has been done so far. */
static void run(struct emulation *emulation, const struct instruction *instruction)
{
    struct vcpu *vcpu = emulation->vcpu;
    struct machine machine = {
        .gpr = vcpu->gpr,
        .rflags = vmread(VMCS_GUEST_RFLAGS),
        .next_rip = next_rip(instruction),
        .stack_size = guest_stack_size(),
        .read = machine_read,
        .write = machine_write,
        .context = emulation,
    };
    unsigned iterations = machine.rflags & RFLAGS_TF ? 1 : REPEAT_ITERATIONS;
    uint64_t rsp = vmread(VMCS_GUEST_RSP);
    uint64_t rflags = machine.rflags;
    int result;

    vcpu->gpr[RSP] = rsp;
    do {
        result = execute(instruction, &machine);
    } while (result == EXECUTE_REPEAT && --iterations);
    if (vcpu->gpr[RSP] != rsp) {
        vmwrite(VMCS_GUEST_RSP, vcpu->gpr[RSP]);
    }
    if (machine.rflags != rflags) {
        vmwrite(VMCS_GUEST_RFLAGS, machine.rflags);
    }
    if (result == EXECUTE_DONE) {
        event_instruction_skip(vcpu, instruction->length);
    } else if (result == EXECUTE_REPEAT) {
        leave_repeating(rflags);
    } else {
        guest_raise(vcpu, &emulation->fault);
    }
}

/* Let the CPU execute an instruction that accesses gpa; another device's bytes it must not touch. */
static void step(struct emulation *emulation, const struct instruction *instruction, uint64_t gpa)
{
    struct vcpu *vcpu = emulation->vcpu;
    bool write = instruction->operation != OP_NATIVE_READ;
    struct machine machine = { .gpr = vcpu->gpr, .next_rip = next_rip(instruction) };
    struct guest_span span;

    vcpu->gpr[RSP] = vmread(VMCS_GUEST_RSP);
    if (translate(emulation, instruction->memory.segment, execute_address(instruction, &machine),
                  instruction->destination.size, write ? ACCESS_WRITE : ACCESS_READ, &span)) {
        guest_raise(vcpu, &emulation->fault);
        return;
    }
    struct step_access access = { .write = write, .next_rip = machine.next_rip };
    memcpy(access.gpa, span.gpa, sizeof(access.gpa));
    memcpy(access.size, span.size, sizeof(access.size));
    step_begin(vcpu, align_down(gpa, PAGE_SIZE), &access);
}

/* Do the access to gpa that exited, by its instruction. */
static void emulate(struct vcpu *vcpu, uint64_t gpa)
{
    struct emulation emulation;
    uint8_t bytes[INSTRUCTION_MAX_LENGTH];
    unsigned count = 0;
    struct instruction instruction;

    emulation.vcpu = vcpu;
    guest_mmu_load(&emulation.mmu, vcpu);
    int error = fetch_and_decode(&emulation, bytes, &count, &instruction);
    if (error == ERR_GP) {
        guest_raise(vcpu, &emulation.fault);
    } else if (error == ERR_NOT_FOUND) {
        kill(vcpu, gpa, "code outside RAM accesses emulated memory", bytes, 0);
    } else if (error) {
        kill(vcpu, gpa, "instruction that Rivet cannot emulate", bytes, count);
    } else if (instruction.operation >= OP_NATIVE_READ) {
        step(&emulation, &instruction, gpa);
    } else {
        run(&emulation, &instruction);
    }
}

/* --- Exits ----------------------------------------------------------------------------------------- */

/* Whether memory is there now that allows the access: another CPU may have changed the map. */
static bool mapped_by_now(struct vcpu *vcpu, uint64_t gpa, uint64_t qualification)
{
    unsigned rights;
    unsigned wanted = qualification & EPT_RWX;
    return memory_at(vcpu, gpa, 1, &rights) && (rights & wanted) == wanted;
}

static bool is_device(const struct vcpu *vcpu, uint64_t gpa)
{
    return in_lapic_window(vcpu, gpa) || in_ioapic_window(gpa) || find_region(vcpu->vm, gpa, 1);
}

/* The bus answers a fetch from a hole with FFH, and FF FFH is undefined. */
static void fetch_from_no_memory(struct vcpu *vcpu, uint64_t gpa)
{
    if (is_device(vcpu, gpa)) {
        kill(vcpu, gpa, "instruction fetch from a device", NULL, 0);
        return;
    }
    say_hole(vcpu, gpa, "instruction fetch");
    event_raise(vcpu, EXCEPTION_UD);
}

/* No exception can be delivered that would not end here again. */
static void delivery_from_no_memory(struct vcpu *vcpu, uint64_t gpa, bool walk)
{
    uint64_t linear = vmread(VMCS_GUEST_LINEAR_ADDRESS);
    struct guest_mmu mmu;
    char why[120];

    guest_mmu_load(&mmu, vcpu);
    unsigned level = walk ? paging_level_outside_ram(&mmu.paging, linear) : 0;
    if (level == 0) {
        kill(vcpu, gpa, "event delivery through memory that is not RAM", NULL, 0);
        return;
    }
    lib_snprintf(why, sizeof(why),
                 "event delivery: the page walk for linear address %llx needs an entry of level %u "
                 "outside RAM",
                 (unsigned long long)linear, level);
    kill(vcpu, gpa, why, NULL, 0);
}

/* The instruction finds out what the walk's entry, all ones as the bus answers, makes of its access. */
static void walk_through_no_memory(struct vcpu *vcpu, uint64_t gpa)
{
    unsigned rights;
    if (!is_device(vcpu, gpa) && !memory_at(vcpu, gpa, 1, &rights)) {
        say_hole(vcpu, gpa, "page walk");
    }
    emulate(vcpu, gpa);
}

void exit_ept_violation(struct vcpu *vcpu)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    uint64_t gpa = vmread(VMCS_GUEST_PHYSICAL_ADDRESS);
    bool walk = !(qualification & EPT_VIOLATION_TRANSLATED);

    if (mapped_by_now(vcpu, gpa, qualification)) {
        if (!vcpu->delivery_interrupted && (qualification & EPT_VIOLATION_NMI_UNBLOCKING)) {
            vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                    vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) | INTERRUPTIBILITY_NMI);
        }
    } else if (!(qualification & EPT_VIOLATION_LINEAR_VALID)) {
        kill(vcpu, gpa, "page-directory-pointer table outside RAM", NULL, 0);
    } else if (vcpu->delivery_interrupted) {
        delivery_from_no_memory(vcpu, gpa, walk);
    } else if (walk) {
        walk_through_no_memory(vcpu, gpa);
    } else if (qualification & EPT_VIOLATION_FETCH) {
        fetch_from_no_memory(vcpu, gpa);
    } else {
        emulate(vcpu, gpa);
    }
}

void exit_apic_access(struct vcpu *vcpu)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    uint64_t type = field_get(APIC_ACCESS_TYPE, qualification);
    uint64_t gpa =
        (lapic_read_base(&vcpu->lapic) & APIC_BASE_ADDRESS) | (qualification & APIC_ACCESS_OFFSET);

    if (type == APIC_ACCESS_READ || type == APIC_ACCESS_WRITE) {
        emulate(vcpu, gpa);
    } else {
        kill(vcpu, gpa, "instruction fetch, event delivery or page walk in the APIC page", NULL, 0);
    }
}
