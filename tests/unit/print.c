/* SPDX-License-Identifier: MIT */
/* Formatted print: the C library's snprintf is the oracle for everything both know. */
/* links: lib/print.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bits.h"
#include "lib/print.h"

/* Both print the same and return the same, with room and cut to any shorter size. */
#define CHECK(...)                                                  \
    do {                                                            \
        char ours[128], theirs[128];                                \
        for (size_t size = 0; size <= sizeof(ours); size++) {       \
            memset(ours, 'x', sizeof(ours));                        \
            memset(theirs, 'x', sizeof(theirs));                    \
            int our_length = lib_snprintf(ours, size, __VA_ARGS__); \
            int their_length = snprintf(theirs, size, __VA_ARGS__); \
            assert_int_equal(our_length, their_length);             \
            assert_memory_equal(ours, theirs, sizeof(ours));        \
        }                                                           \
    } while (0)

#pragma GCC diagnostic ignored "-Wformat-truncation"

static void text(void **state)
{
    (void)state;
    CHECK("%s", "");
    CHECK("plain");
    CHECK("100%% of %s and %c", "this", '!');
    CHECK("[%10s][%-10s][%.2s][%-6.3s][%*s][%-*s]", "abc", "abc", "abc", "abcdef", 5, "x", 5, "y");
    CHECK("[%5c][%-5c]", 'a', 'b');
    CHECK("[%.*s]", 3, "abcdef");
}

static void precision_bounds_the_read(void **state)
{
    (void)state;
    char ours[8];
    char *unterminated = malloc(3);
    memcpy(unterminated, "abc", 3);
    lib_snprintf(ours, sizeof(ours), "%.3s", unterminated);
    assert_string_equal(ours, "abc");
    free(unterminated);
}

static void numbers(void **state)
{
    (void)state;
    static const int64_t values[] = { 0,          1,         -1,       9,         10,
                                      255,        256,       -128,     INT32_MAX, INT32_MIN,
                                      UINT32_MAX, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        int64_t v = values[i];
        CHECK("%d %u %x %X %i", (int)v, (unsigned)v, (unsigned)v, (unsigned)v, (int)v);
        CHECK("%ld %lu %lx %lX", (long)v, (unsigned long)v, (unsigned long)v, (unsigned long)v);
        CHECK("%lld %llu %llx", (long long)v, (unsigned long long)v, (unsigned long long)v);
        CHECK("%hd %hu %hhd %hhu %hhx", (short)v, (unsigned short)v, (signed char)v,
              (unsigned char)v, (unsigned char)v);
        CHECK("%zu %zx", (size_t)v, (size_t)v);
        CHECK("%" PRId64 " %016" PRIx64, v, (uint64_t)v);
    }
}

static void widths(void **state)
{
    (void)state;
    for (int width = -12; width <= 12; width++) {
        CHECK("[%*d][%*x][%*u]", width, -345, width, 0x12ab, width, 7u);
    }
    CHECK("[%08d][%-8d][%8d][%08x][%02x]", -42, -42, -42, 0xbeef, 0x5);
    CHECK("[%.5d][%8.5d][%-8.5x][%.3u]", -42, -42, 0xab, 123456u);
    CHECK("[%20ld][%-20lx]", LONG_MIN, ULONG_MAX);
}

static void pointers(void **state)
{
    (void)state;
    CHECK("[%p][%20p][%-20p]", (void *)0x1234, (void *)0xfee00000UL, (void *)0x10);
}

static void what_only_ours_defines(void **state)
{
    (void)state;
    char ours[32];
    const char *volatile nothing = NULL;
    const char *unknown = "a%qb";
    const char *cut_off = "a%";
    lib_snprintf(ours, sizeof(ours), "%s", nothing);
    assert_string_equal(ours, "(null)");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    lib_snprintf(ours, sizeof(ours), unknown);
    assert_string_equal(ours, "a%qb");
    lib_snprintf(ours, sizeof(ours), cut_off);
    assert_string_equal(ours, "a");
#pragma GCC diagnostic pop
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text),     cmocka_unit_test(precision_bounds_the_read),
        cmocka_unit_test(numbers),  cmocka_unit_test(widths),
        cmocka_unit_test(pointers), cmocka_unit_test(what_only_ours_defines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
