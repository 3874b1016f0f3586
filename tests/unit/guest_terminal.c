/* SPDX-License-Identifier: MIT */
/* Several VMs on one console: whole lines with a prefix, prompts, focus, Ctrl-]. */
/* links: guest/terminal.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guest/terminal.h"

static char shown[2048];
static void (*input)(char byte);
static unsigned hints;
static struct terminal first, second;
static char first_got[16], second_got[16];

void console_write(const char *text, size_t size)
{
    strncat(shown, text, size);
}

void console_set_input_handler(void (*handler)(char byte))
{
    input = handler;
}

void log_info(const char *format, ...)
{
    assert_non_null(strstr(format, "Ctrl-]"));
    hints++;
}

static void receive(void *device, uint8_t byte)
{
    char *got = device;
    size_t length = strlen(got);

    got[length] = (char)byte;
    got[length + 1] = '\0';
}

static void put(struct terminal *terminal, const char *text)
{
    while (*text != '\0') {
        terminal_put(terminal, (uint8_t)*text++);
    }
}

static int start(bool several)
{
    shown[0] = first_got[0] = second_got[0] = '\0';
    hints = 0;
    terminal_init(&first, "a", receive, first_got);
    terminal_init(&second, "b", receive, second_got);
    terminal_focus(&first);
    terminal_start(several);
    return 0;
}

static int start_one(void **state)
{
    (void)state;
    return start(false);
}

/* No line of an earlier test may be left unfinished on the console. */
static int start_several(void **state)
{
    (void)state;
    start(true);
    put(&first, "\n");
    return start(true);
}

static void test_one_vm_passes_raw(void **state)
{
    (void)state;
    put(&first, "login\r\n\x1B[6n# ");
    assert_string_equal(shown, "login\r\n\x1B[6n# ");
}

static void test_lines_do_not_mix(void **state)
{
    (void)state;
    put(&first, "one ");
    put(&second, "TWO ");
    put(&first, "line\r\n");
    put(&second, "LINE\n");
    assert_string_equal(shown, "a| one line\nb| TWO LINE\n");
}

static void test_prompt_is_shown_and_goes_on(void **state)
{
    (void)state;
    put(&first, "# ");
    assert_string_equal(shown, "");
    terminal_flush(&first);
    assert_string_equal(shown, "a| # ");
    terminal_flush(&first);
    put(&first, "ls\n");
    put(&first, "file\n");
    assert_string_equal(shown, "a| # ls\na| file\n");
}

static void test_others_begin_behind_a_prompt(void **state)
{
    (void)state;
    put(&first, "# ");
    terminal_flush(&first);
    put(&second, "text\n");
    put(&first, "ls\n");
    assert_string_equal(shown, "a| # \nb| text\na| ls\n");
}

static void test_long_lines_are_not_lost(void **state)
{
    char line[1001];
    unsigned count = 0;

    (void)state;
    memset(line, 'x', 1000);
    line[1000] = '\0';
    put(&first, line);
    put(&first, "\n");
    for (const char *c = shown; *c != '\0'; c++) {
        count += *c == 'x';
    }
    assert_int_equal(count, 1000);
    assert_int_equal(strlen(shown), 3 + 1000 + 1);
}

static void test_input_goes_to_the_focus(void **state)
{
    (void)state;
    input('x');
    terminal_focus(&second);
    input('y');
    input(0x1D);
    input('z');
    assert_string_equal(first_got, "x");
    assert_string_equal(second_got, "yz");
    assert_int_equal(hints, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_vm_passes_raw, start_one),
        cmocka_unit_test_setup(test_lines_do_not_mix, start_several),
        cmocka_unit_test_setup(test_prompt_is_shown_and_goes_on, start_several),
        cmocka_unit_test_setup(test_others_begin_behind_a_prompt, start_several),
        cmocka_unit_test_setup(test_long_lines_are_not_lost, start_several),
        cmocka_unit_test_setup(test_input_goes_to_the_focus, start_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
