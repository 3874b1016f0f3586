/* SPDX-License-Identifier: MIT */
/*
 * Negotiation of VMX controls against capability MSRs of real CPU models.
 * links: vmx/controls.c
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vmx/controls.h"

/* Bochs's corei7_skylake_x, as read there; reserved default1 bits and everything Rivet wants. */
static const struct control_capabilities skylake = { {
    [CONTROL_PIN] = 0x000000FF00000016,
    [CONTROL_PRIMARY] = 0xFFF9FFFE04006172,
    [CONTROL_SECONDARY] = 0x02577FFF00000000,
    [CONTROL_EXIT] = 0x407FFFFF00036DFB,
    [CONTROL_ENTRY] = 0x0000FFFF000011FB,
} };

static void remove_bit(struct control_capabilities *capabilities, enum control_word word,
                       uint32_t bit)
{
    capabilities->word[word] &= ~((uint64_t)bit << 32);
}

static void test_everything_offered(void **state)
{
    (void)state;
    struct control_result result;
    assert_null(control_negotiate(&skylake, &result));
    unsigned count;
    const struct control_rule *rules = control_rules(&count);
    for (unsigned i = 0; i < count; i++) {
        assert_true(result.available[rules[i].word] & rules[i].bit);
        assert_int_equal((result.value[rules[i].word] & rules[i].bit) != 0, !rules[i].on_demand);
    }
}

/* A value must have all bits of the low half and none that the high half lacks. */
static void test_values_are_allowed(void **state)
{
    (void)state;
    struct control_result result;
    assert_null(control_negotiate(&skylake, &result));
    for (unsigned word = 0; word < CONTROL_WORDS; word++) {
        uint32_t must = (uint32_t)skylake.word[word];
        uint32_t may = (uint32_t)(skylake.word[word] >> 32);
        assert_int_equal(result.value[word] & must, must);
        assert_int_equal(result.value[word] & ~may, 0);
    }
}

static void test_each_required_is_missed(void **state)
{
    (void)state;
    unsigned count;
    const struct control_rule *rules = control_rules(&count);
    for (unsigned i = 0; i < count; i++) {
        struct control_capabilities capabilities = skylake;
        struct control_result result;
        remove_bit(&capabilities, rules[i].word, rules[i].bit);
        const struct control_rule *missing = control_negotiate(&capabilities, &result);
        if (rules[i].required) {
            assert_ptr_equal(missing, &rules[i]);
        } else {
            assert_null(missing);
            assert_false((result.available[rules[i].word] | result.value[rules[i].word]) &
                         rules[i].bit);
        }
    }
}

/* SDM, checks on VM-execution controls: what depends on a missing control must be off. */
static void test_dependents(void **state)
{
    (void)state;
    struct control_capabilities capabilities = skylake;
    struct control_result result;
    remove_bit(&capabilities, CONTROL_SECONDARY, SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
    assert_null(control_negotiate(&capabilities, &result));
    assert_false(result.available[CONTROL_PIN] & PIN_POSTED_INTERRUPTS);
    assert_true(result.available[CONTROL_SECONDARY] & SECONDARY_VIRTUALIZE_X2APIC_MODE);

    capabilities = skylake;
    remove_bit(&capabilities, CONTROL_PRIMARY, PRIMARY_USE_TPR_SHADOW);
    assert_null(control_negotiate(&capabilities, &result));
    assert_false(result.value[CONTROL_SECONDARY] &
                 (SECONDARY_VIRTUALIZE_X2APIC_MODE | SECONDARY_APIC_REGISTER_VIRT |
                  SECONDARY_VIRTUAL_INTERRUPT_DELIVERY));
    assert_false(result.value[CONTROL_PIN] & PIN_POSTED_INTERRUPTS);
}

/* Each rule names one bit, and no bit twice. */
static void test_table(void **state)
{
    (void)state;
    unsigned count;
    const struct control_rule *rules = control_rules(&count);
    uint32_t seen[CONTROL_WORDS] = { 0 };
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(__builtin_popcount(rules[i].bit), 1);
        assert_false(seen[rules[i].word] & rules[i].bit);
        seen[rules[i].word] |= rules[i].bit;
    }
    assert_int_equal(control_msr(CONTROL_PIN), 0x48D);
    assert_int_equal(control_msr(CONTROL_SECONDARY), 0x48B);
    assert_string_equal(control_msr_name(CONTROL_ENTRY), "IA32_VMX_TRUE_ENTRY_CTLS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_offered),
        cmocka_unit_test(test_values_are_allowed),
        cmocka_unit_test(test_each_required_is_missed),
        cmocka_unit_test(test_dependents),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
