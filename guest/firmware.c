/* SPDX-License-Identifier: MIT */
/* All there is of a BIOS: code at the reset vector that resets the machine. */
#include "guest/firmware.h"

#include "guest/power.h"

enum { RESET_VECTOR = FIRMWARE_START + 0xFFF0 };

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
