/* SPDX-License-Identifier: MIT */
/* Instruction decoder for accesses to emulated memory (SDM volume 2, chapter "Instruction Format"). */

#include "vmx/decode.h"

#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/opcodes.h"

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

struct decoder {
    const uint8_t *bytes;
    unsigned available, position;
    bool overrun; /* a byte beyond available was asked for */
    enum decode_mode mode;
    int segment; /* override, or -1 */
    bool operand_prefix, address_prefix;
    uint8_t rep; /* F2H, F3H or 0 */
    uint8_t rex; /* 0 when there is none */
    uint8_t modrm;
    struct instruction *out;
};

/* The next size bytes, little endian; zeros beyond the end. */
static uint64_t take(struct decoder *decoder, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        if (decoder->position >= decoder->available) {
            decoder->overrun = true;
            return 0;
        }
        value |= (uint64_t)decoder->bytes[decoder->position++] << (8 * i);
    }
    return value;
}

static int64_t take_signed(struct decoder *decoder, unsigned size)
{
    unsigned shift = 64 - 8 * size;
    return (int64_t)(take(decoder, size) << shift) >> shift;
}

/* In 64-bit mode an ES, CS, SS or DS prefix is ignored, also when it follows FS or GS. */
static void override_segment(struct decoder *decoder, int segment)
{
    if (decoder->mode != DECODE_64 || segment >= SEGMENT_FS) {
        decoder->segment = segment;
    }
}

static bool take_legacy_prefix(struct decoder *decoder, uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2E:
    case 0x36:
    case 0x3E:
        override_segment(decoder, (byte >> 3) & 3);
        return true;
    case 0x64:
    case 0x65:
        override_segment(decoder, SEGMENT_FS + (byte & 1));
        return true;
    case 0x66:
        decoder->operand_prefix = true;
        return true;
    case 0x67:
        decoder->address_prefix = true;
        return true;
    case 0xF0:
        decoder->out->lock = true;
        return true;
    case 0xF2:
    case 0xF3:
        decoder->rep = byte;
        return true;
    default:
        return false;
    }
}

/* Take all prefixes and return the first opcode byte. A REX prefix counts only directly before it. */
static uint8_t take_prefixes(struct decoder *decoder)
{
    while (!decoder->overrun) {
        uint8_t byte = (uint8_t)take(decoder, 1);
        if (take_legacy_prefix(decoder, byte)) {
            decoder->rex = 0;
        } else if (decoder->mode == DECODE_64 && (byte & 0xF0) == 0x40) {
            decoder->rex = byte;
        } else {
            return byte;
        }
    }
    return 0;
}

static const struct opcode *take_opcode(struct decoder *decoder)
{
    uint8_t byte = take_prefixes(decoder);
    if (byte != 0x0F) {
        decoder->out->condition = byte & 15;
        return opcode_one_byte(byte);
    }
    byte = (uint8_t)take(decoder, 1);
    decoder->out->condition = byte & 15;
    if (byte != 0x38) {
        return opcode_two_byte(byte);
    }
    return opcode_three_byte((uint8_t)take(decoder, 1));
}

static uint8_t address_size(const struct decoder *decoder)
{
    if (!decoder->address_prefix) {
        return (uint8_t)decoder->mode;
    }
    return decoder->mode == DECODE_32 ? 2 : 4;
}

static uint8_t operand_size(const struct decoder *decoder, uint8_t conditions)
{
    bool prefix = decoder->operand_prefix && !(conditions & ONLY_66);
    if (decoder->mode == DECODE_64) {
        if (decoder->rex & REX_W) {
            return 8;
        }
        if (prefix) {
            return 2;
        }
        return conditions & DEFAULT_64 ? 8 : 4;
    }
    bool word = (decoder->mode == DECODE_16) != prefix;
    return word && !(conditions & NEVER_16) ? 2 : 4;
}

static bool conditions_hold(const struct decoder *decoder, uint8_t conditions)
{
    bool mode64 = decoder->mode == DECODE_64;
    if ((conditions & ONLY_64) && !mode64) {
        return false;
    }
    if ((conditions & NOT_64) && mode64) {
        return false;
    }
    if ((conditions & NO_66) && decoder->operand_prefix) {
        return false;
    }
    if ((conditions & ONLY_66) && !decoder->operand_prefix) {
        return false;
    }
    if ((conditions & NO_F2) && decoder->rep == 0xF2) {
        return false;
    }
    return !((conditions & NO_REP) && decoder->rep);
}

static void set_segment(struct decoder *decoder, bool stack_based)
{
    uint8_t segment = stack_based ? SEGMENT_SS : SEGMENT_DS;
    decoder->out->memory.segment = decoder->segment >= 0 ? (uint8_t)decoder->segment : segment;
}

static void take_memory_16(struct decoder *decoder)
{
    enum { BX = 3, BP = 5, SI = 6, DI = 7 };
    static const int8_t registers[8][2] = {
        { BX, SI },          { BX, DI },          { BP, SI },          { BP, DI },
        { SI, NO_REGISTER }, { DI, NO_REGISTER }, { BP, NO_REGISTER }, { BX, NO_REGISTER },
    };
    struct memory_operand *memory = &decoder->out->memory;
    unsigned mod = decoder->modrm >> 6, rm = decoder->modrm & 7;

    memory->base = registers[rm][0];
    memory->index = registers[rm][1];
    if (mod == 0 && rm == 6) {
        memory->base = NO_REGISTER;
        memory->displacement = take_signed(decoder, 2);
    } else if (mod != 0) {
        memory->displacement = take_signed(decoder, mod);
    }
    set_segment(decoder, memory->base == BP);
}

static void take_sib(struct decoder *decoder, unsigned mod)
{
    struct memory_operand *memory = &decoder->out->memory;
    uint8_t sib = (uint8_t)take(decoder, 1);
    int8_t base = (int8_t)((sib & 7) | (decoder->rex & REX_B ? 8 : 0));
    int8_t index = (int8_t)((sib >> 3 & 7) | (decoder->rex & REX_X ? 8 : 0));

    if (index != 4) {
        memory->index = index;
        memory->scale = (uint8_t)(1 << (sib >> 6));
    }
    if (mod == 0 && (sib & 7) == 5) {
        memory->displacement = take_signed(decoder, 4);
    } else {
        memory->base = base;
    }
}

static void take_memory_32(struct decoder *decoder)
{
    struct memory_operand *memory = &decoder->out->memory;
    unsigned mod = decoder->modrm >> 6, rm = decoder->modrm & 7;

    if (rm == 4) {
        take_sib(decoder, mod);
    } else if (mod == 0 && rm == 5) {
        memory->rip_relative = decoder->mode == DECODE_64;
        memory->displacement = take_signed(decoder, 4);
    } else {
        memory->base = (int8_t)(rm | (decoder->rex & REX_B ? 8 : 0));
    }
    if (mod != 0) {
        memory->displacement = take_signed(decoder, mod == 1 ? 1 : 4);
    }
    set_segment(decoder, memory->base == 4 || memory->base == 5);
}

static void take_memory(struct decoder *decoder)
{
    if (decoder->out->address_size == 2) {
        take_memory_16(decoder);
    } else {
        take_memory_32(decoder);
    }
}

static struct operand gpr(const struct decoder *decoder, uint8_t size)
{
    uint8_t reg = (decoder->modrm >> 3) & 7;
    if (size == 1 && !decoder->rex && reg >= 4) {
        return (struct operand){ OPERAND_GPR_HIGH, 1, reg - 4 };
    }
    return (struct operand){ OPERAND_GPR, size, reg | (decoder->rex & REX_R ? 8 : 0) };
}

static struct operand source_string(struct decoder *decoder, uint8_t size)
{
    decoder->out->memory.base = 6;
    set_segment(decoder, false);
    return (struct operand){ OPERAND_MEMORY, size, 0 };
}

/* ES:rDI, which no prefix overrides; implied when the instruction also has seg:rSI. */
static struct operand destination_string(struct decoder *decoder, uint8_t size)
{
    if (decoder->out->memory.base == NO_REGISTER) {
        decoder->out->memory.base = 7;
        decoder->out->memory.segment = SEGMENT_ES;
    }
    return (struct operand){ OPERAND_MEMORY, size, 0 };
}

static struct operand offset_memory(struct decoder *decoder, uint8_t size)
{
    decoder->out->memory.displacement = (int64_t)take(decoder, decoder->out->address_size);
    set_segment(decoder, false);
    return (struct operand){ OPERAND_MEMORY, size, 0 };
}

static struct operand immediate(struct decoder *decoder, uint8_t encoded, uint8_t size)
{
    decoder->out->immediate = (uint64_t)take_signed(decoder, encoded);
    return (struct operand){ OPERAND_IMMEDIATE, size, 0 };
}

/* Memory whose size the operand size does not give. */
static struct operand special_memory(const struct decoder *decoder, enum spec spec)
{
    uint8_t size = 16;

    if (spec == EY) {
        size = decoder->rex & REX_W ? 8 : 4;
    } else if (spec == EP) {
        size = decoder->out->operand_size + 2;
    } else if (spec == EQ) {
        size = decoder->operand_prefix || decoder->rep ? 16 : 8;
    } else if (spec == ES && decoder->rep) {
        size = decoder->rep == 0xF3 ? 4 : 8;
    }
    return (struct operand){ OPERAND_MEMORY, size, 0 };
}

/* Implied memory at rSP or rBP; the decoder claims such forms only where the stack is 64 bits wide. */
static struct operand stack_memory(struct decoder *decoder, enum spec spec)
{
    enum { SP = 4, BP = 5 };
    uint8_t size = decoder->out->operand_size;
    decoder->out->address_size = 8;
    decoder->out->memory = (struct memory_operand){
        .segment = SEGMENT_SS,
        .base = spec == FRAME ? BP : SP,
        .index = NO_REGISTER,
        .scale = 1,
        .displacement = spec == PUSHED ? -(int64_t)size : 0,
    };
    return (struct operand){ OPERAND_MEMORY, size, 0 };
}

/* Operands in their encoded order: memory by ModRM has been taken, immediates follow it. */
static struct operand take_operand(struct decoder *decoder, enum spec spec)
{
    uint8_t size = decoder->out->operand_size;

    switch (spec) {
    case EB:
        return (struct operand){ OPERAND_MEMORY, 1, 0 };
    case EW:
        return (struct operand){ OPERAND_MEMORY, 2, 0 };
    case ED:
        return (struct operand){ OPERAND_MEMORY, 4, 0 };
    case EV:
        return (struct operand){ OPERAND_MEMORY, size, 0 };
    case GB:
        return gpr(decoder, 1);
    case GV:
        return gpr(decoder, size);
    case AB:
        return (struct operand){ OPERAND_GPR, 1, 0 };
    case AV:
        return (struct operand){ OPERAND_GPR, size, 0 };
    case OB:
        return offset_memory(decoder, 1);
    case OV:
        return offset_memory(decoder, size);
    case XB:
        return source_string(decoder, 1);
    case XV:
        return source_string(decoder, size);
    case YB:
        return destination_string(decoder, 1);
    case YV:
        return destination_string(decoder, size);
    case IS:
        return immediate(decoder, size > 4 ? 4 : size, size);
    case IB:
        return immediate(decoder, 1, size);
    case I8:
        return immediate(decoder, 1, 1);
    case I1:
        decoder->out->immediate = 1;
        return (struct operand){ OPERAND_IMMEDIATE, 1, 0 };
    case CL:
        return (struct operand){ OPERAND_GPR, 1, 1 };
    case EY:
    case EP:
    case EQ:
    case EX:
    case ES:
        return special_memory(decoder, spec);
    case PUSHED:
    case POPPED:
    case FRAME:
        return stack_memory(decoder, spec);
    case IE:
        return immediate(decoder, 3, 4);
    case NONE:
        break;
    }
    return (struct operand){ OPERAND_NONE, 0, 0 };
}

static bool has_modrm(const struct opcode *opcode)
{
    return (opcode->destination >= EB && opcode->destination <= ES) ||
           (opcode->source >= EB && opcode->source <= ES);
}

static bool is_byte(enum spec spec)
{
    return spec == EB || spec == GB || spec == AB || spec == OB || spec == XB || spec == YB;
}

static bool is_string(uint8_t operation)
{
    return operation >= OP_MOVS && operation <= OP_SCAS;
}

/* LOCK is defined for instructions that read and write their memory destination. */
static bool lock_allowed(const struct instruction *instruction)
{
    if (instruction->destination.kind != OPERAND_MEMORY) {
        return false;
    }
    switch (instruction->operation) {
    case OP_ADD:
    case OP_OR:
    case OP_ADC:
    case OP_SBB:
    case OP_AND:
    case OP_SUB:
    case OP_XOR:
    case OP_BTS:
    case OP_BTR:
    case OP_BTC:
    case OP_NOT:
    case OP_NEG:
    case OP_INC:
    case OP_DEC:
    case OP_XCHG:
    case OP_XADD:
    case OP_CMPXCHG:
        return true;
    default:
        return false;
    }
}

static void take_operands(struct decoder *decoder, const struct opcode *opcode)
{
    struct instruction *out = decoder->out;

    out->operation = opcode->operation;
    out->operand_size =
        is_byte(opcode->destination) ? 1 : operand_size(decoder, opcode->conditions);
    if (is_string(opcode->operation) && decoder->rep) {
        out->repeat = decoder->rep == 0xF3 ? REPEAT_EQUAL : REPEAT_NOT_EQUAL;
    }
    out->destination = take_operand(decoder, opcode->destination);
    out->source = take_operand(decoder, opcode->source);
}

static int decode_body(struct decoder *decoder)
{
    struct instruction *out = decoder->out;
    struct opcode opcode = *take_opcode(decoder);

    if (decoder->overrun || opcode.operation == OP_NONE) {
        return ERR_INVALID;
    }
    out->address_size = address_size(decoder);
    if (has_modrm(&opcode)) {
        decoder->modrm = (uint8_t)take(decoder, 1);
        if (decoder->overrun || decoder->modrm >= 0xC0) {
            return ERR_INVALID;
        }
        opcode = opcode_of_group(opcode, decoder->modrm);
        take_memory(decoder);
    }
    if (opcode.operation == OP_NONE || !conditions_hold(decoder, opcode.conditions)) {
        return ERR_INVALID;
    }
    take_operands(decoder, &opcode);
    if (out->lock && !lock_allowed(out)) {
        return ERR_INVALID;
    }
    return (int)decoder->position;
}

int decode(const uint8_t *bytes, unsigned length, enum decode_mode mode, struct instruction *out)
{
    struct decoder decoder = {
        .bytes = bytes,
        .available = length < INSTRUCTION_MAX_LENGTH ? length : INSTRUCTION_MAX_LENGTH,
        .mode = mode,
        .segment = -1,
        .out = out,
    };
    *out = (struct instruction){
        .memory = { .base = NO_REGISTER, .index = NO_REGISTER, .scale = 1 },
    };
    int result = decode_body(&decoder);
    if (decoder.overrun) {
        return length < INSTRUCTION_MAX_LENGTH ? ERR_RANGE : ERR_INVALID;
    }
    if (result > 0) {
        out->length = (uint8_t)result;
    }
    return result;
}
