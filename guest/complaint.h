/* SPDX-License-Identifier: MIT */
/* One sentence that says what is wrong with a file or a word of the configuration. */
#pragma once

#include "lib/error.h"

enum { COMPLAINT_SIZE = 192 };

struct complaint {
    char text[COMPLAINT_SIZE];
};

/* Write the sentence (cut when too long). Formats: see lib/print.h. Any context. */
void complaint_write(struct complaint *complaint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The same as an expression of value ERR_INVALID, for checks that end with `return COMPLAIN(...)`.
 */
#define COMPLAIN(...) (complaint_write(__VA_ARGS__), ERR_INVALID)
