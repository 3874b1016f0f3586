/* SPDX-License-Identifier: MIT */
/* A pair of 8259A interrupt controllers (Intel 8259A data sheet) as a PC has it. */
#include "guest/pic.h"

#include "apic/ioapic.h"
#include "apic/lapic.h"
#include "lib/bits.h"
#include "lib/error.h"

enum { FIRST_PORT = 0x20, SECOND_PORT = 0xA0, ELCR_PORT = 0x4D0, CASCADE = 2, IOAPIC_PIN = 0 };

enum { ICW1_ICW4 = 1 << 0, ICW1_SINGLE = 1 << 1, ICW1_LEVEL = 1 << 3, ICW1 = 1 << 4 };
enum { ICW2_VECTOR = 0xF8 };
enum { ICW4_AUTO_EOI = 1 << 1, ICW4_FULLY_NESTED = 1 << 4 };

/* OCW2: bits 7:5, with the input in bits 2:0. */
enum { OCW2_COMMAND_SHIFT = 5, OCW2_INPUT = 7 };
enum ocw2_command {
    ROTATE_CLEAR = 0,
    EOI = 1,
    NO_OPERATION = 2,
    EOI_SPECIFIC = 3,
    ROTATE_SET = 4,
    EOI_ROTATE = 5,
    SET_PRIORITY = 6,
    EOI_SPECIFIC_ROTATE = 7,
};

enum {
    OCW3 = 1 << 3,
    OCW3_READ_ISR = 1 << 0,
    OCW3_READ = 1 << 1,
    OCW3_POLL = 1 << 2,
    OCW3_SPECIAL_MASK = 1 << 5,
    OCW3_SET_SPECIAL_MASK = 1 << 6,
};

enum { POLL_INTERRUPT = 1 << 7 };

/* ELCR: the system timer, keyboard, cascade, clock and coprocessor are always edge-triggered. */
enum { ELCR_FIRST = 0xF8, ELCR_SECOND = 0xDE };

/* --- One chip --------------------------------------------------------------------------------- */

static uint8_t level_inputs(const struct pic_chip *chip)
{
    return chip->level_all ? 0xFF : chip->level;
}

/* The input with the highest priority among some, or -1. */
static int highest(const struct pic_chip *chip, uint8_t inputs)
{
    for (unsigned i = 1; i <= 8 && inputs != 0; i++) {
        unsigned input = (chip->lowest + i) % 8;
        if ((inputs & BIT32(input)) != 0) {
            return (int)input;
        }
    }
    return -1;
}

/* 0: the highest priority. */
static unsigned rank(const struct pic_chip *chip, int input)
{
    return (unsigned)(input - chip->lowest - 1) % 8;
}

/*
 * The request that may interrupt now, or -1. What is in service holds back its own and lower
 * priorities; not what is masked in special mask mode, and not the cascade's own input in special
 * fully nested mode, as the other chip knows better.
 */
static int request(const struct pic_chip *chip)
{
    uint8_t in_service = chip->isr;
    int wanted = highest(chip, (uint8_t)(chip->irr & ~chip->imr));

    if (chip->special_mask) {
        in_service &= (uint8_t)~chip->imr;
    }
    if (chip->fully_nested) {
        in_service &= (uint8_t)~BIT32(CASCADE);
    }
    int served = highest(chip, in_service);
    bool free = served < 0 || rank(chip, wanted) < rank(chip, served);
    return chip->initialized && wanted >= 0 && free ? wanted : -1;
}

/*
 * A request is latched by a rise, or follows a level; either is gone when the line falls. INT stays:
 * the processor that acknowledges it then gets input 7 ("Default IR7").
 */
static void set_input(struct pic_chip *chip, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)BIT32(input);
    bool rises = level && (chip->lines & bit) == 0;

    if (!level) {
        chip->lines &= (uint8_t)~bit;
        chip->irr &= (uint8_t)~bit;
        return;
    }
    chip->lines |= bit;
    if (rises || (level_inputs(chip) & bit) != 0) {
        chip->irr |= bit;
    }
}

static void rotate_to(struct pic_chip *chip, int lowest)
{
    chip->lowest = (uint8_t)lowest;
}

/* INTA, or a poll: the input, or -1 when nothing asks any more. */
static int accept(struct pic_chip *chip)
{
    int input = request(chip);

    chip->output = false;
    if (input < 0) {
        return -1;
    }
    if ((level_inputs(chip) & BIT32(input)) == 0) {
        chip->irr &= (uint8_t)~BIT32(input);
    }
    if (!chip->auto_eoi) {
        chip->isr |= (uint8_t)BIT32(input);
    } else if (chip->rotate) {
        rotate_to(chip, input);
    }
    return input;
}

/* --- The pair --------------------------------------------------------------------------------- */

/* Whether INT can rise as the masks are. */
static bool can_interrupt(const struct pic *pic)
{
    uint8_t first = (uint8_t)~pic->chips[0].imr, second = (uint8_t)~pic->chips[1].imr;
    bool cascade = (first & BIT32(CASCADE)) != 0;

    return pic->chips[0].initialized &&
           ((first & ~BIT32(CASCADE)) != 0 || (cascade && second != 0));
}

static void drive(struct pic *pic, bool level)
{
    struct apic_vm *apic = &pic->vm->apic;

    if (level) {
        apic_vm_set_extint_source(apic, APIC_EXTINT_LIVE);
    }
    lapic_set_lint0(apic->lapics[0], level);
    ioapic_set_line(apic, IOAPIC_PIN, level);
    if (!level && !can_interrupt(pic)) {
        apic_vm_set_extint_source(apic, APIC_EXTINT_QUIET);
    }
}

/* A rise of a line: INT follows requests, but does not fall with them. */
static void raise(struct pic *pic)
{
    struct pic_chip *first = &pic->chips[0], *second = &pic->chips[1];

    if (!second->output && request(second) >= 0) {
        second->output = true;
        set_input(first, CASCADE, true);
    }
    if (!first->output && request(first) >= 0) {
        first->output = true;
        drive(pic, true);
    }
}

/* Masks, priorities or what is in service changed: INT is what they say. */
static void reevaluate(struct pic *pic)
{
    struct pic_chip *first = &pic->chips[0], *second = &pic->chips[1];

    if (second->output && request(second) < 0) {
        second->output = false;
        set_input(first, CASCADE, false);
    }
    if (first->output && request(first) < 0) {
        first->output = false;
        drive(pic, false);
    }
    raise(pic);
}

/* The masks changed: interrupts may have become possible, or impossible. */
static void masks_changed(struct pic *pic)
{
    reevaluate(pic);
    if (!pic->chips[0].output) {
        apic_vm_set_extint_source(&pic->vm->apic,
                                  can_interrupt(pic) ? APIC_EXTINT_LIVE : APIC_EXTINT_QUIET);
    }
}

void pic_set_line(struct pic *pic, unsigned irq, bool level)
{
    spin_lock(&pic->lock);
    set_input(&pic->chips[irq / 8], irq % 8, level);
    raise(pic);
    spin_unlock(&pic->lock);
}

/* The second chip's part of the INTA cycle; its INT falls, and rises again if more waits there. */
static int accept_second(struct pic *pic)
{
    int input = accept(&pic->chips[1]);

    set_input(&pic->chips[0], CASCADE, false);
    return pic->chips[1].vector + (input < 0 ? 7 : input);
}

int pic_acknowledge(struct vm *vm)
{
    struct pic *pic = vm->pic;

    spin_lock(&pic->lock);
    struct pic_chip *first = &pic->chips[0];
    int input = accept(first);
    int vector = input == CASCADE ? accept_second(pic) : first->vector + (input < 0 ? 7 : input);
    drive(pic, false);
    raise(pic);
    spin_unlock(&pic->lock);
    return vector;
}

/* --- Registers -------------------------------------------------------------------------------- */

/* "Initialization Command Words": the edge sense is reset too, so a line must rise anew. */
static void write_icw1(struct pic_chip *chip, uint8_t value)
{
    *chip = (struct pic_chip){
        .lines = chip->lines,
        .level = chip->level,
        .output = chip->output,
        .lowest = 7,
        .next_icw = 2,
        .wants_icw4 = (value & ICW1_ICW4) != 0,
        .single = (value & ICW1_SINGLE) != 0,
        .level_all = (value & ICW1_LEVEL) != 0,
    };
}

static void write_icw(struct pic_chip *chip, uint8_t value, bool cascades)
{
    unsigned after;

    switch (chip->next_icw) {
    case 2:
        chip->vector = value & ICW2_VECTOR;
        after = chip->single ? 4 : 3;
        break;
    case 3: /* how the chips are wired is no matter of programming here */
        after = 4;
        break;
    default:
        chip->auto_eoi = (value & ICW4_AUTO_EOI) != 0;
        chip->fully_nested = cascades && (value & ICW4_FULLY_NESTED) != 0;
        after = 0;
    }
    chip->next_icw = after == 4 && !chip->wants_icw4 ? 0 : (uint8_t)after;
    if (chip->next_icw == 0) {
        chip->irr = chip->lines & level_inputs(chip);
        chip->initialized = true;
    }
}

static void end_of_interrupt(struct pic_chip *chip, int input, bool rotate)
{
    if (input < 0) {
        return;
    }
    chip->isr &= (uint8_t)~BIT32(input);
    if (rotate) {
        rotate_to(chip, input);
    }
}

/* In special mask mode a non-specific EOI does not see what is masked. */
static int served(const struct pic_chip *chip)
{
    return highest(chip, chip->special_mask ? (uint8_t)(chip->isr & ~chip->imr) : chip->isr);
}

static void write_ocw2(struct pic_chip *chip, uint8_t value)
{
    int input = value & OCW2_INPUT;

    switch ((enum ocw2_command)(value >> OCW2_COMMAND_SHIFT)) {
    case ROTATE_CLEAR:
    case ROTATE_SET:
        chip->rotate = value >> OCW2_COMMAND_SHIFT == ROTATE_SET;
        break;
    case EOI:
    case EOI_ROTATE:
        end_of_interrupt(chip, served(chip), value >> OCW2_COMMAND_SHIFT == EOI_ROTATE);
        break;
    case EOI_SPECIFIC:
    case EOI_SPECIFIC_ROTATE:
        end_of_interrupt(chip, input, value >> OCW2_COMMAND_SHIFT == EOI_SPECIFIC_ROTATE);
        break;
    case SET_PRIORITY:
        rotate_to(chip, input);
        break;
    case NO_OPERATION:
        break;
    }
}

static void write_ocw3(struct pic_chip *chip, uint8_t value)
{
    if ((value & OCW3_SET_SPECIAL_MASK) != 0) {
        chip->special_mask = (value & OCW3_SPECIAL_MASK) != 0;
    }
    if ((value & OCW3_POLL) != 0) {
        chip->poll = true;
    } else if ((value & OCW3_READ) != 0) {
        chip->reads_isr = (value & OCW3_READ_ISR) != 0;
    }
}

static void write_command(struct pic_chip *chip, uint8_t value)
{
    if ((value & ICW1) != 0) {
        write_icw1(chip, value);
    } else if ((value & OCW3) != 0) {
        write_ocw3(chip, value);
    } else {
        write_ocw2(chip, value);
    }
}

/* "Poll Command": the read is the acknowledge. */
static uint8_t poll(struct pic *pic, unsigned index)
{
    struct pic_chip *chip = &pic->chips[index];
    int input = accept(chip);

    chip->poll = false;
    if (index == 1) {
        set_input(&pic->chips[0], CASCADE, false);
    } else {
        drive(pic, false);
    }
    reevaluate(pic);
    return input < 0 ? 0 : (uint8_t)(POLL_INTERRUPT | input);
}

static uint8_t read_register(struct pic *pic, unsigned index, uint64_t offset)
{
    const struct pic_chip *chip = &pic->chips[index];

    if (chip->poll) {
        return poll(pic, index);
    }
    if (offset == 1) {
        return chip->imr;
    }
    return chip->reads_isr ? chip->isr : chip->irr;
}

static void write_register(struct pic *pic, unsigned index, uint64_t offset, uint8_t value)
{
    struct pic_chip *chip = &pic->chips[index];

    if (offset == 0) {
        write_command(chip, value);
    } else if (chip->next_icw != 0) {
        write_icw(chip, value, index == 0);
    } else {
        chip->imr = value;
    }
    masks_changed(pic);
}

/* The chips are 8 bits wide: a wider access is one to each port in turn. */
static uint64_t read_chip(struct pic *pic, unsigned index, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    spin_lock(&pic->lock);
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)read_register(pic, index, offset + i) << (8 * i);
    }
    spin_unlock(&pic->lock);
    return value;
}

static void write_chip(struct pic *pic, unsigned index, uint64_t offset, unsigned size,
                       uint64_t value)
{
    spin_lock(&pic->lock);
    for (unsigned i = 0; i < size; i++) {
        write_register(pic, index, offset + i, (uint8_t)(value >> (8 * i)));
    }
    spin_unlock(&pic->lock);
}

static uint64_t read_first(void *device, uint64_t offset, unsigned size)
{
    return read_chip(device, 0, offset, size);
}

static void write_first(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    write_chip(device, 0, offset, size, value);
}

static uint64_t read_second(void *device, uint64_t offset, unsigned size)
{
    return read_chip(device, 1, offset, size);
}

static void write_second(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    write_chip(device, 1, offset, size, value);
}

static uint64_t read_elcr(void *device, uint64_t offset, unsigned size)
{
    const struct pic *pic = device;

    return size == 2 ? pic->chips[0].level | pic->chips[1].level << 8 : pic->chips[offset].level;
}

/* An input that becomes level-triggered asks if its line is up. */
static void write_elcr(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    static const uint8_t writable[] = { ELCR_FIRST, ELCR_SECOND };
    struct pic *pic = device;

    spin_lock(&pic->lock);
    for (unsigned i = 0; i < size; i++) {
        struct pic_chip *chip = &pic->chips[offset + i];
        chip->level = (uint8_t)(value >> (8 * i)) & writable[offset + i];
        chip->irr |= (uint8_t)(chip->lines & chip->level);
    }
    reevaluate(pic);
    spin_unlock(&pic->lock);
}

/* --- Life ------------------------------------------------------------------------------------- */

static void program(struct pic *pic, unsigned index, uint8_t vector, uint8_t icw3, uint8_t mask)
{
    write_register(pic, index, 0, ICW1 | ICW1_ICW4);
    write_register(pic, index, 1, vector);
    write_register(pic, index, 1, icw3);
    write_register(pic, index, 1, 1); /* 8086 mode */
    write_register(pic, index, 1, mask);
}

void pic_reset(struct pic *pic, bool firmware)
{
    spin_lock(&pic->lock);
    for (unsigned i = 0; i < 2; i++) {
        struct pic_chip *chip = &pic->chips[i];
        *chip = (struct pic_chip){ .lines = chip->lines, .imr = 0xFF, .lowest = 7 };
    }
    drive(pic, false);
    if (firmware) {
        program(pic, 1, PIC_FIRMWARE_VECTOR_2, CASCADE, 0xFF);
        program(pic, 0, PIC_FIRMWARE_VECTOR, BIT32(CASCADE),
                (uint8_t) ~(BIT32(0) | BIT32(CASCADE)));
    }
    spin_unlock(&pic->lock);
}

int pic_init(struct pic *pic, struct vm *vm)
{
    static const struct {
        uint16_t port;
        struct io_ops ops;
    } table[] = {
        { FIRST_PORT, { read_first, write_first } },
        { SECOND_PORT, { read_second, write_second } },
        { ELCR_PORT, { read_elcr, write_elcr } },
    };

    *pic = (struct pic){ .vm = vm };
    vm->pic = pic;
    vm->acknowledge_extint = pic_acknowledge;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        int error = vm_add_io(vm, table[i].port, 2, &table[i].ops, pic);
        if (error != RIVET_OK) {
            return error;
        }
    }
    return RIVET_OK;
}
