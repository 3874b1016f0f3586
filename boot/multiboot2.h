/* SPDX-License-Identifier: MIT */
/* Multiboot2 boot information (Multiboot2 Specification 2.0, 3.6), read into struct boot_info. */
#pragma once

#include <stdint.h>

#include "arch/boot_info.h"

enum { MULTIBOOT2_LOADER_MAGIC = 0x36D76289 };

/*
 * Copy everything Rivet needs out of the loader's memory, before anything can overwrite it. magic and
 * information are the loader's EAX and EBX. Returns NULL, or a sentence for fatal() that says what
 * cannot be used; *info then holds what came before. Command lines are cut to their room: a full one
 * is worth a warning. Pure logic but for reading the loader's memory. Boot CPU, once.
 */
const char *multiboot2_read(uint32_t magic, const void *information, struct boot_info *info);
