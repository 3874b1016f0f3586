/* SPDX-License-Identifier: MIT */
/* Names of Rivet's functions, from the table that tools/symtab embeds at build time. */
#pragma once

#include <stdint.h>

/*
 * Name of the function that address lies in and, in *offset, how far into it; NULL when the address
 * is outside the text. Any context.
 */
const char *symbol_find(uint64_t address, uint64_t *offset);
