/* SPDX-License-Identifier: MIT */
/* Rivet's command line: finding words, and naming those that are wrong. */
/* links: arch/options.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "arch/options.h"
#include "lib/log.h"

static char warnings[512];

void log_warn(const char *format, ...)
{
    va_list args;
    size_t length = strlen(warnings);
    va_start(args, format);
    vsnprintf(warnings + length, sizeof(warnings) - length, format, args);
    va_end(args);
    strcat(warnings, "\n");
}

static const char *check(const char *line)
{
    warnings[0] = '\0';
    options_init(line);
    options_check();
    return warnings;
}

static void finds_values(void **state)
{
    (void)state;
    char value[8];
    assert_true(options_find("a=1 console=com2  hold", "console", value, sizeof(value)));
    assert_string_equal(value, "com2");
    assert_true(options_find("hold", "hold", value, sizeof(value)));
    assert_string_equal(value, "");
    assert_true(options_find("x=", "x", value, sizeof(value)));
    assert_string_equal(value, "");
    assert_true(options_find("x=a=b", "x", value, sizeof(value)));
    assert_string_equal(value, "a=b");
    assert_true(options_find("\tx=1 ", "x", NULL, 0));
}

static void whole_names_only(void **state)
{
    (void)state;
    assert_false(options_find("consoles=com1 console2=x", "console", NULL, 0));
    assert_false(options_find("holding", "hold", NULL, 0));
    assert_false(options_find("ho", "hold", NULL, 0));
    assert_false(options_find("", "hold", NULL, 0));
    assert_false(options_find("   ", "hold", NULL, 0));
    assert_false(options_find("=x", "x", NULL, 0));
}

static void the_last_one_counts(void **state)
{
    (void)state;
    char value[8];
    assert_true(options_find("log=info log=debug", "log", value, sizeof(value)));
    assert_string_equal(value, "debug");
}

static void long_values_are_cut(void **state)
{
    (void)state;
    char value[4];
    assert_true(options_find("x=abcdef", "x", value, sizeof(value)));
    assert_string_equal(value, "abc");
}

static void remembers_the_line(void **state)
{
    (void)state;
    options_init("apicv=off hold");
    assert_true(option_is("apicv", "off"));
    assert_false(option_is("apicv", "on"));
    assert_false(option_is("apicv", "of"));
    assert_false(option_is("log", "debug"));
    assert_true(option_given("hold"));
    assert_false(option_given("gdb"));
}

static void says_nothing_of_good_words(void **state)
{
    (void)state;
    assert_string_equal(check(""), "");
    assert_string_equal(check(" console=com1 log=debug  apicv=off gdb=com2 hold "), "");
    assert_string_equal(check("console=vga console=com2 log=info apicv=on apicv=toggle"), "");
}

static void names_bad_words(void **state)
{
    (void)state;
    assert_string_equal(check("consle=com1"), "options: unknown word \"consle=com1\"\n");
    assert_string_equal(check("=x"), "options: unknown word \"=x\"\n");
    assert_string_equal(check("console=com3"),
                        "options: \"console=com3\": expected console=com1|com2|vga\n");
    assert_string_equal(check("console=com"),
                        "options: \"console=com\": expected console=com1|com2|vga\n");
    assert_string_equal(check("console="),
                        "options: \"console=\": expected console=com1|com2|vga\n");
    assert_string_equal(check("console"), "options: \"console\": expected console=com1|com2|vga\n");
    assert_string_equal(check("hold=yes"), "options: \"hold=yes\": hold takes no value\n");
    assert_string_equal(check("a hold b"),
                        "options: unknown word \"a\"\noptions: unknown word \"b\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_values),        cmocka_unit_test(whole_names_only),
        cmocka_unit_test(the_last_one_counts), cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(remembers_the_line),  cmocka_unit_test(says_nothing_of_good_words),
        cmocka_unit_test(names_bad_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
