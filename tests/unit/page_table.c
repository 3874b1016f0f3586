/* SPDX-License-Identifier: MIT */
/* Page tables: largest pages, splitting, unmapping, running out of memory. */
/* links: arch/page_table.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "arch/page_table.h"
#include "lib/error.h"

enum { POOL_PAGES = 64 };

static uint8_t *pool;
static unsigned used;
static unsigned limit;

static void *alloc_page(void)
{
    return used == limit ? NULL : pool + PAGE_SIZE * used++;
}

static int setup(void **state)
{
    (void)state;
    pool = aligned_alloc(PAGE_SIZE, PAGE_SIZE * POOL_PAGES);
    for (size_t i = 0; i < PAGE_SIZE * POOL_PAGES; i++) {
        pool[i] = 0;
    }
    used = 0;
    limit = POOL_PAGES;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(pool);
    return 0;
}

static void one_gib_pages(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    assert_int_equal(page_table_map(&table, 0, GIB(4), PTE_DATA), 0);
    assert_int_equal(used, 2); /* PML4 and one PDPT */
    assert_int_equal(page_table_lookup(&table, GIB(3) + 5), GIB(3) | PTE_DATA | PTE_LARGE);
}

/* A page elsewhere than at its own address; nothing around it is mapped. */
static void open_page(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    uint64_t *entry = page_table_open_page(&table, ~0ULL << 39 | 5 * PAGE_SIZE);
    assert_int_equal(used, 4); /* PML4, PDPT, PD, PT */
    assert_ptr_equal(entry, (uint64_t *)(void *)(pool + 3 * PAGE_SIZE) + 5);
    assert_int_equal(*entry, 0);
    assert_ptr_equal(page_table_open_page(&table, ~0ULL << 39 | 6 * PAGE_SIZE), entry + 1);
    assert_int_equal(used, 4);
    limit = used;
    assert_null(page_table_open_page(&table, 0));
}

static void open_page_of_a_larger_one(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    assert_int_equal(page_table_map(&table, 0, GIB(1), PTE_DATA), 0);
    assert_int_equal(*page_table_open_page(&table, MIB(3)), MIB(3) | PTE_DATA);
    assert_int_equal(page_table_lookup(&table, MIB(5)), MIB(4) | PTE_DATA | PTE_LARGE);
}

static void two_mib_pages(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, false, alloc_page);
    assert_int_equal(page_table_map(&table, 0, GIB(4), PTE_DATA), 0);
    assert_int_equal(used, 2 + 4);
    assert_int_equal(page_table_lookup(&table, GIB(3) + 5), GIB(3) | PTE_DATA | PTE_LARGE);
}

static void small_pages_at_the_edges(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    assert_int_equal(page_table_map(&table, MIB(2) - PAGE_SIZE, MIB(2) + 2 * PAGE_SIZE, PTE_TEXT),
                     0);
    assert_int_equal(page_table_lookup(&table, MIB(2) - PAGE_SIZE),
                     (MIB(2) - PAGE_SIZE) | PTE_TEXT);
    assert_int_equal(page_table_lookup(&table, MIB(2)), MIB(2) | PTE_TEXT | PTE_LARGE);
    assert_int_equal(page_table_lookup(&table, MIB(4)), MIB(4) | PTE_TEXT);
    assert_int_equal(page_table_lookup(&table, MIB(4) + PAGE_SIZE), 0);
    assert_int_equal(page_table_lookup(&table, MIB(2) - 2 * PAGE_SIZE), 0);
}

static void splits_keep_the_rest(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    page_table_map(&table, 0, GIB(2), PTE_DEVICE);
    assert_int_equal(page_table_map(&table, GIB(1) + MIB(4), PAGE_SIZE, PTE_RODATA), 0);
    assert_int_equal(page_table_lookup(&table, 0), PTE_DEVICE | PTE_LARGE);
    assert_int_equal(page_table_lookup(&table, GIB(1)), GIB(1) | PTE_DEVICE | PTE_LARGE);
    assert_int_equal(page_table_lookup(&table, GIB(1) + MIB(4)), (GIB(1) + MIB(4)) | PTE_RODATA);
    assert_int_equal(page_table_lookup(&table, GIB(1) + MIB(4) + PAGE_SIZE),
                     (GIB(1) + MIB(4) + PAGE_SIZE) | PTE_DEVICE);
    assert_int_equal(page_table_lookup(&table, GIB(1) + MIB(6)),
                     (GIB(1) + MIB(6)) | PTE_DEVICE | PTE_LARGE);
}

static void unmapping_makes_a_hole(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    page_table_map(&table, 0, GIB(1), PTE_DATA);
    assert_true(page_table_is_mapped(&table, 0, GIB(1)));
    assert_int_equal(page_table_map(&table, MIB(8), PAGE_SIZE, PTE_NONE), 0);
    assert_int_equal(page_table_lookup(&table, MIB(8)), 0);
    assert_false(page_table_is_mapped(&table, 0, GIB(1)));
    assert_true(page_table_is_mapped(&table, 0, MIB(8)));
    assert_false(page_table_is_mapped(&table, 0, MIB(8) + 1));
    assert_true(page_table_is_mapped(&table, MIB(8) + PAGE_SIZE, GIB(1) - MIB(8) - PAGE_SIZE));
    assert_false(page_table_is_mapped(&table, GIB(1) - 1, 2));
    assert_true(page_table_is_mapped(&table, MIB(8), 0));
}

static void bounds(void **state)
{
    (void)state;
    struct page_table table;
    page_table_init(&table, true, alloc_page);
    assert_int_equal(page_table_map(&table, 1, PAGE_SIZE, PTE_DATA), ERR_RANGE);
    assert_int_equal(page_table_map(&table, 0, 1, PTE_DATA), ERR_RANGE);
    assert_int_equal(page_table_map(&table, PAGE_TABLE_LIMIT, PAGE_SIZE, PTE_DATA), ERR_RANGE);
    assert_int_equal(page_table_map(&table, -PAGE_SIZE, 2 * PAGE_SIZE, PTE_DATA), ERR_RANGE);
    assert_int_equal(page_table_map(&table, PAGE_TABLE_LIMIT - PAGE_SIZE, PAGE_SIZE, PTE_DATA), 0);
    assert_true(page_table_is_mapped(&table, PAGE_TABLE_LIMIT - 1, 1));
    assert_false(page_table_is_mapped(&table, PAGE_TABLE_LIMIT - 1, 2));
    assert_false(page_table_is_mapped(&table, UINT64_MAX, 2));
    assert_int_equal(page_table_lookup(&table, PAGE_TABLE_LIMIT), 0);
}

static void says_when_memory_ends(void **state)
{
    (void)state;
    struct page_table table;
    limit = 0;
    assert_int_equal(page_table_init(&table, true, alloc_page), ERR_NO_MEMORY);
    for (unsigned pages = 1; pages < 4; pages++) {
        limit = used + pages;
        assert_int_equal(page_table_init(&table, true, alloc_page), 0);
        assert_int_equal(page_table_map(&table, 0, PAGE_SIZE, PTE_DATA), ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_gib_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(open_page, setup, teardown),
        cmocka_unit_test_setup_teardown(open_page_of_a_larger_one, setup, teardown),
        cmocka_unit_test_setup_teardown(two_mib_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(small_pages_at_the_edges, setup, teardown),
        cmocka_unit_test_setup_teardown(splits_keep_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(unmapping_makes_a_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_memory_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
