/* SPDX-License-Identifier: MIT */
/* Words of a module's command line, and the numbers in them. Pure logic. */
#include "guest/words.h"

#include "lib/error.h"
#include "lib/string.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool word_next(const char **text, struct word *word)
{
    const char *start = *text;

    while (is_blank(*start)) {
        start++;
    }
    const char *end = start;
    while (*end != '\0' && !is_blank(*end)) {
        end++;
    }
    *text = end;
    *word = (struct word){ start, (size_t)(end - start) };
    return end != start;
}

bool word_is(struct word word, const char *text)
{
    return strlen(text) == word.length && memcmp(word.text, text, word.length) == 0;
}

bool word_value(struct word word, const char *name, struct word *value)
{
    size_t length = strlen(name);

    if (word.length <= length || memcmp(word.text, name, length) != 0 || word.text[length] != '=') {
        return false;
    }
    *value = (struct word){ word.text + length + 1, word.length - length - 1 };
    return true;
}

int word_number(struct word word, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    bool too_large = false;

    for (size_t i = 0; i < word.length; i++) {
        unsigned digit = (unsigned)(word.text[i] - '0');
        if (digit > 9) {
            return ERR_INVALID;
        }
        too_large = too_large || __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, digit, &value) || value > max;
    }
    if (word.length == 0) {
        return ERR_INVALID;
    }
    if (too_large) {
        return ERR_RANGE;
    }
    *number = value;
    return RIVET_OK;
}

static unsigned unit_shift(char unit)
{
    switch (unit) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 0;
    }
}

int word_size(struct word word, uint64_t *bytes)
{
    uint64_t number;

    if (word.length < 2) {
        return ERR_INVALID;
    }
    unsigned shift = unit_shift(word.text[word.length - 1]);
    if (shift == 0) {
        return ERR_INVALID;
    }
    word.length--;
    int error = word_number(word, UINT64_MAX >> shift, &number);
    if (error == RIVET_OK) {
        *bytes = number << shift;
    }
    return error;
}

/* "4" or "4-6" into first and last. */
static int parse_range(struct word item, unsigned max, uint64_t *first, uint64_t *last)
{
    size_t dash = 0;

    while (dash < item.length && item.text[dash] != '-') {
        dash++;
    }
    int error = word_number((struct word){ item.text, dash }, max, first);
    if (error != RIVET_OK) {
        return error;
    }
    *last = *first;
    if (dash < item.length) {
        struct word rest = { item.text + dash + 1, item.length - dash - 1 };
        error = word_number(rest, max, last);
    }
    if (error == RIVET_OK && *last < *first) {
        return ERR_INVALID;
    }
    return error;
}

int word_list(struct word word, unsigned max, uint8_t *list, unsigned capacity, unsigned *count)
{
    const char *end = word.text + word.length;
    const char *start = word.text;

    *count = 0;
    for (const char *at = start; at <= end; at++) {
        if (at < end && *at != ',') {
            continue;
        }
        uint64_t first, last;
        int error = parse_range((struct word){ start, (size_t)(at - start) }, max, &first, &last);
        if (error != RIVET_OK) {
            return error;
        }
        for (uint64_t number = first; number <= last; number++) {
            if (*count == capacity) {
                return ERR_RANGE;
            }
            list[(*count)++] = (uint8_t)number;
        }
        start = at + 1;
    }
    return RIVET_OK;
}
