/* SPDX-License-Identifier: MIT */
/* Words of a module's command line, and the numbers in them. Pure logic. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of somebody else's text, not terminated. */
struct word {
    const char *text;
    size_t length;
};

/* The next word at *text, separated by spaces or tabs; moves *text behind it. False at the end. */
bool word_next(const char **text, struct word *word);

/* Whether the word is exactly that text. */
bool word_is(struct word word, const char *text);

/* Whether the word is "NAME=VALUE" with that NAME; value gets what follows the equals sign. */
bool word_value(struct word word, const char *name, struct word *value);

/* Decimal number without sign, at most max. ERR_INVALID when it is none, ERR_RANGE when larger. */
int word_number(struct word word, uint64_t max, uint64_t *number);

/* A decimal number with K, M or G behind it (also lower case), in bytes. ERR_INVALID, ERR_RANGE. */
int word_size(struct word word, uint64_t *bytes);

/*
 * A list of numbers and ranges, as "0,2,4-6", each at most max, into list (capacity entries), in
 * the order given. ERR_INVALID when malformed, ERR_RANGE for a number above max or too many of
 * them.
 */
int word_list(struct word word, unsigned max, uint8_t *list, unsigned capacity, unsigned *count);
