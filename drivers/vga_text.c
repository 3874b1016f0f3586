/* SPDX-License-Identifier: MIT */
/* The VGA text screen, 80 x 25, at B8000H. */
#include "drivers/vga_text.h"

#include <stdint.h>

#include "arch/port_io.h"

enum { COLUMNS = 80, ROWS = 25, TAB = 8, BLANK = 0x0720 /* light grey on black, space */ };

enum {
    CRTC_INDEX = 0x3D4,
    CRTC_DATA = 0x3D5,
    CRTC_CURSOR_HIGH = 0x0E,
    CRTC_CURSOR_LOW = 0x0F,
};

static volatile uint16_t *const screen = (volatile uint16_t *)0xB8000;
static unsigned column;
static unsigned row;

/* Where in an escape sequence: ESC, '[', parameters, final letter. */
static enum { TEXT, ESCAPE, SEQUENCE } state;

static void show_cursor(void)
{
    unsigned position = row * COLUMNS + column;
    outb(CRTC_INDEX, CRTC_CURSOR_HIGH);
    outb(CRTC_DATA, (uint8_t)(position >> 8));
    outb(CRTC_INDEX, CRTC_CURSOR_LOW);
    outb(CRTC_DATA, (uint8_t)position);
}

static void blank(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        screen[i] = BLANK;
    }
}

void vga_text_init(void)
{
    blank(0, ROWS * COLUMNS);
    show_cursor();
}

static void new_line(void)
{
    column = 0;
    if (row + 1 < ROWS) {
        row++;
        return;
    }
    for (unsigned i = 0; i < (ROWS - 1) * COLUMNS; i++) {
        screen[i] = screen[i + COLUMNS];
    }
    blank((ROWS - 1) * COLUMNS, ROWS * COLUMNS);
}

static void put_character(char byte)
{
    screen[row * COLUMNS + column] = (uint16_t)((BLANK & 0xFF00) | (uint8_t)byte);
    if (++column == COLUMNS) {
        new_line();
    }
}

static void put_text(char byte)
{
    switch (byte) {
    case '\033':
        state = ESCAPE;
        break;
    case '\n':
        new_line();
        break;
    case '\r':
        column = 0;
        break;
    case '\b':
        column -= column > 0 ? 1 : 0;
        break;
    case '\t':
        do {
            put_character(' ');
        } while (column % TAB != 0);
        break;
    default:
        put_character(byte);
        break;
    }
}

void vga_text_put(char byte)
{
    if (state == ESCAPE) {
        state = byte == '[' ? SEQUENCE : TEXT;
    } else if (state == SEQUENCE) {
        state = byte >= '@' && byte <= '~' ? TEXT : SEQUENCE;
    } else {
        put_text(byte);
        show_cursor();
    }
}
