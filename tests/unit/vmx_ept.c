/* SPDX-License-Identifier: MIT */
/*
 * Extended page tables: page sizes, splitting, lookups, views.
 * links: vmx/ept.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/ept.h"

enum { POOL_PAGES = 64 };

static uint8_t pool[POOL_PAGES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static unsigned pool_used;
static unsigned pool_limit;

/* arch/memory.h, for the code under test */
void *memory_alloc_page(void)
{
    if (pool_used == pool_limit) {
        return NULL;
    }
    memset(pool[pool_used], 0, PAGE_SIZE);
    return pool[pool_used++];
}

static const struct ept_features all_sizes = { .page_2m = true, .page_1g = true };

static int set_up(void **state)
{
    (void)state;
    pool_used = 0;
    pool_limit = POOL_PAGES;
    return 0;
}

static struct ept new_ept(const struct ept_features *features)
{
    struct ept ept;
    assert_int_equal(ept_init(&ept, features), RIVET_OK);
    return ept;
}

static void expect(const struct ept *ept, uint64_t gpa, uint64_t hpa, uint64_t left)
{
    uint64_t found, found_left;
    unsigned rights;
    assert_int_equal(ept_lookup(ept, gpa, &found, &rights, &found_left), RIVET_OK);
    assert_int_equal(found, hpa);
    assert_int_equal(rights, EPT_RWX);
    assert_int_equal(found_left, left);
}

static void expect_hole(const struct ept *ept, uint64_t gpa)
{
    uint64_t hpa, left;
    unsigned rights;
    assert_int_equal(ept_lookup(ept, gpa, &hpa, &rights, &left), ERR_NOT_FOUND);
}

/* 4K up to the first 2M boundary, 2M up to the first 1G boundary, 1G, and down again. */
static void test_largest_pages(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    uint64_t start = GIB(1) - MIB(2) - KIB(4);
    uint64_t shift = GIB(4);
    uint64_t size = KIB(4) + MIB(2) + GIB(1) + MIB(2) + KIB(4);
    assert_int_equal(ept_map(&ept, start, start + shift, size, EPT_RWX), RIVET_OK);
    expect_hole(&ept, start - 1);
    expect(&ept, start, start + shift, KIB(4));
    expect(&ept, GIB(1) - 1, GIB(1) - 1 + shift, 1);
    expect(&ept, GIB(1) - MIB(2), GIB(1) - MIB(2) + shift, MIB(2));
    expect(&ept, GIB(1) + 5, GIB(1) + 5 + shift, GIB(1) - 5);
    expect(&ept, GIB(2), GIB(2) + shift, MIB(2));
    expect(&ept, GIB(2) + MIB(2), GIB(2) + MIB(2) + shift, KIB(4));
    expect_hole(&ept, start + size);
    /* PML4, PDPT, and a PD and a PT on either side: what maps 1G needs no more. */
    assert_int_equal(pool_used, 6);
}

static void test_page_size_limits(void **state)
{
    (void)state;
    struct ept_features only_2m = { .page_2m = true };
    struct ept ept = new_ept(&only_2m);
    assert_int_equal(ept_map(&ept, 0, 0, GIB(1), EPT_RWX), RIVET_OK);
    expect(&ept, 0, 0, MIB(2));
    struct ept_features only_4k = { .page_2m = false };
    ept = new_ept(&only_4k);
    assert_int_equal(ept_map(&ept, 0, 0, MIB(4), EPT_RWX), RIVET_OK);
    expect(&ept, MIB(2), MIB(2), KIB(4));
}

/* A large guest-physical alignment is no use when the host address is not aligned alike. */
static void test_host_alignment(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    assert_int_equal(ept_map(&ept, MIB(2), MIB(4) + KIB(4), MIB(2), EPT_RWX), RIVET_OK);
    expect(&ept, MIB(2), MIB(4) + KIB(4), KIB(4));
}

static void test_overlap_changes_nothing(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    assert_int_equal(ept_map(&ept, MIB(4), MIB(4), KIB(4), EPT_RWX), RIVET_OK);
    assert_int_equal(ept_map(&ept, 0, 0, MIB(4) + KIB(4), EPT_RWX), ERR_EXISTS);
    expect_hole(&ept, 0);
    assert_int_equal(ept_map(&ept, 0, 0, MIB(4), EPT_RWX), RIVET_OK);
}

static void test_unmap_splits(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    assert_int_equal(ept_map(&ept, 0, GIB(8), GIB(2), EPT_RWX), RIVET_OK);
    assert_int_equal(ept_unmap(&ept, GIB(1) + KIB(8), KIB(4)), RIVET_OK);
    expect(&ept, 0, GIB(8), GIB(1));
    expect(&ept, GIB(1) + KIB(4), GIB(9) + KIB(4), KIB(4));
    expect_hole(&ept, GIB(1) + KIB(8));
    expect_hole(&ept, GIB(1) + KIB(12) - 1);
    expect(&ept, GIB(1) + KIB(12), GIB(9) + KIB(12), KIB(4));
    expect(&ept, GIB(1) + MIB(2), GIB(9) + MIB(2), MIB(2));
    assert_int_equal(ept_unmap(&ept, 0, GIB(2)), RIVET_OK);
    expect_hole(&ept, 0);
    expect_hole(&ept, GIB(2) - 1);
}

static void test_rights(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    uint64_t hpa, left;
    unsigned rights;
    assert_int_equal(ept_map(&ept, 0, 0, KIB(4), EPT_READ | EPT_EXEC), RIVET_OK);
    assert_int_equal(ept_lookup(&ept, 0, &hpa, &rights, &left), RIVET_OK);
    assert_int_equal(rights, EPT_READ | EPT_EXEC);
}

static void test_view(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    struct ept view;
    uint64_t page = 0xFEE00000;
    assert_int_equal(ept_map(&ept, 0, GIB(8), GIB(1), EPT_RWX), RIVET_OK);
    assert_int_equal(ept_map(&ept, page + KIB(4), MIB(1), KIB(4), EPT_RWX), RIVET_OK);
    assert_int_equal(ept_view_with_page(&view, &ept, page, MIB(7), EPT_RWX), RIVET_OK);
    expect(&view, page, MIB(7), KIB(4));
    expect_hole(&ept, page);
    expect(&view, 0, GIB(8), GIB(1));
    expect(&view, page + KIB(4), MIB(1), KIB(4));
    expect(&ept, page + KIB(4), MIB(1), KIB(4));
    assert_int_not_equal(ept_pointer(&view), ept_pointer(&ept));
    assert_int_equal(ept_view_with_page(&view, &ept, 0, MIB(7), EPT_RWX), ERR_EXISTS);
}

/* An overlay differs in one page, wherever that is, and can be built again elsewhere. */
static void test_overlay(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    struct ept_overlay overlay;
    struct ept view;
    const uint64_t hole = 0xFF000000;
    assert_int_equal(ept_map(&ept, 0, MIB(512), MIB(4), EPT_RWX), RIVET_OK);
    assert_int_equal(ept_map(&ept, MIB(8), MIB(800), KIB(4), EPT_READ), RIVET_OK);
    assert_int_equal(ept_overlay_init(&overlay), RIVET_OK);
    unsigned used = pool_used;

    ept_overlay_build(&overlay, &ept, MIB(2) + KIB(8), MIB(7), EPT_RWX, &view);
    expect(&view, MIB(2) + KIB(8), MIB(7), KIB(4));
    expect(&view, MIB(2), MIB(514), KIB(4));
    expect(&view, MIB(2) + KIB(12), MIB(514) + KIB(12), KIB(4));
    expect(&view, 0, MIB(512), MIB(2));
    expect_hole(&view, hole);

    ept_overlay_build(&overlay, &ept, hole, MIB(7), EPT_RWX, &view);
    expect(&view, hole, MIB(7), KIB(4));
    expect_hole(&view, hole + KIB(4));
    expect(&view, MIB(2) + KIB(8), MIB(514) + KIB(8), MIB(2) - KIB(8));

    ept_overlay_build(&overlay, &ept, MIB(8), MIB(7), EPT_RWX, &view);
    expect(&view, MIB(8), MIB(7), KIB(4));
    expect_hole(&view, hole);
    expect_hole(&ept, hole);

    ept_overlay_build(&overlay, &ept, MIB(2) + KIB(8), 0, 0, &view); /* nothing there */
    expect_hole(&view, MIB(2) + KIB(8));
    expect(&view, MIB(2), MIB(514), KIB(4));
    expect(&ept, MIB(2) + KIB(8), MIB(514) + KIB(8), MIB(2) - KIB(8));
    assert_int_not_equal(ept_pointer(&view), ept_pointer(&ept));
    assert_int_equal(pool_used, used);
}

/* Every allocation in turn fails: an error each time, and what is not mapped stays a hole. */
static void test_no_memory(void **state)
{
    (void)state;
    for (pool_limit = 1; pool_limit < 4; pool_limit++) {
        pool_used = 0;
        struct ept ept = new_ept(&all_sizes);
        assert_int_equal(ept_map(&ept, 0, 0, KIB(4), EPT_RWX), ERR_NO_MEMORY);
        expect_hole(&ept, 0);
    }
    struct ept none;
    pool_used = pool_limit;
    assert_int_equal(ept_init(&none, &all_sizes), ERR_NO_MEMORY);
}

/* SDM volume 3, table "Format of Extended-Page-Table Pointer": WB, walk length 4, accessed and dirty. */
static void test_pointer(void **state)
{
    (void)state;
    struct ept_features features = { .accessed_dirty = true };
    struct ept ept = new_ept(&features);
    assert_int_equal(ept_pointer(&ept) & 0xFFF, 0x5E);
    ept.features.accessed_dirty = false;
    assert_int_equal(ept_pointer(&ept) & 0xFFF, 0x1E);
    assert_int_equal(ept_pointer(&ept) & ~0xFFFULL, (uintptr_t)ept.root);
}

static void test_range(void **state)
{
    (void)state;
    struct ept ept = new_ept(&all_sizes);
    assert_int_equal(ept_map(&ept, BIT(48), 0, KIB(4), EPT_RWX), ERR_INVALID);
    assert_int_equal(ept_map(&ept, BIT(48) - KIB(4), 0, KIB(8), EPT_RWX), ERR_INVALID);
    assert_int_equal(ept_map(&ept, KIB(1), 0, KIB(4), EPT_RWX), ERR_INVALID);
    expect_hole(&ept, BIT(48));
    assert_int_equal(ept_map(&ept, BIT(48) - KIB(4), 0, KIB(4), EPT_RWX), RIVET_OK);
    expect(&ept, BIT(48) - 1, KIB(4) - 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_largest_pages, set_up),
        cmocka_unit_test_setup(test_page_size_limits, set_up),
        cmocka_unit_test_setup(test_host_alignment, set_up),
        cmocka_unit_test_setup(test_overlap_changes_nothing, set_up),
        cmocka_unit_test_setup(test_unmap_splits, set_up),
        cmocka_unit_test_setup(test_rights, set_up),
        cmocka_unit_test_setup(test_view, set_up),
        cmocka_unit_test_setup(test_overlay, set_up),
        cmocka_unit_test_setup(test_no_memory, set_up),
        cmocka_unit_test_setup(test_pointer, set_up),
        cmocka_unit_test_setup(test_range, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
