/* SPDX-License-Identifier: MIT */
/* IN, OUT, INS and OUTS of guests (SDM volume 3, table "Exit Qualification for I/O Instructions"). */
#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/cr.h"
#include "vmx/event.h"
#include "vmx/exits.h"
#include "vmx/guest_memory.h"
#include "vmx/mmio.h"
#include "vmx/segment.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"

/* Exit qualification */
#define IO_SIZE   0x7ULL /* less one */
#define IO_IN     BIT(3)
#define IO_STRING BIT(4)
#define IO_REP    BIT(5)
#define IO_PORT   0xFFFF0000ULL

/* VM-exit instruction information */
#define INFO_ADDRESS_SIZE 0x380ULL
#define INFO_SEGMENT      0x38000ULL

/* DR7: enable bits, and the R/W field's value for I/O */
#define DR7_ENABLES 0xFFULL
enum { DR7_RW_IO = 2 };

/* Pending debug exceptions: a breakpoint that DR7 enables was met */
#define PENDING_DEBUG_ENABLED BIT(12)

/* Elements that one exit moves; REP goes on with the next exit, so that interrupts are not held up. */
enum { STRING_CHUNK = 256 };

static uint64_t size_mask(unsigned size)
{
    return ~0ULL >> (64 - 8 * size);
}

/* The region that has all of the ports, NULL if none. */
static const struct io_region *find_region(const struct vm *vm, uint16_t port, unsigned size)
{
    for (unsigned i = 0; i < vm->io_count; i++) {
        const struct io_region *region = &vm->io[i];
        if (port >= region->base && port + size <= region->base + region->size) {
            return region;
        }
    }
    return NULL;
}

/* Whether the pending I/O breakpoint of DR7's entry n covers one of the ports. */
static bool breakpoint_hits(unsigned n, uint64_t dr7, uint16_t port, unsigned size)
{
    const uint64_t address[4] = { read_dr0(), read_dr1(), read_dr2(), read_dr3() };
    static const uint8_t length_of[4] = { 1, 2, 8, 4 };
    if ((dr7 >> (2 * n) & 3) == 0 || (dr7 >> (16 + 4 * n) & 3) != DR7_RW_IO) {
        return false;
    }
    uint64_t length = length_of[dr7 >> (18 + 4 * n) & 3];
    uint64_t first = address[n] & ~(length - 1);
    return first < (uint64_t)port + size && port < first + length;
}

/* I/O breakpoints trap after the access (SDM volume 3, "Breakpoint Exception for I/O"). */
static void check_breakpoints(uint16_t port, unsigned size)
{
    uint64_t dr7 = vmread(VMCS_GUEST_DR7);
    if ((dr7 & DR7_ENABLES) == 0 || !(cr4_read() & CR4_DE)) {
        return;
    }
    uint64_t hits = 0;
    for (unsigned n = 0; n < 4; n++) {
        hits |= breakpoint_hits(n, dr7, port, size) ? BIT(n) : 0;
    }
    if (hits != 0) {
        vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
                vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) | hits | PENDING_DEBUG_ENABLED);
    }
}

/* Ports of several devices, or of none, are accessed byte by byte; unclaimed ones read all ones. */
static uint32_t port_in(struct vcpu *vcpu, uint16_t port, unsigned size)
{
    const struct io_region *region = find_region(vcpu->vm, port, size);
    if (region != NULL) {
        uint64_t value = region->ops->read(region->device, port - region->base, size);
        return (uint32_t)(value & size_mask(size));
    }
    if (size == 1) {
        return 0xFF;
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= port_in(vcpu, (uint16_t)(port + i), 1) << (8 * i);
    }
    return value;
}

static void port_out(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
    const struct io_region *region = find_region(vcpu->vm, port, size);
    if (region != NULL) {
        region->ops->write(region->device, port - region->base, size, value & size_mask(size));
        return;
    }
    for (unsigned i = 0; size > 1 && i < size; i++) {
        port_out(vcpu, (uint16_t)(port + i), 1, value >> (8 * i));
    }
}

/* --- IN and OUT -------------------------------------------------------------------------------- */

static void scalar(struct vcpu *vcpu, uint64_t qualification)
{
    uint16_t port = (uint16_t)field_get(IO_PORT, qualification);
    unsigned size = (unsigned)field_get(IO_SIZE, qualification) + 1;
    if (qualification & IO_IN) {
        /* A 32-bit result clears the upper half, smaller ones leave the rest alone. */
        uint64_t kept = size == 4 ? 0 : vcpu->gpr[RAX] & ~size_mask(size);
        vcpu->gpr[RAX] = kept | port_in(vcpu, port, size);
    } else {
        port_out(vcpu, port, size, (uint32_t)vcpu->gpr[RAX]);
    }
    event_instruction_done(vcpu);
    check_breakpoints(port, size);
}

/* --- INS and OUTS -------------------------------------------------------------------------------- */

struct string_io {
    uint16_t port;
    unsigned size;
    bool in;
    unsigned segment;
    uint64_t address_mask;
    unsigned pointer; /* RSI or RDI */
};

static void decode_string(struct string_io *io, uint64_t qualification)
{
    uint64_t info = vmread(VMCS_EXIT_INSTRUCTION_INFORMATION);
    io->port = (uint16_t)field_get(IO_PORT, qualification);
    io->size = (unsigned)field_get(IO_SIZE, qualification) + 1;
    io->in = (qualification & IO_IN) != 0;
    io->segment = io->in ? SEGMENT_ES : (unsigned)field_get(INFO_SEGMENT, info);
    io->address_mask = size_mask(2U << field_get(INFO_ADDRESS_SIZE, info));
    io->pointer = io->in ? RDI : RSI;
}

/* A register as wide as the address size: a 32-bit result clears the upper half. */
static void advance(struct vcpu *vcpu, const struct string_io *io, unsigned reg, int64_t by)
{
    uint64_t value = (vcpu->gpr[reg] + (uint64_t)by) & io->address_mask;
    if (io->address_mask == 0xFFFF) {
        value |= vcpu->gpr[reg] & ~io->address_mask;
    }
    vcpu->gpr[reg] = value;
}

/* Move one element. 0, or ERR_GP and *fault. */
static int move_element(struct guest_mmu *mmu, const struct string_io *io, struct fault *fault)
{
    struct vcpu *vcpu = mmu->vcpu;
    uint64_t linear;
    struct guest_span span;
    unsigned access = io->in ? ACCESS_WRITE : ACCESS_READ;
    uint64_t offset = vcpu->gpr[io->pointer] & io->address_mask;
    int error = guest_linear(mmu, io->segment, offset, io->size, access, &linear, fault);
    if (error == RIVET_OK) {
        /* That the memory can be written is known before the port is read. */
        error = guest_translate(mmu, linear, io->size, access, &span, fault);
    }
    if (error != RIVET_OK) {
        return error;
    }
    if (io->in) {
        mmio_write_span(vcpu, &span, port_in(vcpu, io->port, io->size));
    } else {
        port_out(vcpu, io->port, io->size, (uint32_t)mmio_read_span(vcpu, &span));
    }
    return RIVET_OK;
}

/* One iteration is done while somebody debugs: it can trap like an instruction of its own. */
static void end_iteration(struct vcpu *vcpu, const struct string_io *io)
{
    if ((vcpu->gpr[RCX] & io->address_mask) == 0) {
        event_instruction_done(vcpu);
    } else {
        event_iteration_done(vcpu);
    }
    check_breakpoints(io->port, io->size);
}

static void string(struct vcpu *vcpu, uint64_t qualification)
{
    struct guest_mmu mmu;
    struct string_io io;
    guest_mmu_load(&mmu, vcpu);
    decode_string(&io, qualification);
    bool rep = (qualification & IO_REP) != 0;
    uint64_t rflags = vmread(VMCS_GUEST_RFLAGS);
    bool debugged = (rflags & RFLAGS_TF) || (vmread(VMCS_GUEST_DR7) & DR7_ENABLES);
    int64_t step = rflags & RFLAGS_DF ? -(int64_t)io.size : (int64_t)io.size;
    for (unsigned n = 0; n < STRING_CHUNK; n++) {
        if (rep && (vcpu->gpr[RCX] & io.address_mask) == 0) {
            event_instruction_done(vcpu);
            return;
        }
        struct fault fault;
        int error = move_element(&mmu, &io, &fault);
        if (error != RIVET_OK) {
            guest_raise(vcpu, &fault);
            return;
        }
        advance(vcpu, &io, io.pointer, step);
        if (!rep) {
            event_instruction_done(vcpu);
            check_breakpoints(io.port, io.size);
            return;
        }
        advance(vcpu, &io, RCX, -1);
        if (debugged) {
            end_iteration(vcpu, &io);
            return;
        }
    }
}

void exit_io(struct vcpu *vcpu)
{
    uint64_t qualification = vmread(VMCS_EXIT_QUALIFICATION);
    if (qualification & IO_STRING) {
        string(vcpu, qualification);
    } else {
        scalar(vcpu, qualification);
    }
}
