/* SPDX-License-Identifier: MIT */
/* Rivet's own command line: pure logic, compiled for the host too. */
#include "arch/options.h"

#include "lib/bits.h"
#include "lib/log.h"
#include "lib/string.h"

/* Every option there is. values: what follows '=', separated by '|'; NULL: a plain word. */
static const struct option {
    const char *name;
    const char *values;
} known[] = {
    { "console", "com1|com2|vga" },
    { "log", "info|debug" },
    { "apicv", "on|off|toggle" },
    { "state", "cycle" },
    { "gdb", "com2" },
    { "fault", "apic-page" },
    { "hold", NULL },
};

static const char *command_line = "";

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The next word at or behind *text, which moves behind it; length 0 at the end. */
static size_t next_word(const char **text, const char **word)
{
    while (is_space(**text)) {
        (*text)++;
    }
    *word = *text;
    while (**text != '\0' && !is_space(**text)) {
        (*text)++;
    }
    return (size_t)(*text - *word);
}

static size_t name_length(const char *word, size_t length)
{
    size_t i = 0;
    while (i < length && word[i] != '=') {
        i++;
    }
    return i;
}

/* Whether the length characters at text are the string. */
static bool equals(const char *text, size_t length, const char *string)
{
    return strlen(string) == length && strncmp(text, string, length) == 0;
}

static void copy(char *to, size_t size, const char *from, size_t length)
{
    size_t i = 0;
    for (; i < length && i + 1 < size; i++) {
        to[i] = from[i];
    }
    if (size > 0) {
        to[i] = '\0';
    }
}

bool options_find(const char *text, const char *name, char *value, size_t size)
{
    const char *word;
    size_t length;
    bool found = false;
    while ((length = next_word(&text, &word)) > 0) {
        size_t n = name_length(word, length);
        if (equals(word, n, name)) {
            size_t skip = n < length ? n + 1 : n;
            found = true;
            if (value != NULL) {
                copy(value, size, word + skip, length - skip);
            }
        }
    }
    return found;
}

void options_init(const char *text)
{
    command_line = text;
}

static const struct option *find_known(const char *word, size_t length)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (equals(word, length, known[i].name)) {
            return &known[i];
        }
    }
    return NULL;
}

/* Whether the value is one of "a|b|c". */
static bool is_one_of(const char *value, size_t length, const char *values)
{
    while (*values != '\0') {
        size_t n = 0;
        while (values[n] != '\0' && values[n] != '|') {
            n++;
        }
        if (n == length && strncmp(values, value, n) == 0) {
            return true;
        }
        values += values[n] == '|' ? n + 1 : n;
    }
    return false;
}

static void check_word(const char *word, size_t length)
{
    size_t n = name_length(word, length);
    const struct option *option = find_known(word, n);
    if (option == NULL) {
        log_warn("options: unknown word \"%.*s\"", (int)length, word);
    } else if (option->values == NULL) {
        if (n < length) {
            log_warn("options: \"%.*s\": %s takes no value", (int)length, word, option->name);
        }
    } else if (n == length || !is_one_of(word + n + 1, length - n - 1, option->values)) {
        log_warn("options: \"%.*s\": expected %s=%s", (int)length, word, option->name,
                 option->values);
    }
}

void options_check(void)
{
    const char *text = command_line;
    const char *word;
    size_t length;
    while ((length = next_word(&text, &word)) > 0) {
        check_word(word, length);
    }
}

bool option_is(const char *name, const char *value)
{
    char given[32];
    return options_find(command_line, name, given, sizeof(given)) && strcmp(given, value) == 0;
}

bool option_given(const char *name)
{
    return options_find(command_line, name, NULL, 0);
}
