/* SPDX-License-Identifier: MIT */
/* The physical allocator: good maps, and maps it must refuse. Its RAM is a mapping at 256 MiB. */
/* links: arch/extent.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "arch/memory.c" /* whole, to start each test with empty state */

#define RAM      MIB(256)
#define RAM_SIZE MIB(16)

/* What memory.c takes from elsewhere. */
uint8_t image_start[1], image_end[1];
static char message[256];
static jmp_buf stopped;

static void keep(const char *format, va_list args)
{
    vsnprintf(message, sizeof(message), format, args);
}

void log_info(const char *format, ...)
{
    (void)format;
}

void log_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep(format, args);
    va_end(args);
}

void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep(format, args);
    va_end(args);
    longjmp(stopped, 1);
}

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep(format, args);
    va_end(args);
    longjmp(stopped, 2);
}

static struct boot_info info;

static void region(uint64_t start, uint64_t size, uint32_t type)
{
    info.regions[info.region_count++] =
        (struct boot_region){ .start = start, .size = size, .type = type };
}

static int setup(void **state)
{
    (void)state;
    memset(&info, 0, sizeof(info));
    memset(&free_set, 0, sizeof(free_set));
    message[0] = '\0';
    memset((void *)RAM, 0xAA, RAM_SIZE);
    return 0;
}

/* Run memory_init; how it stopped: 0 not at all, 1 fatal, 2 panic. */
static int init(void)
{
    int how = setjmp(stopped);
    if (how == 0) {
        memory_init(&info);
    }
    return how;
}

static void hands_out_zeroed_aligned_memory(void **state)
{
    (void)state;
    region(RAM, RAM_SIZE, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(memory_free_bytes(), RAM_SIZE);
    assert_int_equal(memory_largest_piece(), RAM_SIZE);
    uint8_t *page = memory_alloc_page();
    uint8_t *big = memory_alloc(MIB(2) - 100, MIB(2));
    assert_ptr_equal(page, (void *)RAM);
    assert_ptr_equal(big, (void *)(RAM + MIB(2)));
    for (size_t i = 0; i < MIB(2); i++) {
        assert_int_equal(big[i], 0);
    }
    assert_int_equal(big[MIB(2)], 0xAA);
    memory_free(big, MIB(2) - 100);
    memory_free(page, PAGE_SIZE);
    assert_int_equal(memory_largest_piece(), RAM_SIZE);
    assert_null(memory_alloc(RAM_SIZE + 1, PAGE_SIZE));
    assert_null(memory_alloc(UINT64_MAX, PAGE_SIZE));
}

static void freeing_twice_is_our_bug(void **state)
{
    (void)state;
    region(RAM, RAM_SIZE, 1);
    assert_int_equal(init(), 0);
    void *page = memory_alloc_page();
    memory_free(page, PAGE_SIZE);
    if (setjmp(stopped) == 0) {
        memory_free(page, PAGE_SIZE);
        fail();
    }
}

static void keeps_modules_and_the_first_mib(void **state)
{
    (void)state;
    region(0, 0x9FC00, 1);
    region(0x9FC00, 0x400, 2);
    region(RAM + 0x800, RAM_SIZE - 0x800, 1);
    info.module_count = 1;
    info.modules[0] = (struct boot_module){ .start = RAM + MIB(1) + 5, .size = MIB(1) };
    assert_int_equal(init(), 0);
    assert_int_equal(memory_low_page(), 0x9E000);
    /* The page that begins below the RAM and the 257 that the module touches are not there. */
    assert_int_equal(memory_free_bytes(), RAM_SIZE - PAGE_SIZE - MIB(1) - PAGE_SIZE);
    assert_ptr_equal(memory_alloc_page(), (void *)(RAM + PAGE_SIZE));
}

static void no_low_page(void **state)
{
    (void)state;
    region(RAM, RAM_SIZE, 1);
    assert_int_equal(init(), 0);
    assert_int_equal(memory_low_page(), 0);
}

static void a_module_can_hold_the_low_page(void **state)
{
    (void)state;
    region(0, 0xA0000, 1);
    region(RAM, RAM_SIZE, 1);
    info.module_count = 1;
    info.modules[0] = (struct boot_module){ .start = 0x9F800, .size = 0x100 };
    assert_int_equal(init(), 0);
    assert_int_equal(memory_low_page(), 0x9E000);
}

static void same_type_may_overlap(void **state)
{
    (void)state;
    region(RAM, MIB(8), 1);
    region(RAM + MIB(4), MIB(12), 1);
    region(RAM + MIB(2), MIB(1), 1);
    assert_int_equal(init(), 0);
    assert_int_equal(memory_free_bytes(), RAM_SIZE);
}

static void refuses_different_types_that_overlap(void **state)
{
    (void)state;
    region(RAM, MIB(8), 1);
    region(RAM + MIB(8) - 1, MIB(1), 2);
    assert_int_equal(init(), 1);
    assert_string_equal(message, "memory map: 0x10000000+0x800000 type 1 overlaps "
                                 "0x107fffff+0x100000 type 2; firmware update needed");
}

static void refuses_a_region_that_wraps(void **state)
{
    (void)state;
    region(RAM, MIB(8), 1);
    region(UINT64_MAX - 10, 100, 1);
    assert_int_equal(init(), 1);
    assert_string_equal(message,
                        "memory map: entry 1, 0xfffffffffffffff5+0x64, goes beyond the end "
                        "of the address space; firmware update needed");
}

static void a_region_may_end_at_the_very_top(void **state)
{
    (void)state;
    region(RAM, RAM_SIZE, 1);
    region(UINT64_MAX - 0xFFF, 0x1000, 2);
    region(0x5000, 0, 7);
    assert_int_equal(init(), 0);
}

static void refuses_a_map_without_ram(void **state)
{
    (void)state;
    region(0, 0xA0000, 1);
    region(RAM, RAM_SIZE, 2);
    region(MIB(64) + 1, PAGE_SIZE, 1); /* RAM, but no whole page of it */
    assert_int_equal(init(), 1);
    assert_string_equal(message, "memory map: no usable RAM above 1 MiB in 3 entries");
}

static void refuses_an_empty_map(void **state)
{
    (void)state;
    assert_int_equal(init(), 1);
    assert_string_equal(message, "memory map: no usable RAM above 1 MiB in 0 entries");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(hands_out_zeroed_aligned_memory, setup),
        cmocka_unit_test_setup(freeing_twice_is_our_bug, setup),
        cmocka_unit_test_setup(keeps_modules_and_the_first_mib, setup),
        cmocka_unit_test_setup(no_low_page, setup),
        cmocka_unit_test_setup(a_module_can_hold_the_low_page, setup),
        cmocka_unit_test_setup(same_type_may_overlap, setup),
        cmocka_unit_test_setup(refuses_different_types_that_overlap, setup),
        cmocka_unit_test_setup(refuses_a_region_that_wraps, setup),
        cmocka_unit_test_setup(a_region_may_end_at_the_very_top, setup),
        cmocka_unit_test_setup(refuses_a_map_without_ram, setup),
        cmocka_unit_test_setup(refuses_an_empty_map, setup),
    };
    void *ram = mmap((void *)RAM, RAM_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (ram != (void *)RAM) {
        perror("mmap");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
