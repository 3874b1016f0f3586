/* SPDX-License-Identifier: MIT */
/* All there is of a BIOS: code at the reset vector, and the vectors of real-address mode. */
#include "guest/firmware.h"

#include "guest/fields.h"
#include "guest/power.h"

enum { RESET_VECTOR = FIRMWARE_START + 0xFFF0 };

/* Where IBM's BIOS has these handlers, and programs look for them. */
enum { TIMER_HANDLER = 0xFEA5, RETURN_HANDLER = 0xFF53, SEGMENT = FIRMWARE_START >> 4 };
enum { VECTORS = 256, TIMER_VECTOR = 8 };

void firmware_write(const struct ram *ram)
{
    static const uint8_t code[] = {
        0xBA,
        RESET_CONTROL_PORT & 0xFF,
        RESET_CONTROL_PORT >> 8, /* mov dx, port */
        0xB0,
        RESET_CONTROL_FULL, /* mov al, value */
        0xEE,               /* out dx, al */
        0xF4,               /* hlt */
        0xEB,
        0xFD, /* jmp to the hlt */
    };

    ram_write(ram, RESET_VECTOR, code, sizeof(code));
}

void firmware_write_vectors(const struct ram *ram)
{
    static const uint8_t timer[] = {
        0x1E,                         /* push ds */
        0x50,                         /* push ax */
        0xB8, 0x40, 0x00,             /* mov ax, 40h */
        0x8E, 0xD8,                   /* mov ds, ax */
        0x66, 0xFF, 0x06, 0x6C, 0x00, /* inc dword [6Ch] */
        0xB0, 0x20,                   /* mov al, 20h */
        0xE6, 0x20,                   /* out 20h, al: EOI */
        0x58,                         /* pop ax */
        0x1F,                         /* pop ds */
        0xCF,                         /* iret */
    };
    static const uint8_t iret = 0xCF;
    uint8_t vectors[VECTORS * 4];

    for (unsigned i = 0; i < VECTORS; i++) {
        uint16_t offset = i == TIMER_VECTOR ? TIMER_HANDLER : RETURN_HANDLER;
        put16(vectors + (size_t)i * 4, offset);
        put16(vectors + (size_t)i * 4 + 2, SEGMENT);
    }
    ram_write(ram, 0, vectors, sizeof(vectors));
    ram_write(ram, FIRMWARE_START + TIMER_HANDLER, timer, sizeof(timer));
    ram_write(ram, FIRMWARE_START + RETURN_HANDLER, &iret, sizeof(iret));
}
