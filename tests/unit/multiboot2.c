/* SPDX-License-Identifier: MIT */
/* Multiboot2 boot information: good, cut and malformed. Each buffer is a heap block of its size. */
/* links: boot/multiboot2.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "boot/multiboot2.h"

static struct boot_info info;
static uint8_t *data;
static uint32_t size;

static void append(const void *bytes, uint32_t count)
{
    data = realloc(data, size + count);
    memcpy(data + size, bytes, count);
    size += count;
}

static void append32(uint32_t value)
{
    append(&value, sizeof(value));
}

static void append64(uint64_t value)
{
    append(&value, sizeof(value));
}

static void pad(void)
{
    while (size % 8 != 0) {
        append("", 1);
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&info, 0, sizeof(info));
    size = 0;
    append32(0); /* total size, set by read() */
    append32(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(data);
    data = NULL;
    return 0;
}

static const char *read(void)
{
    memcpy(data, &size, sizeof(size));
    return multiboot2_read(MULTIBOOT2_LOADER_MAGIC, data, &info);
}

static void end(void)
{
    append32(0);
    append32(8);
}

static void cmdline(const char *text)
{
    append32(1);
    append32((uint32_t)(8 + strlen(text) + 1));
    append(text, (uint32_t)strlen(text) + 1);
    pad();
}

static void module(uint32_t start, uint32_t stop, const char *text)
{
    append32(3);
    append32((uint32_t)(16 + strlen(text) + 1));
    append32(start);
    append32(stop);
    append(text, (uint32_t)strlen(text) + 1);
    pad();
}

static void map_header(uint32_t entries, uint32_t entry_size)
{
    append32(6);
    append32(16 + entries * entry_size);
    append32(entry_size);
    append32(0);
}

static void map_entry(uint64_t start, uint64_t length, uint32_t type)
{
    append64(start);
    append64(length);
    append32(type);
    append32(0);
}

static void rsdp(uint32_t type, uint32_t bytes, char fill)
{
    append32(type);
    append32(8 + bytes);
    for (uint32_t i = 0; i < bytes; i++) {
        append(&fill, 1);
    }
    pad();
}

static void reads_everything(void **state)
{
    (void)state;
    cmdline("console=com1 hold");
    module(0x200000, 0x200123, "kernel vm=a -- x");
    append32(99); /* a tag we do not know, with odd size */
    append32(9);
    append("?", 1);
    pad();
    module(0x300000, 0x300000, "");
    map_header(2, 24);
    map_entry(0, 0x9FC00, 1);
    map_entry(0x100000000, 0x40000000, 2);
    end();
    assert_null(read());
    assert_string_equal(info.cmdline, "console=com1 hold");
    assert_int_equal(info.module_count, 2);
    assert_int_equal(info.modules[0].start, 0x200000);
    assert_int_equal(info.modules[0].size, 0x123);
    assert_string_equal(info.modules[0].cmdline, "kernel vm=a -- x");
    assert_int_equal(info.modules[1].size, 0);
    assert_int_equal(info.region_count, 2);
    assert_int_equal(info.regions[1].start, 0x100000000);
    assert_int_equal(info.regions[1].size, 0x40000000);
    assert_int_equal(info.regions[1].type, 2);
    assert_int_equal(info.rsdp_size, 0);
}

static void the_new_rsdp_wins(void **state)
{
    (void)state;
    rsdp(15, 36, 'n');
    rsdp(14, 20, 'o');
    end();
    assert_null(read());
    assert_int_equal(info.rsdp_size, 36);
    assert_int_equal(info.rsdp[0], 'n');
    assert_int_equal(info.rsdp[35], 'n');
}

static void an_overlong_rsdp_is_cut(void **state)
{
    (void)state;
    rsdp(14, 20, 'o');
    rsdp(15, 100, 'n');
    end();
    assert_null(read());
    assert_int_equal(info.rsdp_size, 36);
    assert_int_equal(info.rsdp[0], 'n');
}

static void longer_map_entries(void **state)
{
    (void)state;
    map_header(2, 32);
    map_entry(0x1000, 0x2000, 1);
    append64(~0ULL);
    map_entry(0x5000, 0x1000, 3);
    append64(~0ULL);
    end();
    assert_null(read());
    assert_int_equal(info.region_count, 2);
    assert_int_equal(info.regions[1].start, 0x5000);
    assert_int_equal(info.regions[1].type, 3);
}

static void long_command_lines_are_cut(void **state)
{
    (void)state;
    char line[3000];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    cmdline(line);
    module(0, 0, line);
    end();
    assert_null(read());
    assert_int_equal(strlen(info.cmdline), BOOT_CMDLINE_SIZE - 1);
    assert_int_equal(strlen(info.modules[0].cmdline), BOOT_CMDLINE_SIZE - 1);
}

static void an_unterminated_command_line_ends_with_its_tag(void **state)
{
    (void)state;
    append32(1);
    append32(12);
    append("abcd", 4);
    pad();
    end();
    assert_null(read());
    assert_string_equal(info.cmdline, "abcd");
}

static void refuses_another_loader(void **state)
{
    (void)state;
    end();
    assert_string_equal(multiboot2_read(0x2BADB002, data, &info),
                        "not started by a multiboot2 boot loader: use GRUB's command multiboot2");
}

static void refuses_too_much(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= BOOT_MAX_MODULES; i++) {
        module(0, 1, "m");
    }
    end();
    assert_string_equal(read(), "multiboot2: more than 32 modules");
    setup(NULL);
    map_header(BOOT_MAX_REGIONS + 1, 24);
    for (unsigned i = 0; i <= BOOT_MAX_REGIONS; i++) {
        map_entry(i, 1, 1);
    }
    end();
    assert_string_equal(read(), "multiboot2: the memory map has more than 128 entries");
}

static void refuses_malformed_tags(void **state)
{
    (void)state;
    module(2, 1, "backwards");
    end();
    assert_string_equal(read(), "multiboot2: the boot loader's module tag is malformed");
    setup(NULL);
    append32(3);
    append32(12); /* no room for the end address */
    append64(0);
    end();
    assert_string_equal(read(), "multiboot2: the boot loader's module tag is malformed");
    setup(NULL);
    map_header(0, 20); /* entries too short */
    end();
    assert_string_equal(read(), "multiboot2: the boot loader's memory map tag is malformed");
    setup(NULL);
    append32(6);
    append32(8); /* no map header */
    end();
    assert_string_equal(read(), "multiboot2: the boot loader's memory map tag is malformed");
}

/* However the information is cut, nothing behind it is read (the sanitizer watches). */
static void every_truncation_is_noticed(void **state)
{
    (void)state;
    cmdline("abc");
    module(0, 1, "kernel");
    map_header(1, 24);
    map_entry(0, 1, 1);
    rsdp(14, 20, 'o');
    end();
    uint32_t whole = size;
    for (uint32_t cut = 8; cut < whole; cut++) {
        uint8_t *copy = malloc(cut);
        memcpy(copy, data, cut);
        memcpy(copy, &cut, sizeof(cut));
        memset(&info, 0, sizeof(info));
        assert_non_null(multiboot2_read(MULTIBOOT2_LOADER_MAGIC, copy, &info));
        free(copy);
    }
    for (uint32_t tiny = 0; tiny < 8; tiny++) {
        memcpy(data, &tiny, sizeof(tiny));
        assert_non_null(multiboot2_read(MULTIBOOT2_LOADER_MAGIC, data, &info));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(the_new_rsdp_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(an_overlong_rsdp_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(longer_map_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(long_command_lines_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unterminated_command_line_ends_with_its_tag, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(refuses_another_loader, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_too_much, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_malformed_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_is_noticed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
