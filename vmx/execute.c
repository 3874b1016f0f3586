/* SPDX-License-Identifier: MIT */
/* Executes decoded instructions (SDM volume 2, the instruction reference; volume 1, "Status Flags"). */

#include "vmx/execute.h"

#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/alu.h"

/* Register numbers that instructions imply. */
enum { AX = 0, CX = 1, SP = 4, SI = 6, DI = 7 };

static uint64_t mask_of(unsigned size)
{
    return ~0ULL >> (64 - 8 * size);
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* --- Registers and memory ---------------------------------------------------------------------- */

/* value with its low size bytes replaced; 4-byte writes clear the upper half, as the CPU does. */
static void write_gpr(struct machine *machine, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t *gpr = &machine->gpr[reg];
    if (size >= 4) {
        *gpr = value & mask_of(size);
    } else {
        *gpr = (*gpr & ~mask_of(size)) | (value & mask_of(size));
    }
}

static uint64_t read_gpr(const struct machine *machine, unsigned reg, unsigned size)
{
    return machine->gpr[reg] & mask_of(size);
}

uint64_t execute_address(const struct instruction *instruction, const struct machine *machine)
{
    const struct memory_operand *memory = &instruction->memory;
    uint64_t address = (uint64_t)memory->displacement;

    if (memory->rip_relative) {
        address += machine->next_rip;
    }
    if (memory->base != NO_REGISTER) {
        address += machine->gpr[memory->base];
    }
    if (memory->index != NO_REGISTER) {
        address += machine->gpr[memory->index] * memory->scale;
    }
    return address & mask_of(instruction->address_size);
}

static int read_memory(const struct instruction *instruction, struct machine *machine,
                       uint64_t offset, unsigned size, bool for_write, uint64_t *value)
{
    return machine->read(machine->context, instruction->memory.segment, offset, size, for_write,
                         value);
}

static int write_memory(const struct instruction *instruction, struct machine *machine,
                        uint64_t offset, unsigned size, uint64_t value)
{
    return machine->write(machine->context, instruction->memory.segment, offset, size,
                          value & mask_of(size));
}

static int read_operand(const struct instruction *instruction, struct machine *machine,
                        const struct operand *operand, bool for_write, uint64_t *value)
{
    switch (operand->kind) {
    case OPERAND_GPR:
        *value = read_gpr(machine, operand->reg, operand->size);
        return 0;
    case OPERAND_GPR_HIGH:
        *value = machine->gpr[operand->reg] >> 8 & 0xFF;
        return 0;
    case OPERAND_IMMEDIATE:
        *value = instruction->immediate & mask_of(operand->size);
        return 0;
    case OPERAND_MEMORY:
        return read_memory(instruction, machine, execute_address(instruction, machine),
                           operand->size, for_write, value);
    default:
        *value = 0;
        return 0;
    }
}

static int write_operand(const struct instruction *instruction, struct machine *machine,
                         const struct operand *operand, uint64_t value)
{
    if (operand->kind == OPERAND_GPR) {
        write_gpr(machine, operand->reg, operand->size, value);
        return 0;
    }
    if (operand->kind == OPERAND_GPR_HIGH) {
        uint64_t *gpr = &machine->gpr[operand->reg];
        *gpr = (*gpr & ~0xFF00ULL) | (value & 0xFF) << 8;
        return 0;
    }
    return write_memory(instruction, machine, execute_address(instruction, machine), operand->size,
                        value);
}

static void set_flags(struct machine *machine, uint64_t mask, uint64_t flags)
{
    machine->rflags = (machine->rflags & ~mask) | (flags & mask);
}

static uint64_t swap_bytes(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

/* Result of the operation on destination a and source b. */
static struct alu_outcome operate(const struct instruction *instruction,
                                  const struct machine *machine, uint64_t a, uint64_t b)
{
    return alu_operate(instruction->operation, a, b, instruction->destination.size,
                       machine->rflags);
}

/* --- Instruction classes -------------------------------------------------------------------------- */

/* Operations that read their destination, and write it unless they only compare. */
static int execute_modify(const struct instruction *instruction, struct machine *machine)
{
    uint8_t operation = instruction->operation;
    bool for_write = operation != OP_CMP && operation != OP_TEST && operation != OP_BT;
    uint64_t a, b;

    int error = read_operand(instruction, machine, &instruction->source, false, &b);
    if (!error) {
        error = read_operand(instruction, machine, &instruction->destination, for_write, &a);
    }
    if (error) {
        return error;
    }
    struct alu_outcome outcome = operate(instruction, machine, a, b);
    if (outcome.write) {
        error = write_operand(instruction, machine, &instruction->destination, outcome.result);
        if (error) {
            return error;
        }
    }
    set_flags(machine, outcome.flags_mask, outcome.flags);
    return EXECUTE_DONE;
}

/* BT and friends with a register: the offset counts bits from the operand, in either direction. */
static int execute_bit_string(const struct instruction *instruction, struct machine *machine)
{
    unsigned size = instruction->operand_size;
    int64_t bit = (int64_t)sign_extend(machine->gpr[instruction->source.reg], size);
    struct instruction moved = *instruction;
    int64_t unit = bit >> (3 + __builtin_ctz(size));

    moved.memory.displacement += unit * size;
    return execute_modify(&moved, machine);
}

static int execute_move(const struct instruction *instruction, struct machine *machine)
{
    uint64_t value;
    int error = read_operand(instruction, machine, &instruction->source, false, &value);
    if (error) {
        return error;
    }
    if (instruction->operation == OP_MOVSX) {
        value = sign_extend(value, instruction->source.size);
    } else if (instruction->operation == OP_MOVBE) {
        value = swap_bytes(value, instruction->operand_size);
    }
    return write_operand(instruction, machine, &instruction->destination, value);
}

static int execute_conditional_move(const struct instruction *instruction, struct machine *machine)
{
    uint64_t value;
    int error = read_operand(instruction, machine, &instruction->source, false, &value);
    if (error) {
        return error;
    }
    if (!alu_condition_holds(instruction->condition, machine->rflags)) {
        value = read_gpr(machine, instruction->destination.reg, instruction->destination.size);
    }
    return write_operand(instruction, machine, &instruction->destination, value);
}

/* XCHG and XADD: memory gets the new value first, then the register the old one. */
static int execute_exchange(const struct instruction *instruction, struct machine *machine)
{
    uint64_t a, b;
    struct alu_outcome outcome = { .write = true };

    int error = read_operand(instruction, machine, &instruction->destination, true, &a);
    if (error) {
        return error;
    }
    (void)read_operand(instruction, machine, &instruction->source, false, &b);
    if (instruction->operation == OP_XADD) {
        outcome = operate(instruction, machine, a, b);
    } else {
        outcome.result = b;
    }
    error = write_operand(instruction, machine, &instruction->destination, outcome.result);
    if (error) {
        return error;
    }
    (void)write_operand(instruction, machine, &instruction->source, a);
    set_flags(machine, outcome.flags_mask, outcome.flags);
    return EXECUTE_DONE;
}

/* The destination is written in any case, with its own value when the comparison fails. */
static int execute_compare_exchange(const struct instruction *instruction, struct machine *machine)
{
    unsigned size = instruction->operand_size;
    uint64_t accumulator = read_gpr(machine, AX, size);
    uint64_t a, b, flags;

    int error = read_operand(instruction, machine, &instruction->destination, true, &a);
    if (error) {
        return error;
    }
    (void)read_operand(instruction, machine, &instruction->source, false, &b);
    flags = alu_compare_flags(accumulator, a, size);
    bool equal = accumulator == a;
    error = write_operand(instruction, machine, &instruction->destination, equal ? b : a);
    if (error) {
        return error;
    }
    if (!equal) {
        write_gpr(machine, AX, size, a);
    }
    set_flags(machine, ALU_STATUS_FLAGS, flags);
    return EXECUTE_DONE;
}

static int execute_push(const struct instruction *instruction, struct machine *machine)
{
    uint64_t value;
    uint64_t pointer =
        (machine->gpr[SP] - instruction->operand_size) & mask_of(machine->stack_size);

    int error = read_operand(instruction, machine, &instruction->destination, false, &value);
    if (!error) {
        error =
            machine->write(machine->context, SEGMENT_SS, pointer, instruction->operand_size, value);
    }
    if (!error) {
        write_gpr(machine, SP, machine->stack_size, pointer);
    }
    return error;
}

/* An address based on the stack pointer is computed with the pointer already incremented. */
static int execute_pop(const struct instruction *instruction, struct machine *machine)
{
    uint64_t old = machine->gpr[SP];
    uint64_t value;

    int error = machine->read(machine->context, SEGMENT_SS, old & mask_of(machine->stack_size),
                              instruction->operand_size, false, &value);
    if (error) {
        return error;
    }
    write_gpr(machine, SP, machine->stack_size, old + instruction->operand_size);
    error = write_operand(instruction, machine, &instruction->destination, value);
    if (error) {
        machine->gpr[SP] = old;
    }
    return error;
}

/* --- String instructions --------------------------------------------------------------------------- */

static int read_source_string(const struct instruction *instruction, struct machine *machine,
                              uint64_t *value)
{
    return read_memory(instruction, machine, read_gpr(machine, SI, instruction->address_size),
                       instruction->operand_size, false, value);
}

static int access_destination_string(const struct instruction *instruction, struct machine *machine,
                                     bool write, uint64_t *value)
{
    uint64_t offset = read_gpr(machine, DI, instruction->address_size);
    unsigned size = instruction->operand_size;

    if (write) {
        return machine->write(machine->context, SEGMENT_ES, offset, size, *value & mask_of(size));
    }
    return machine->read(machine->context, SEGMENT_ES, offset, size, false, value);
}

static int string_compare(const struct instruction *instruction, struct machine *machine)
{
    uint64_t a, b;
    int error = 0;

    if (instruction->operation == OP_CMPS) {
        error = read_source_string(instruction, machine, &a);
    } else {
        a = read_gpr(machine, AX, instruction->operand_size);
    }
    if (!error) {
        error = access_destination_string(instruction, machine, false, &b);
    }
    if (!error) {
        set_flags(machine, ALU_STATUS_FLAGS, alu_compare_flags(a, b, instruction->operand_size));
    }
    return error;
}

static int string_transfer(const struct instruction *instruction, struct machine *machine)
{
    uint64_t value = machine->gpr[AX];
    int error = 0;

    if (instruction->operation != OP_STOS) {
        error = read_source_string(instruction, machine, &value);
    }
    if (error) {
        return error;
    }
    if (instruction->operation == OP_LODS) {
        write_gpr(machine, AX, instruction->operand_size, value);
        return 0;
    }
    return access_destination_string(instruction, machine, true, &value);
}

static void advance_pointer(const struct instruction *instruction, struct machine *machine,
                            unsigned reg)
{
    uint64_t step = instruction->operand_size;
    if (machine->rflags & RFLAGS_DF) {
        step = -step;
    }
    write_gpr(machine, reg, instruction->address_size, machine->gpr[reg] + step);
}

/* After an iteration: does the repeat prefix ask for another one? */
static bool repeat_goes_on(const struct instruction *instruction, struct machine *machine)
{
    unsigned size = instruction->address_size;
    if (!instruction->repeat) {
        return false;
    }
    uint64_t count = read_gpr(machine, CX, size) - 1;
    write_gpr(machine, CX, size, count);
    if (count == 0) {
        return false;
    }
    if (instruction->operation != OP_CMPS && instruction->operation != OP_SCAS) {
        return true;
    }
    bool equal = machine->rflags & RFLAGS_ZF;
    return equal == (instruction->repeat == REPEAT_EQUAL);
}

static int execute_string(const struct instruction *instruction, struct machine *machine)
{
    uint8_t operation = instruction->operation;
    bool compares = operation == OP_CMPS || operation == OP_SCAS;

    if (instruction->repeat && read_gpr(machine, CX, instruction->address_size) == 0) {
        return EXECUTE_DONE;
    }
    int error =
        compares ? string_compare(instruction, machine) : string_transfer(instruction, machine);
    if (error) {
        return error;
    }
    if (operation == OP_MOVS || operation == OP_CMPS || operation == OP_LODS) {
        advance_pointer(instruction, machine, SI);
    }
    if (operation != OP_LODS) {
        advance_pointer(instruction, machine, DI);
    }
    return repeat_goes_on(instruction, machine) ? EXECUTE_REPEAT : EXECUTE_DONE;
}

int execute(const struct instruction *instruction, struct machine *machine)
{
    switch (instruction->operation) {
    case OP_MOV:
    case OP_MOVZX:
    case OP_MOVSX:
    case OP_MOVBE:
        return execute_move(instruction, machine);
    case OP_CMOVCC:
        return execute_conditional_move(instruction, machine);
    case OP_SETCC:
        return write_operand(instruction, machine, &instruction->destination,
                             alu_condition_holds(instruction->condition, machine->rflags));
    case OP_XCHG:
    case OP_XADD:
        return execute_exchange(instruction, machine);
    case OP_CMPXCHG:
        return execute_compare_exchange(instruction, machine);
    case OP_PUSH:
        return execute_push(instruction, machine);
    case OP_POP:
        return execute_pop(instruction, machine);
    case OP_MOVS:
    case OP_CMPS:
    case OP_STOS:
    case OP_LODS:
    case OP_SCAS:
        return execute_string(instruction, machine);
    case OP_FLUSH:
        return EXECUTE_DONE;
    case OP_BT:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
        if (instruction->source.kind == OPERAND_GPR) {
            return execute_bit_string(instruction, machine);
        }
        return execute_modify(instruction, machine);
    default:
        return execute_modify(instruction, machine);
    }
}
