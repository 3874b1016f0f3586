/* SPDX-License-Identifier: MIT */
/* Instruction decoder for accesses to emulated memory (SDM volume 2, chapter "Instruction Format"). */

#include "vmx/decode.h"

#include "lib/bits.h"
#include "lib/error.h"

/* How an opcode names an operand, in the letters of the SDM's opcode maps. */
enum spec {
    NONE,
    EB,
    EW,
    ED,
    EV, /* memory by ModRM: byte, word, doubleword, operand size */
    GB,
    GV, /* register by ModRM.reg: byte, operand size */
    AB,
    AV, /* AL; rAX */
    OB,
    OV, /* memory by an offset in the instruction */
    XB,
    XV,
    YB,
    YV, /* memory at seg:rSI; at ES:rDI */
    IS, /* immediate of the destination's size, 4 bytes at most */
    IB, /* immediate byte, sign extended */
    I8, /* immediate byte that stays one: a count, a bit offset */
    I1, /* the number 1 */
    CL,
};

/* Conditions on mode and prefixes; the opcode is something else, or undefined, without them. */
enum {
    ONLY_64 = 1,    /* in 64-bit mode only */
    NOT_64 = 2,     /* not in 64-bit mode */
    DEFAULT_64 = 4, /* 64-bit mode: operand size is 8, or 2 with 66H */
    NO_66 = 8,      /* not with 66H */
    NO_REP = 16,    /* not with F2H or F3H */
    ONLY_66 = 32,   /* with 66H, which does not select the operand size */
    NEVER_16 = 64,  /* operand size is 4 or 8 */
};

struct opcode {
    uint8_t operation; /* or a group: GROUP_FIRST + row of groups[] */
    uint8_t destination, source;
    uint8_t conditions;
};

enum {
    GROUP_FIRST = 0x80,
    GROUP_1 = GROUP_FIRST,
    GROUP_1A,
    GROUP_2,
    GROUP_3,
    GROUP_4,
    GROUP_5,
    GROUP_8,
    GROUP_11,
    GROUP_15
};

/* Opcode groups: ModRM.reg selects. An operand that is NONE here comes from the opcode. */
#define MEMBER(name)        \
    {                       \
        .operation = (name) \
    }

static const struct opcode groups[][8] = {
    [GROUP_1 - GROUP_FIRST] = { MEMBER(OP_ADD), MEMBER(OP_OR), MEMBER(OP_ADC), MEMBER(OP_SBB),
                                MEMBER(OP_AND), MEMBER(OP_SUB), MEMBER(OP_XOR), MEMBER(OP_CMP) },
    [GROUP_1A - GROUP_FIRST] = { { .operation = OP_POP, .conditions = DEFAULT_64 } },
    [GROUP_2 - GROUP_FIRST] = { MEMBER(OP_ROL), MEMBER(OP_ROR), MEMBER(OP_RCL), MEMBER(OP_RCR),
                                MEMBER(OP_SHL), MEMBER(OP_SHR), MEMBER(OP_SHL), MEMBER(OP_SAR) },
    [GROUP_3 - GROUP_FIRST] = { { .operation = OP_TEST, .source = IS },
                                { .operation = OP_TEST, .source = IS },
                                MEMBER(OP_NOT),
                                MEMBER(OP_NEG) },
    [GROUP_4 - GROUP_FIRST] = { MEMBER(OP_INC), MEMBER(OP_DEC) },
    [GROUP_5 -
        GROUP_FIRST] = { MEMBER(OP_INC),
                         MEMBER(OP_DEC), [6] = { .operation = OP_PUSH, .conditions = DEFAULT_64 } },
    [GROUP_8 -
        GROUP_FIRST] = { [4] = MEMBER(OP_BT), MEMBER(OP_BTS), MEMBER(OP_BTR), MEMBER(OP_BTC) },
    [GROUP_11 - GROUP_FIRST] = { MEMBER(OP_MOV) },
    [GROUP_15 - GROUP_FIRST] = { [6] = { .operation = OP_FLUSH, .conditions = NO_REP | ONLY_66 },
                                 [7] = { .operation = OP_FLUSH, .conditions = NO_REP } },
};

#define ALU(opcode, operation)                                                      \
    [opcode] = { operation, EB, GB, 0 }, [(opcode) + 1] = { operation, EV, GV, 0 }, \
    [(opcode) + 2] = { operation, GB, EB, 0 }, [(opcode) + 3] = { operation, GV, EV, 0 }

static const struct opcode one_byte[256] = {
    ALU(0x00, OP_ADD),
    ALU(0x08, OP_OR),
    ALU(0x10, OP_ADC),
    ALU(0x18, OP_SBB),
    ALU(0x20, OP_AND),
    ALU(0x28, OP_SUB),
    ALU(0x30, OP_XOR),
    ALU(0x38, OP_CMP),
    [0x63] = { OP_MOVSX, GV, ED, ONLY_64 | NO_66 }, /* with 66H SDM and CPUs differ */
    [0x80] = { GROUP_1, EB, IS, 0 },
    [0x81] = { GROUP_1, EV, IS, 0 },
    [0x82] = { GROUP_1, EB, IS, NOT_64 },
    [0x83] = { GROUP_1, EV, IB, 0 },
    [0x84] = { OP_TEST, EB, GB, 0 },
    [0x85] = { OP_TEST, EV, GV, 0 },
    [0x86] = { OP_XCHG, EB, GB, 0 },
    [0x87] = { OP_XCHG, EV, GV, 0 },
    [0x88] = { OP_MOV, EB, GB, 0 },
    [0x89] = { OP_MOV, EV, GV, 0 },
    [0x8A] = { OP_MOV, GB, EB, 0 },
    [0x8B] = { OP_MOV, GV, EV, 0 },
    [0x8F] = { GROUP_1A, EV, NONE, 0 },
    [0xA0] = { OP_MOV, AB, OB, 0 },
    [0xA1] = { OP_MOV, AV, OV, 0 },
    [0xA2] = { OP_MOV, OB, AB, 0 },
    [0xA3] = { OP_MOV, OV, AV, 0 },
    [0xA4] = { OP_MOVS, YB, XB, 0 },
    [0xA5] = { OP_MOVS, YV, XV, 0 },
    [0xA6] = { OP_CMPS, XB, YB, 0 },
    [0xA7] = { OP_CMPS, XV, YV, 0 },
    [0xAA] = { OP_STOS, YB, AB, 0 },
    [0xAB] = { OP_STOS, YV, AV, 0 },
    [0xAC] = { OP_LODS, AB, XB, 0 },
    [0xAD] = { OP_LODS, AV, XV, 0 },
    [0xAE] = { OP_SCAS, AB, YB, 0 },
    [0xAF] = { OP_SCAS, AV, YV, 0 },
    [0xC0] = { GROUP_2, EB, I8, 0 },
    [0xC1] = { GROUP_2, EV, I8, 0 },
    [0xC6] = { GROUP_11, EB, IS, 0 },
    [0xC7] = { GROUP_11, EV, IS, 0 },
    [0xD0] = { GROUP_2, EB, I1, 0 },
    [0xD1] = { GROUP_2, EV, I1, 0 },
    [0xD2] = { GROUP_2, EB, CL, 0 },
    [0xD3] = { GROUP_2, EV, CL, 0 },
    [0xF6] = { GROUP_3, EB, NONE, 0 },
    [0xF7] = { GROUP_3, EV, NONE, 0 },
    [0xFE] = { GROUP_4, EB, NONE, 0 },
    [0xFF] = { GROUP_5, EV, NONE, 0 },
};

/* After 0FH. */
static const struct opcode two_byte[256] = {
    [0x40 ... 0x4F] = { OP_CMOVCC, GV, EV, 0 },
    [0x90 ... 0x9F] = { OP_SETCC, EB, NONE, 0 },
    [0xA3] = { OP_BT, EV, GV, 0 },
    [0xAB] = { OP_BTS, EV, GV, 0 },
    [0xAE] = { GROUP_15, EB, NONE, 0 },
    [0xB0] = { OP_CMPXCHG, EB, GB, 0 },
    [0xB1] = { OP_CMPXCHG, EV, GV, 0 },
    [0xB3] = { OP_BTR, EV, GV, 0 },
    [0xB6] = { OP_MOVZX, GV, EB, 0 },
    [0xB7] = { OP_MOVZX, GV, EW, 0 },
    [0xBA] = { GROUP_8, EV, I8, 0 },
    [0xBB] = { OP_BTC, EV, GV, 0 },
    [0xBE] = { OP_MOVSX, GV, EB, 0 },
    [0xBF] = { OP_MOVSX, GV, EW, 0 },
    [0xC0] = { OP_XADD, EB, GB, 0 },
    [0xC1] = { OP_XADD, EV, GV, 0 },
    [0xC3] = { OP_MOV, EV, GV, NO_66 | NO_REP | NEVER_16 }, /* MOVNTI */
};

/* After 0F 38H. */
static const struct opcode three_byte[256] = {
    [0xF0] = { OP_MOVBE, GV, EV, NO_REP },
    [0xF1] = { OP_MOVBE, EV, GV, NO_REP },
};

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
        return &one_byte[byte];
    }
    byte = (uint8_t)take(decoder, 1);
    decoder->out->condition = byte & 15;
    if (byte != 0x38) {
        return &two_byte[byte];
    }
    return &three_byte[take(decoder, 1)];
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
    case NONE:
        break;
    }
    return (struct operand){ OPERAND_NONE, 0, 0 };
}

static bool has_modrm(const struct opcode *opcode)
{
    return (opcode->destination >= EB && opcode->destination <= EV) ||
           (opcode->source >= EB && opcode->source <= EV);
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

/* Replace a group by its member that ModRM.reg names. */
static struct opcode resolve_group(const struct decoder *decoder, struct opcode opcode)
{
    if (opcode.operation < GROUP_FIRST) {
        return opcode;
    }
    const struct opcode *member =
        &groups[opcode.operation - GROUP_FIRST][(decoder->modrm >> 3) & 7];
    return (struct opcode){
        .operation = member->operation,
        .destination = opcode.destination,
        .source = member->source ? member->source : opcode.source,
        .conditions = opcode.conditions | member->conditions,
    };
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
        opcode = resolve_group(decoder, opcode);
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
