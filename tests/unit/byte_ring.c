/* SPDX-License-Identifier: MIT */
/* The byte queue: order, empty and full, and counters that wrap round. */
/* links: */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/byte_ring.h"

enum { SIZE = 8 };

static uint8_t data[SIZE];

static void keeps_order_and_knows_its_bounds(void **state)
{
    (void)state;
    struct byte_ring ring = { .data = data, .size = SIZE };
    assert_true(byte_ring_is_empty(&ring));
    for (uint8_t i = 0; i < SIZE; i++) {
        assert_false(byte_ring_is_full(&ring));
        byte_ring_put(&ring, i);
        assert_false(byte_ring_is_empty(&ring));
    }
    assert_true(byte_ring_is_full(&ring));
    for (uint8_t i = 0; i < SIZE; i++) {
        assert_int_equal(byte_ring_take(&ring), i);
    }
    assert_true(byte_ring_is_empty(&ring));
}

static void counters_may_wrap(void **state)
{
    (void)state;
    struct byte_ring ring = { .data = data, .size = SIZE, .head = UINT32_MAX, .tail = UINT32_MAX };
    for (unsigned i = 0; i < 3 * SIZE; i++) {
        byte_ring_put(&ring, (uint8_t)i);
        byte_ring_put(&ring, (uint8_t)~i);
        assert_false(byte_ring_is_full(&ring));
        assert_int_equal(byte_ring_take(&ring), (uint8_t)i);
        assert_int_equal(byte_ring_take(&ring), (uint8_t)~i);
        assert_true(byte_ring_is_empty(&ring));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_knows_its_bounds),
        cmocka_unit_test(counters_may_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
