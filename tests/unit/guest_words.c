/* SPDX-License-Identifier: MIT */
/* Words, numbers, sizes and lists of a module's command line. */
/* links: guest/words.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest/words.h"
#include "lib/error.h"

static struct word of(const char *text)
{
    return (struct word){ text, strlen(text) };
}

static void test_words_are_split_at_blanks(void **state)
{
    const char *text = "  kernel\tvm=a  --  x";
    struct word word;

    (void)state;
    assert_true(word_next(&text, &word));
    assert_true(word_is(word, "kernel"));
    assert_false(word_is(word, "kern"));
    assert_false(word_is(word, "kernels"));
    assert_true(word_next(&text, &word));
    assert_true(word_is(word, "vm=a"));
    assert_true(word_next(&text, &word));
    assert_true(word_is(word, "--"));
    assert_string_equal(text, "  x");
    assert_true(word_next(&text, &word));
    assert_false(word_next(&text, &word));
}

static void test_value_needs_the_whole_name(void **state)
{
    struct word value;

    (void)state;
    assert_true(word_value(of("mem=512M"), "mem", &value));
    assert_true(word_is(value, "512M"));
    assert_true(word_value(of("mem="), "mem", &value));
    assert_int_equal(value.length, 0);
    assert_false(word_value(of("mem"), "mem", &value));
    assert_false(word_value(of("memory=1G"), "mem", &value));
    assert_false(word_value(of("me=1G"), "mem", &value));
}

static void test_numbers(void **state)
{
    uint64_t number = 77;

    (void)state;
    assert_int_equal(word_number(of("0"), 9, &number), RIVET_OK);
    assert_int_equal(number, 0);
    assert_int_equal(word_number(of("16"), 16, &number), RIVET_OK);
    assert_int_equal(number, 16);
    assert_int_equal(word_number(of("17"), 16, &number), ERR_RANGE);
    assert_int_equal(word_number(of("9"), 8, &number), ERR_RANGE);
    assert_int_equal(word_number(of("18446744073709551615"), UINT64_MAX, &number), RIVET_OK);
    assert_true(number == UINT64_MAX);
    assert_int_equal(word_number(of("18446744073709551616"), UINT64_MAX, &number), ERR_RANGE);
    assert_int_equal(word_number(of("99999999999999999999999"), UINT64_MAX, &number), ERR_RANGE);
    assert_int_equal(word_number(of(""), 9, &number), ERR_INVALID);
    assert_int_equal(word_number(of("-1"), 9, &number), ERR_INVALID);
    assert_int_equal(word_number(of("1x"), 9, &number), ERR_INVALID);
    assert_int_equal(word_number(of("0x10"), 99, &number), ERR_INVALID);
}

static void test_sizes(void **state)
{
    uint64_t bytes;

    (void)state;
    assert_int_equal(word_size(of("4K"), &bytes), RIVET_OK);
    assert_int_equal(bytes, 4096);
    assert_int_equal(word_size(of("512m"), &bytes), RIVET_OK);
    assert_int_equal(bytes, 512 << 20);
    assert_int_equal(word_size(of("3G"), &bytes), RIVET_OK);
    assert_true(bytes == 3ULL << 30);
    assert_int_equal(word_size(of("17179869183G"), &bytes), RIVET_OK);
    assert_int_equal(word_size(of("17179869184G"), &bytes), ERR_RANGE);
    assert_int_equal(word_size(of("512"), &bytes), ERR_INVALID);
    assert_int_equal(word_size(of("M"), &bytes), ERR_INVALID);
    assert_int_equal(word_size(of("5T"), &bytes), ERR_INVALID);
    assert_int_equal(word_size(of("1.5G"), &bytes), ERR_INVALID);
    assert_int_equal(word_size(of(""), &bytes), ERR_INVALID);
}

static void test_lists(void **state)
{
    static const uint8_t expected[] = { 3, 0, 5, 6, 7 };
    uint8_t list[5];
    unsigned count;

    (void)state;
    assert_int_equal(word_list(of("3,0,5-7"), 7, list, 5, &count), RIVET_OK);
    assert_int_equal(count, 5);
    assert_memory_equal(list, expected, 5);
    assert_int_equal(word_list(of("2-2"), 7, list, 5, &count), RIVET_OK);
    assert_int_equal(count, 1);
    assert_int_equal(word_list(of("8"), 7, list, 5, &count), ERR_RANGE);
    assert_int_equal(word_list(of("0-5"), 7, list, 5, &count), ERR_RANGE);
    assert_int_equal(word_list(of("7-5"), 7, list, 5, &count), ERR_INVALID);
    assert_int_equal(word_list(of("1,,2"), 7, list, 5, &count), ERR_INVALID);
    assert_int_equal(word_list(of("1,"), 7, list, 5, &count), ERR_INVALID);
    assert_int_equal(word_list(of(""), 7, list, 5, &count), ERR_INVALID);
    assert_int_equal(word_list(of("1-2-3"), 7, list, 5, &count), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_split_at_blanks),
        cmocka_unit_test(test_value_needs_the_whole_name),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
