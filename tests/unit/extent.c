/* SPDX-License-Identifier: MIT */
/* Sets of address ranges: by example, and against a bitmap model under random operations. */
/* links: arch/extent.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "arch/extent.h"
#include "lib/bits.h"
#include "lib/error.h"

static struct extent_set set;

static int empty_set(void **state)
{
    (void)state;
    memset(&set, 0, sizeof(set));
    return 0;
}

static void joins_neighbours(void **state)
{
    (void)state;
    assert_int_equal(extent_add(&set, 10, 10), 0);
    assert_int_equal(extent_add(&set, 30, 10), 0);
    assert_int_equal(set.count, 2);
    assert_int_equal(extent_add(&set, 20, 10), 0);
    assert_int_equal(set.count, 1);
    assert_int_equal(set.list[0].start, 10);
    assert_int_equal(set.list[0].size, 30);
}

static void refuses_what_is_in(void **state)
{
    (void)state;
    assert_int_equal(extent_add(&set, 10, 10), 0);
    assert_int_equal(extent_add(&set, 19, 1), ERR_EXISTS);
    assert_int_equal(extent_add(&set, 0, 11), ERR_EXISTS);
    assert_int_equal(extent_add(&set, 0, 100), ERR_EXISTS);
    assert_int_equal(extent_total(&set), 10);
}

static void refuses_nonsense(void **state)
{
    (void)state;
    assert_int_equal(extent_add(&set, 10, 0), ERR_INVALID);
    assert_int_equal(extent_add(&set, UINT64_MAX, 2), ERR_INVALID);
    assert_int_equal(extent_remove(&set, UINT64_MAX, 2), ERR_INVALID);
    assert_int_equal(set.count, 0);
}

static void takes_aligned_from_the_bottom(void **state)
{
    (void)state;
    uint64_t start = 0;
    extent_add(&set, 0x1800, 0x3000);
    extent_add(&set, 0x10000, 0x10000);
    assert_int_equal(extent_largest(&set, 0x1000), 0x10000);
    assert_int_equal(extent_largest(&set, 0x20000), 0);
    assert_int_equal(extent_take(&set, 0x1000, 0x1000, &start), 0);
    assert_int_equal(start, 0x2000);
    assert_int_equal(extent_take(&set, 0x2000, 0x1000, &start), 0);
    assert_int_equal(start, 0x10000);
    assert_int_equal(extent_take(&set, 0x100000, 0x1000, &start), ERR_NOT_FOUND);
    assert_int_equal(extent_take(&set, 0, 1, &start), ERR_NOT_FOUND);
    assert_int_equal(extent_total(&set), 0x10000);
}

static void full_set_stays_whole(void **state)
{
    (void)state;
    uint64_t start;
    for (unsigned i = 0; i < EXTENT_MAX; i++) {
        assert_int_equal(extent_add(&set, 100ULL * i, 50), 0);
    }
    assert_int_equal(extent_add(&set, 100ULL * EXTENT_MAX, 1), ERR_NO_MEMORY);
    assert_int_equal(extent_remove(&set, 10, 10), ERR_NO_MEMORY);
    assert_int_equal(extent_take(&set, 16, 32, &start), 0); /* from the front: no new piece */
    assert_int_equal(extent_total(&set), 50 * EXTENT_MAX - 16);
    assert_int_equal(extent_add(&set, 50, 50), 0); /* joins, and so makes room */
}

/* --- Random operations against one bit for each address ------------------------------------------ */

enum { SPACE = 256, ROUNDS = 20000 };

static bool model[SPACE];

static bool any(uint64_t start, uint64_t size, bool wanted)
{
    for (uint64_t i = start; i < start + size; i++) {
        if (model[i] == wanted) {
            return true;
        }
    }
    return false;
}

static void fill(uint64_t start, uint64_t size, bool value)
{
    for (uint64_t i = start; i < start + size; i++) {
        model[i] = value;
    }
}

/* The set holds what the model holds, sorted, in as few pieces as possible. */
static void compare(void)
{
    unsigned pieces = 0;
    for (unsigned i = 0; i < SPACE; i++) {
        if (model[i] && (i == 0 || !model[i - 1])) {
            assert_true(pieces < set.count);
            assert_int_equal(set.list[pieces].start, i);
            assert_false(any(i, set.list[pieces].size, false));
            pieces++;
        }
    }
    assert_int_equal(pieces, set.count);
    uint64_t total = 0;
    for (unsigned i = 0; i < SPACE; i++) {
        total += model[i];
    }
    assert_int_equal(extent_total(&set), total);
}

/* Lowest aligned place in the model, or SPACE. */
static uint64_t model_find(uint64_t size, uint64_t align)
{
    for (uint64_t start = 0; start + size <= SPACE; start += align) {
        if (!any(start, size, false)) {
            return start;
        }
    }
    return SPACE;
}

static void agrees_with_the_model(void **state)
{
    (void)state;
    uint32_t random = 1;
    memset(model, 0, sizeof(model));
    for (unsigned round = 0; round < ROUNDS; round++) {
        random = random * 1664525 + 1013904223;
        uint64_t start = random >> 8 & 0xFF;
        uint64_t size = 1 + (random >> 16 & 0x1F);
        size = start + size > SPACE ? SPACE - start : size;
        uint64_t align = 1ULL << (random >> 21 & 3);
        uint64_t taken = 0;
        switch (random >> 29) {
        case 0:
        case 1:
        case 2: {
            bool overlaps = any(start, size, true);
            assert_int_equal(extent_add(&set, start, size), overlaps ? ERR_EXISTS : 0);
            if (!overlaps) {
                fill(start, size, true);
            }
            break;
        }
        case 3:
        case 4:
            assert_int_equal(extent_remove(&set, start, size), 0);
            fill(start, size, false);
            break;
        default: {
            uint64_t expected = model_find(size, align);
            int error = extent_take(&set, size, align, &taken);
            assert_int_equal(error, expected == SPACE ? ERR_NOT_FOUND : 0);
            if (error == 0) {
                assert_int_equal(taken, expected);
                fill(taken, size, false);
            }
            break;
        }
        }
        compare();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(joins_neighbours, empty_set),
        cmocka_unit_test_setup(refuses_what_is_in, empty_set),
        cmocka_unit_test_setup(refuses_nonsense, empty_set),
        cmocka_unit_test_setup(takes_aligned_from_the_bottom, empty_set),
        cmocka_unit_test_setup(full_set_stays_whole, empty_set),
        cmocka_unit_test_setup(agrees_with_the_model, empty_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
