/* SPDX-License-Identifier: MIT */
/*
 * All there is of a BIOS: code at the reset vector that resets the machine, and for a VM with an 8259
 * pair the interrupt vectors of real-address mode. A vCPU comes there by
 * INIT (SDM volume 3, "First Instruction Executed"), an operating system by a jump to F000:FFF0,
 * which is how Linux restarts a machine with hardware-reduced ACPI.
 */
#pragma once

#include <stdint.h>

#include "guest/ram.h"

/* The BIOS segment, and where the CPU sees it again at the top of the first 4 GiB. */
enum { FIRMWARE_START = 0xF0000, FIRMWARE_SIZE = 0x10000 };
#define FIRMWARE_ALIAS 0xFFFF0000ULL

/* Write the code into cleared guest memory. The first MiB of RAM must be one piece. Pure logic. */
void firmware_write(const struct ram *ram);

/*
 * Also the interrupt vector table: all vectors return, and 08H, the timer's, first counts the ticks at
 * 40:6C and sends its EOI, as every PC's BIOS does. Pure logic.
 */
void firmware_write_vectors(const struct ram *ram);
