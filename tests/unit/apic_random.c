/* SPDX-License-Identifier: MIT */
/* Random operations on apic/ in every world against the slow reference. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c tests/unit/lib/apic_guest.c */
/* links: tests/unit/lib/apic_differential.c tests/unit/lib/apic_reference.c */
/* links: tests/unit/lib/apic_differential_state.c */
/* links: tests/unit/lib/apic_reference_bus.c tests/unit/lib/apic_reference_local.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/lib/apic_differential.h"

enum { STREAMS = 4000, STREAM_BYTES = 600 };

static uint64_t generator;

static uint8_t random_byte(void)
{
    generator ^= generator << 13;
    generator ^= generator >> 7;
    generator ^= generator << 17;
    return (uint8_t)(generator >> 24);
}

static void run_streams(enum differential_world world)
{
    uint8_t stream[STREAM_BYTES];
    generator = 0x9E3779B97F4A7C15;
    for (unsigned i = 0; i < STREAMS; i++) {
        for (unsigned byte = 0; byte < STREAM_BYTES; byte++) {
            stream[byte] = random_byte();
        }
        differential_run(world, OPERATIONS_ALL, stream, sizeof(stream));
    }
}

static void test_software(void **state)
{
    (void)state;
    run_streams(WORLD_SOFTWARE);
}

static void test_no_tpr_shadow(void **state)
{
    (void)state;
    run_streams(WORLD_NO_TPR_SHADOW);
}

static void test_apicv(void **state)
{
    (void)state;
    run_streams(WORLD_APICV);
}

static void test_toggled(void **state)
{
    (void)state;
    run_streams(WORLD_TOGGLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_software),
        cmocka_unit_test(test_no_tpr_shadow),
        cmocka_unit_test(test_apicv),
        cmocka_unit_test(test_toggled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
