/* SPDX-License-Identifier: MIT */
/* Registers of the local APIC in both modes: values, reserved bits, #GP. */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c */
#include "tests/unit/lib/apic_test.h"

/* --- Reset ------------------------------------------------------------------------------------ */

static const struct {
    uint32_t offset, value;
} reset_values[] = {
    { APIC_ID, 0x01000000 },
    { APIC_VERSION, 0x01060014 },
    { APIC_TPR, 0 },
    { APIC_APR, 0 },
    { APIC_PPR, 0 },
    { APIC_EOI, 0 },
    { APIC_RRD, 0 },
    { APIC_LDR, 0 },
    { APIC_DFR, 0xFFFFFFFF },
    { APIC_SVR, 0xFF },
    { APIC_ISR, 0 },
    { APIC_TMR, 0 },
    { APIC_IRR, 0 },
    { APIC_ESR, 0 },
    { APIC_LVT_CMCI, 0x10000 },
    { APIC_ICR, 0 },
    { APIC_ICR2, 0 },
    { APIC_LVT_TIMER, 0x10000 },
    { APIC_LVT_THERMAL, 0x10000 },
    { APIC_LVT_PMI, 0x10000 },
    { APIC_LVT_LINT0, 0x10000 },
    { APIC_LVT_LINT1, 0x10000 },
    { APIC_LVT_ERROR, 0x10000 },
    { APIC_INITIAL_COUNT, 0 },
    { APIC_CURRENT_COUNT, 0 },
    { APIC_DIVIDE, 0 },
};

static void check_reset_values(void)
{
    for (unsigned i = 0; i < sizeof(reset_values) / sizeof(reset_values[0]); i++) {
        assert_int_equal(mmio_get(1, reset_values[i].offset), reset_values[i].value);
    }
    assert_int_equal(read_esr(1), 0);
}

static void test_reset_values(void **state)
{
    (void)state;
    model_start(&model_all_features, 2);
    check_reset_values();
    for (uint32_t offset = 0; offset < 0x400; offset += 16) {
        mmio_set(1, offset, 0xFFFFFFFF);
    }
    lapic_reset(lapic_of(1), false);
    check_reset_values();
}

static void test_no_cmci_without_the_feature(void **state)
{
    (void)state;
    struct apic_features features = model_all_features;
    features.cmci = false;
    model_start(&features, 1);
    assert_int_equal(mmio_get(0, APIC_VERSION), 0x01050014);
    assert_int_equal(mmio_get(0, APIC_LVT_CMCI), 0);
    mmio_set(0, APIC_LVT_CMCI, 0xF0);
    assert_int_equal(mmio_get(0, APIC_LVT_CMCI), 0);
    assert_int_equal(read_esr(0), APIC_ESR_ILLEGAL_REGISTER_ADDRESS);
    model_enter_x2apic(0);
    uint64_t value;
    assert_int_equal(lapic_read_msr(lapic_of(0), 0x82F, &value), ERR_GP);
    assert_int_equal(lapic_write_msr(lapic_of(0), 0x82F, 0x10000), ERR_GP);
}

/* --- What each register keeps of a write of all ones ------------------------------------------ */

static const struct {
    uint32_t offset, kept;
} writable[] = {
    { APIC_ID, 0xFF000000 },
    { APIC_VERSION, 0x01060014 },
    { APIC_TPR, 0xFF },
    { APIC_APR, 0 },
    { APIC_PPR, 0xFF },
    { APIC_EOI, 0 },
    { APIC_RRD, 0 },
    { APIC_LDR, 0xFF000000 },
    { APIC_DFR, 0xFFFFFFFF },
    { APIC_SVR, 0x11FF },
    { APIC_ISR + 0x10, 0 },
    { APIC_TMR + 0x20, 0 },
    { APIC_IRR + 0x30, 0 },
    { APIC_LVT_CMCI, 0x107FF },
    { APIC_ICR2, 0xFF000000 },
    { APIC_LVT_TIMER, 0x700FF },
    { APIC_LVT_THERMAL, 0x107FF },
    { APIC_LVT_PMI, 0x107FF },
    { APIC_LVT_LINT0, 0x1A7FF },
    { APIC_LVT_LINT1, 0x1A7FF },
    { APIC_LVT_ERROR, 0x100FF },
    { APIC_CURRENT_COUNT, 0 },
    { APIC_DIVIDE, 0xB },
};

static void test_xapic_write_masks(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    model_enable_all();
    for (unsigned i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
        mmio_set(0, writable[i].offset, 0xFFFFFFFF);
        assert_int_equal(mmio_get(0, writable[i].offset), writable[i].kept);
    }
    assert_int_equal(read_esr(0), 0);
}

/* The same through an APIC-write exit, where hardware has stored the raw value before. */
static void test_apic_write_exit_masks(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    model_enable_all();
    for (unsigned i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
        uint32_t offset = writable[i].offset;
        bool exits = offset == APIC_ID || offset == APIC_LDR || offset == APIC_DFR ||
                     offset == APIC_SVR || offset == APIC_EOI || offset == APIC_ICR2 ||
                     offset >= APIC_LVT_TIMER;
        if (exits && offset != APIC_CURRENT_COUNT) {
            memcpy(&model.vcpu[0].page[offset], "\xFF\xFF\xFF\xFF", 4);
            lapic_apic_write(lapic_of(0), offset);
            assert_int_equal(mmio_get(0, offset), writable[i].kept);
            assert_int_equal(model_read(0, offset), writable[i].kept);
        }
    }
    /* Offsets that hardware never reports change nothing. */
    uint32_t version = mmio_get(0, APIC_VERSION);
    lapic_apic_write(lapic_of(0), APIC_VERSION);
    lapic_apic_write(lapic_of(0), 0x040);
    assert_int_equal(mmio_get(0, APIC_VERSION), version);
}

/* --- The two ways of a write: by its instruction, and by APIC-write exit ------------------------ */

/* "APIC-Write Emulation": the registers that APIC-register virtualization hands over in this way. */
static const uint16_t written_by_hardware[] = {
    APIC_ID,        APIC_EOI,       APIC_LDR,       APIC_DFR,           APIC_SVR,
    APIC_ESR,       APIC_ICR,       APIC_LVT_TIMER, APIC_LVT_THERMAL,   APIC_LVT_PMI,
    APIC_LVT_LINT0, APIC_LVT_LINT1, APIC_LVT_ERROR, APIC_INITIAL_COUNT, APIC_DIVIDE,
};

/* Two vCPUs with something in every register, an interrupt in service and an error not yet in ESR. */
static void make_busy(void)
{
    start_software(2);
    mmio_set(0, APIC_LDR, 0x01000000);
    mmio_set(0, APIC_LVT_LINT0, 0x8044);
    mmio_set(0, APIC_LVT_LINT1, 0x2400);
    mmio_set(0, APIC_LVT_TIMER, 0x20045);
    mmio_set(0, APIC_LVT_ERROR, 0x46);
    mmio_set(0, APIC_DIVIDE, 0x3);
    mmio_set(0, APIC_INITIAL_COUNT, 0x12345678);
    lapic_set_lint0(lapic_of(0), true);
    mmio_set(0, APIC_ICR2, 0x01000000);
    mmio_set(0, APIC_ICR, 0x40E1);
    model_enter(0);
    model_enter(1);
    mmio_get(0, 0x040);
    model.tsc += 1000;
}

struct snapshot {
    uint32_t registers[2][0x40];
    uint32_t errors[2], events[2], accepted;
    uint8_t page[0x400];
};

static void take_snapshot(struct snapshot *snapshot)
{
    memset(snapshot, 0, sizeof(*snapshot));
    for (unsigned i = 0; i < 2; i++) {
        snapshot->errors[i] = lapic_of(i)->esr_pending;
        snapshot->events[i] = lapic_of(i)->events | model.vcpu[i].nmis << 24;
        model_enter(i);
        for (uint32_t offset = 0; offset < 0x400; offset += 16) {
            snapshot->registers[i][offset / 16] = mmio_get(i, offset);
        }
    }
    snapshot->accepted = lapic_of(0)->lint0_accepted;
    memcpy(snapshot->page, model.vcpu[0].page, sizeof(snapshot->page));
}

static void check_write(uint32_t offset, unsigned size, uint32_t value)
{
    static struct snapshot by_instruction, by_exit;
    make_busy();
    lapic_mmio_write(lapic_of(0), offset, size, value);
    take_snapshot(&by_instruction);
    make_busy();
    memcpy(&model.vcpu[0].page[offset], &value, size);
    lapic_apic_write(lapic_of(0), offset);
    take_snapshot(&by_exit);
    assert_memory_equal(&by_instruction, &by_exit, sizeof(by_exit));
}

static void test_both_ways_of_a_write_are_the_same(void **state)
{
    (void)state;
    static const uint32_t values[] = { 0, 0xFFFFFFFF, 0x5A5A5A5A, 0x00000100, 0x00014631 };
    for (unsigned i = 0; i < sizeof(written_by_hardware) / sizeof(written_by_hardware[0]); i++) {
        for (unsigned size = 1; size <= 4; size *= 2) {
            for (uint32_t byte = 0; byte + size <= 4; byte++) {
                for (unsigned j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
                    check_write(written_by_hardware[i] + byte, size, values[j]);
                }
            }
        }
    }
}

static void test_dfr_keeps_its_ones(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    mmio_set(0, APIC_DFR, 0);
    assert_int_equal(mmio_get(0, APIC_DFR), 0x0FFFFFFF);
}

static void test_accesses_of_other_sizes(void **state)
{
    (void)state;
    struct lapic *lapic;
    model_start(&model_all_features, 1);
    lapic = lapic_of(0);
    assert_int_equal(lapic_mmio_read(lapic, APIC_VERSION + 2, 1), 0x06);
    assert_int_equal(lapic_mmio_read(lapic, APIC_VERSION + 2, 2), 0x0106);
    assert_int_equal(lapic_mmio_read(lapic, APIC_VERSION, 8), 0x01060014);
    assert_int_equal(lapic_mmio_read(lapic, APIC_VERSION + 3, 2), 0);
    assert_int_equal(lapic_mmio_read(lapic, APIC_VERSION + 4, 4), 0);
    lapic_mmio_write(lapic, APIC_ICR2 + 3, 1, 0x5A);
    assert_int_equal(mmio_get(0, APIC_ICR2), 0x5A000000);
    lapic_mmio_write(lapic, APIC_TPR, 2, 0xFF34);
    assert_int_equal(mmio_get(0, APIC_TPR), 0x34);
    lapic_mmio_write(lapic, APIC_TPR, 8, 0x5600000078);
    assert_int_equal(mmio_get(0, APIC_TPR), 0x78);
    lapic_mmio_write(lapic, APIC_TPR + 4, 4, 0x11);
    lapic_mmio_write(lapic, APIC_TPR + 3, 2, 0x11);
    assert_int_equal(mmio_get(0, APIC_TPR), 0x78);
}

/* --- x2APIC: which MSRs exist, and their reserved bits ---------------------------------------- */

enum { NO = 0, R = 1, W = 2 };

static unsigned x2apic_access(uint32_t msr)
{
    switch (msr) {
    case 0x802:
    case 0x803:
    case 0x80A:
    case 0x80D:
    case 0x839:
        return R;
    case 0x80B:
    case 0x83F:
        return W;
    case 0x808:
    case 0x80F:
    case 0x828:
    case 0x82F:
    case 0x830:
    case 0x832 ... 0x838:
    case 0x83E:
        return R | W;
    case 0x810 ... 0x827:
        return R;
    default:
        return NO;
    }
}

static void test_x2apic_registers_exist(void **state)
{
    (void)state;
    model_start(&model_all_features, 1);
    model_enter_x2apic(0);
    for (uint32_t msr = 0x800; msr <= 0x8FF; msr++) {
        uint64_t value;
        bool writable_with_0 = (x2apic_access(msr) & W) != 0;
        int expect_read = (x2apic_access(msr) & R) != 0 ? RIVET_OK : ERR_GP;
        assert_int_equal(lapic_read_msr(lapic_of(0), msr, &value), expect_read);
        assert_int_equal(lapic_write_msr(lapic_of(0), msr, 0), writable_with_0 ? RIVET_OK : ERR_GP);
    }
}

static void test_x2apic_msrs_fault_in_other_modes(void **state)
{
    (void)state;
    uint64_t value;
    model_start(&model_all_features, 1);
    for (uint32_t msr = 0x800; msr <= 0x8FF; msr++) {
        assert_int_equal(lapic_read_msr(lapic_of(0), msr, &value), ERR_GP);
        assert_int_equal(lapic_write_msr(lapic_of(0), msr, 0), ERR_GP);
    }
    model_enter_x2apic(0);
    assert_int_equal(lapic_read_msr(lapic_of(0), 0x7FF, &value), ERR_GP);
    assert_int_equal(lapic_read_msr(lapic_of(0), 0x900, &value), ERR_GP);
    assert_int_equal(lapic_write_msr(lapic_of(0), 0x900, 0), ERR_GP);
}

static const struct {
    uint32_t offset;
    uint64_t reserved;
} x2apic_reserved[] = {
    { APIC_TPR, 0xFFFFFFFFFFFFFF00 },           { APIC_EOI, 0xFFFFFFFFFFFFFFFF },
    { APIC_SVR, 0xFFFFFFFFFFFFEE00 },           { APIC_ESR, 0xFFFFFFFFFFFFFFFF },
    { APIC_LVT_CMCI, 0xFFFFFFFFFFFEE800 },      { APIC_ICR, 0x00000000FFF32000 },
    { APIC_LVT_TIMER, 0xFFFFFFFFFFF8EF00 },     { APIC_LVT_THERMAL, 0xFFFFFFFFFFFEE800 },
    { APIC_LVT_PMI, 0xFFFFFFFFFFFEE800 },       { APIC_LVT_LINT0, 0xFFFFFFFFFFFE0800 },
    { APIC_LVT_LINT1, 0xFFFFFFFFFFFE0800 },     { APIC_LVT_ERROR, 0xFFFFFFFFFFFEEF00 },
    { APIC_INITIAL_COUNT, 0xFFFFFFFF00000000 }, { APIC_DIVIDE, 0xFFFFFFFFFFFFFFF4 },
    { APIC_SELF_IPI, 0xFFFFFFFFFFFFFF00 },
};

static void test_x2apic_reserved_bits(void **state)
{
    (void)state;
    start_software(1);
    model_enter_x2apic(0);
    for (unsigned i = 0; i < sizeof(x2apic_reserved) / sizeof(x2apic_reserved[0]); i++) {
        for (unsigned bit = 0; bit < 64; bit++) {
            bool reserved = (x2apic_reserved[i].reserved >> bit & 1) != 0;
            assert_int_equal(msr_set(0, x2apic_reserved[i].offset, 1ULL << bit),
                             reserved ? ERR_GP : RIVET_OK);
        }
    }
}

static void test_x2apic_ids(void **state)
{
    (void)state;
    model_start(&model_all_features, 38);
    model_enter_x2apic(37);
    assert_int_equal(msr_get(37, APIC_ID), 37);
    assert_int_equal(msr_get(37, APIC_LDR), 2 << 16 | 1 << 5);
}

/* Which MSRs the CPU may serve from the page: never one that faults or is computed. */
static void test_direct_msrs(void **state)
{
    (void)state;
    struct lapic *lapic = &model.vcpu[0].lapic;
    model_start(&model_all_features, 1);
    model_enter_x2apic(0);
    for (int active = 0; active <= 1; active++) {
        for (int register_virt = 0; register_virt <= 1; register_virt++) {
            lapic->apicv_active = active;
            model.vm.features.register_virt = register_virt;
            for (uint32_t n = 0; n < 64; n++) {
                uint32_t msr = 0x800 + n;
                bool stored = (x2apic_access(msr) & R) != 0 && msr != 0x839 && msr != 0x82F;
                assert_int_equal(lapic_direct_reads(lapic) >> n & 1,
                                 (stored && active && register_virt) || msr == 0x808);
                assert_int_equal(lapic_direct_writes(lapic) >> n & 1,
                                 msr == 0x808 || (active && (msr == 0x80B || msr == 0x83F)));
            }
        }
    }
}

/* What a direct read finds in the page is what an exit would have read. */
static void test_page_equals_registers(void **state)
{
    (void)state;
    start_software(1);
    model_enter_x2apic(0);
    assert_int_equal(msr_set(0, APIC_ICR, 0x12345678000C4031), RIVET_OK);
    assert_int_equal(msr_set(0, APIC_LVT_LINT1, 0x400), RIVET_OK);
    assert_int_equal(msr_set(0, APIC_TPR, 0x31), RIVET_OK);
    assert_int_equal(msr_set(0, APIC_DIVIDE, 0xB), RIVET_OK);
    model_enter(0);
    for (uint32_t msr = 0x800; msr <= 0x83F; msr++) {
        if (lapic_direct_reads(&model.vcpu[0].lapic) >> (msr - 0x800) & 1) {
            uint64_t in_page;
            memcpy(&in_page, &model.vcpu[0].page[(msr - 0x800) * 16], 8);
            assert_int_equal(msr_get(0, (msr - 0x800) * 16), in_page);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_values),
        cmocka_unit_test(test_no_cmci_without_the_feature),
        cmocka_unit_test(test_xapic_write_masks),
        cmocka_unit_test(test_apic_write_exit_masks),
        cmocka_unit_test(test_both_ways_of_a_write_are_the_same),
        cmocka_unit_test(test_dfr_keeps_its_ones),
        cmocka_unit_test(test_accesses_of_other_sizes),
        cmocka_unit_test(test_x2apic_registers_exist),
        cmocka_unit_test(test_x2apic_msrs_fault_in_other_modes),
        cmocka_unit_test(test_x2apic_reserved_bits),
        cmocka_unit_test(test_x2apic_ids),
        cmocka_unit_test(test_direct_msrs),
        cmocka_unit_test(test_page_equals_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
