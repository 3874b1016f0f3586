/* SPDX-License-Identifier: MIT */
/* Formatted print into a buffer: the subset of printf that Rivet uses. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/*
 * Formats: %d %i %u %x %X %c %s %p %% with flags '-', '0', width, '*', precision for %s, and the length
 * modifiers hh h l ll z (also PRIx64 and friends of <inttypes.h>). Always terminates when size > 0.
 * Returns the length the whole text would have had. Any context. Named with a prefix so that
 * host-compiled tests can link it beside the C library.
 */
int lib_vsnprintf(char *buffer, size_t size, const char *format, va_list args);
int lib_snprintf(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
