/* SPDX-License-Identifier: MIT */
/* Formatted print into a buffer: pure logic, compiled for the host too. */
#include "lib/print.h"

#include <stdbool.h>
#include <stdint.h>

struct output {
    char *buffer;
    size_t size;
    size_t length; /* of the whole text, also what did not fit */
};

/* One conversion: "%-*.*lx" taken apart. */
struct conversion {
    bool left;
    bool zero;
    int width;
    int precision; /* -1: none given */
    int size;      /* bytes of the integer argument */
    char type;
};

static void put(struct output *out, char c)
{
    if (out->length + 1 < out->size) {
        out->buffer[out->length] = c;
    }
    out->length++;
}

static void pad(struct output *out, char c, int count)
{
    for (int i = 0; i < count; i++) {
        put(out, c);
    }
}

static void put_padded(struct output *out, const struct conversion *conv, const char *text,
                       int length)
{
    int padding = conv->width - length;
    if (!conv->left) {
        pad(out, ' ', padding);
    }
    for (int i = 0; i < length; i++) {
        put(out, text[i]);
    }
    if (conv->left) {
        pad(out, ' ', padding);
    }
}

static int bounded_length(const char *text, int limit)
{
    int length = 0;
    while ((limit < 0 || length < limit) && text[length] != '\0') {
        length++;
    }
    return length;
}

/* Digits of value into text (at least 20 bytes) from its end; returns how many. */
static int digits(char *end, uint64_t value, unsigned base, bool upper)
{
    const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    int count = 0;
    do {
        *--end = set[value % base];
        value /= base;
        count++;
    } while (value != 0);
    return count;
}

static void put_number(struct output *out, struct conversion *conv, const char *prefix,
                       uint64_t value)
{
    char text[24];
    unsigned base = conv->type == 'd' || conv->type == 'u' ? 10 : 16;
    int count = digits(text + sizeof(text), value, base, conv->type == 'X');
    int prefix_length = bounded_length(prefix, -1);
    int zeros = 0;
    if (conv->precision > count) {
        zeros = conv->precision - count;
    } else if (conv->zero && !conv->left && conv->precision < 0) {
        zeros = conv->width - count - prefix_length;
    }
    zeros = zeros > 0 ? zeros : 0;
    int padding = conv->width - count - prefix_length - zeros;
    pad(out, ' ', conv->left ? 0 : padding);
    for (; *prefix != '\0'; prefix++) {
        put(out, *prefix);
    }
    pad(out, '0', zeros);
    for (int i = 0; i < count; i++) {
        put(out, text[sizeof(text) - (size_t)count + (size_t)i]);
    }
    pad(out, ' ', conv->left ? padding : 0);
}

/* clang's analyzer takes what a pointer to a va_list points to as never started. */
/* NOLINTBEGIN(clang-analyzer-valist.Uninitialized) */
static const char *parse_number(const char *format, int *number, va_list *args)
{
    if (*format == '*') {
        *number = va_arg(*args, int);
        return format + 1;
    }
    *number = 0;
    while (*format >= '0' && *format <= '9') {
        *number = *number * 10 + (*format++ - '0');
    }
    return format;
}

static const char *parse_length(const char *format, int *size)
{
    *size = sizeof(int);
    if (*format == 'h') {
        *size = format[1] == 'h' ? 1 : 2;
        return format + (format[1] == 'h' ? 2 : 1);
    }
    if (*format == 'l') {
        *size = 8;
        return format + (format[1] == 'l' ? 2 : 1);
    }
    if (*format == 'z') {
        *size = 8;
        return format + 1;
    }
    return format;
}

/* Parse what follows '%'; returns the place behind the conversion's last character. */
static const char *parse(const char *format, struct conversion *conv, va_list *args)
{
    *conv = (struct conversion){ .precision = -1 };
    for (;; format++) {
        if (*format == '-') {
            conv->left = true;
        } else if (*format == '0') {
            conv->zero = true;
        } else {
            break;
        }
    }
    format = parse_number(format, &conv->width, args);
    if (conv->width < 0) {
        conv->left = true;
        conv->width = -conv->width;
    }
    if (*format == '.') {
        format = parse_number(format + 1, &conv->precision, args);
    }
    format = parse_length(format, &conv->size);
    conv->type = *format == 'i' ? 'd' : *format;
    return *format == '\0' ? format : format + 1;
}

static int64_t signed_argument(int size, va_list *args)
{
    if (size == 8) {
        return va_arg(*args, int64_t);
    }
    int value = va_arg(*args, int);
    if (size == 4) {
        return value;
    }
    return size == 2 ? (int16_t)value : (int8_t)value;
}

static uint64_t unsigned_argument(int size, va_list *args)
{
    if (size == 8) {
        return va_arg(*args, uint64_t);
    }
    unsigned value = va_arg(*args, unsigned);
    if (size == 4) {
        return value;
    }
    return size == 2 ? (uint16_t)value : (uint8_t)value;
}

static void put_signed(struct output *out, struct conversion *conv, int64_t value)
{
    if (value < 0) {
        put_number(out, conv, "-", -(uint64_t)value);
    } else {
        put_number(out, conv, "", (uint64_t)value);
    }
}

static void put_string(struct output *out, const struct conversion *conv, const char *text)
{
    if (text == NULL) {
        text = "(null)";
    }
    put_padded(out, conv, text, bounded_length(text, conv->precision));
}

static void put_conversion(struct output *out, struct conversion *conv, va_list *args)
{
    char c;
    switch (conv->type) {
    case 'd':
        put_signed(out, conv, signed_argument(conv->size, args));
        break;
    case 'u':
    case 'x':
    case 'X':
        put_number(out, conv, "", unsigned_argument(conv->size, args));
        break;
    case 'p':
        put_number(out, conv, "0x", (uintptr_t)va_arg(*args, void *));
        break;
    case 'c':
        c = (char)va_arg(*args, int);
        put_padded(out, conv, &c, 1);
        break;
    case 's':
        put_string(out, conv, va_arg(*args, const char *));
        break;
    case '%':
        put(out, '%');
        break;
    case '\0':
        break;
    default: /* not ours: shown as it stands, so that it is seen */
        put(out, '%');
        put(out, conv->type);
        break;
    }
}

/* NOLINTEND(clang-analyzer-valist.Uninitialized) */

int lib_vsnprintf(char *buffer, size_t size, const char *format, va_list args)
{
    struct output out = { .buffer = buffer, .size = size };
    va_list rest;
    va_copy(rest, args);
    while (*format != '\0') {
        if (*format != '%') {
            put(&out, *format++);
            continue;
        }
        struct conversion conv;
        format = parse(format + 1, &conv, &rest);
        put_conversion(&out, &conv, &rest);
    }
    va_end(rest);
    if (size > 0) {
        buffer[out.length < size ? out.length : size - 1] = '\0';
    }
    return (int)out.length;
}

int lib_snprintf(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = lib_vsnprintf(buffer, size, format, args);
    va_end(args);
    return length;
}
