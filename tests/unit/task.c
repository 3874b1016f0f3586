/* SPDX-License-Identifier: MIT */
/* Task-state segments and segment checks, against the SDM's figures and tables (chapter "Task Management"). */
/* links: vmx/task.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/bits.h"
#include "vmx/segment.h"
#include "vmx/task.h"

enum { TS = 10, NP = 11, SS = 12 };

static uint32_t at32(const uint8_t *tss, unsigned offset)
{
    uint32_t value;
    memcpy(&value, tss + offset, 4);
    return value;
}

static uint16_t at16(const uint8_t *tss, unsigned offset)
{
    uint16_t value;
    memcpy(&value, tss + offset, 2);
    return value;
}

static const struct task sample = {
    .eip = 0x11112222,
    .eflags = 0x00023202,
    .gpr = { 0xA0000001, 0xA0000002, 0xA0000003, 0xA0000004, 0xA0000005, 0xA0000006, 0xA0000007,
             0xA0000008 },
    .selector = { 0x10, 0x18, 0x20, 0x28, 0x30, 0x38 },
    .ldtr = 0x40,
    .cr3 = 0x5000,
};

/* "32-Bit Task-State Segment (TSS)": what is stored, and nothing beside it. */
static void test_store_32(void **state)
{
    (void)state;
    uint8_t tss[TSS_SIZE_32];

    memset(tss, 0xEE, sizeof(tss));
    task_store(&sample, true, tss);
    assert_int_equal(at32(tss, 0x20), 0x11112222);
    assert_int_equal(at32(tss, 0x24), 0x00023202);
    assert_int_equal(at32(tss, 0x28), 0xA0000001); /* EAX */
    assert_int_equal(at32(tss, 0x38), 0xA0000005); /* ESP */
    assert_int_equal(at32(tss, 0x44), 0xA0000008); /* EDI */
    assert_int_equal(at32(tss, 0x48), 0xEEEE0010); /* ES, and what is reserved */
    assert_int_equal(at16(tss, 0x4C), 0x18);       /* CS */
    assert_int_equal(at16(tss, 0x50), 0x20);       /* SS */
    assert_int_equal(at16(tss, 0x5C), 0x38);       /* GS */
    for (unsigned i = 0; i < TSS_SIZE_32; i++) {
        bool dynamic = i >= TSS_DYNAMIC_32 && i < TSS_DYNAMIC_32_END;
        assert_true(dynamic || tss[i] == 0xEE);
    }
}

/* "16-Bit TSS Format". */
static void test_store_16(void **state)
{
    (void)state;
    uint8_t tss[TSS_SIZE_16];

    memset(tss, 0xEE, sizeof(tss));
    task_store(&sample, false, tss);
    assert_int_equal(at16(tss, 0x0E), 0x2222);
    assert_int_equal(at16(tss, 0x10), 0x3202);
    assert_int_equal(at16(tss, 0x12), 1);    /* AX */
    assert_int_equal(at16(tss, 0x20), 8);    /* DI */
    assert_int_equal(at16(tss, 0x22), 0x10); /* ES */
    assert_int_equal(at16(tss, 0x28), 0x28); /* DS */
    for (unsigned i = 0; i < TSS_SIZE_16; i++) {
        bool dynamic = i >= TSS_DYNAMIC_16 && i < TSS_DYNAMIC_16_END;
        assert_true(dynamic || tss[i] == 0xEE);
    }
}

static void test_load_32(void **state)
{
    (void)state;
    uint8_t tss[TSS_SIZE_32] = { 0 };
    struct task task;

    task_store(&sample, true, tss);
    tss[0x1D] = 0x50;
    tss[0x60] = 0x40;
    tss[0x64] = 1;
    task_load(&task, true, tss);
    assert_int_equal(task.cr3, 0x5000);
    assert_int_equal(task.ldtr, 0x40);
    assert_true(task.trap);
    assert_int_equal(task.eip, sample.eip);
    assert_int_equal(task.eflags, sample.eflags);
    assert_memory_equal(task.gpr, sample.gpr, sizeof(task.gpr));
    assert_memory_equal(task.selector, sample.selector, sizeof(task.selector));
    tss[0x64] = 0xFE;
    task_load(&task, true, tss);
    assert_false(task.trap);
}

static void test_load_16(void **state)
{
    (void)state;
    uint8_t tss[TSS_SIZE_16] = { 0 };
    struct task task;

    task_store(&sample, false, tss);
    tss[0x2A] = 0x48;
    task_load(&task, false, tss);
    assert_int_equal(task.eip, 0x2222);
    assert_int_equal(task.eflags, 0x3202);
    assert_int_equal(task.gpr[0], 0xFFFF0001);
    assert_int_equal(task.selector[SEGMENT_DS], 0x28);
    assert_int_equal(task.selector[SEGMENT_FS], 0);
    assert_int_equal(task.selector[SEGMENT_GS], 0);
    assert_int_equal(task.ldtr, 0x48);
    assert_int_equal(task.cr3, 0);
    assert_false(task.trap);
}

/* "Segment Descriptor". */
static void test_descriptor(void **state)
{
    (void)state;
    struct task_segment flat = task_segment(0x00CF9A000000FFFFULL);
    assert_int_equal(flat.base, 0);
    assert_int_equal(flat.limit, 0xFFFFFFFF);
    assert_int_equal(flat.rights, 0xC09A);
    struct task_segment tss = task_segment(0x12008B3456780067ULL);
    assert_int_equal(tss.base, 0x12345678);
    assert_int_equal(tss.limit, 0x67);
    assert_int_equal(tss.rights, 0x008B);
    assert_int_equal(task_segment(0x000F00000000FFFFULL).limit, 0xFFFFF);
}

/* Type and S, DPL, P of a descriptor. */
static uint64_t descriptor(unsigned type, unsigned dpl, bool present)
{
    return (uint64_t)(type | dpl << 5 | (unsigned)present << 7) << 40;
}

enum { LDT = 0x02, DATA_RO = 0x11, DATA_RW = 0x13, CODE_X = 0x19, CODE_XR = 0x1B };
enum { CONFORMING = 0x1D, CONFORMING_R = 0x1F, GATE = 0x0C };

static void test_checks(void **state)
{
    (void)state;
    static const struct {
        unsigned segment, selector, type, dpl, cpl, vector;
    } table[] = {
        { SEGMENT_LDTR, 0x40, LDT, 0, 0, 0 },
        { SEGMENT_LDTR, 0x44, LDT, 0, 0, TS }, /* itself in an LDT */
        { SEGMENT_LDTR, 0x40, DATA_RW, 0, 0, TS },
        { SEGMENT_LDTR, 0x40, 0x12, 0, 0, TS }, /* the same type, but data */
        { SEGMENT_CS, 0x08, CODE_XR, 0, 0, 0 },
        { SEGMENT_CS, 0x08, CODE_X, 0, 0, 0 },
        { SEGMENT_CS, 0x0B, CODE_XR, 0, 3, TS },
        { SEGMENT_CS, 0x08, CODE_XR, 3, 0, TS },
        { SEGMENT_CS, 0x0B, CONFORMING, 0, 3, 0 },
        { SEGMENT_CS, 0x08, CONFORMING, 3, 0, TS },
        { SEGMENT_CS, 0x08, DATA_RW, 0, 0, TS },
        { SEGMENT_CS, 0x08, GATE, 0, 0, TS },
        { SEGMENT_SS, 0x10, DATA_RW, 0, 0, 0 },
        { SEGMENT_SS, 0x13, DATA_RW, 3, 3, 0 },
        { SEGMENT_SS, 0x10, DATA_RO, 0, 0, TS },
        { SEGMENT_SS, 0x10, CODE_XR, 0, 0, TS },
        { SEGMENT_SS, 0x13, DATA_RW, 0, 0, TS },
        { SEGMENT_SS, 0x10, DATA_RW, 3, 0, TS },
        { SEGMENT_SS, 0x13, DATA_RW, 3, 0, TS },
        { SEGMENT_DS, 0x10, DATA_RO, 0, 0, 0 },
        { SEGMENT_DS, 0x10, DATA_RW, 3, 0, 0 },
        { SEGMENT_DS, 0x13, DATA_RW, 0, 0, TS },
        { SEGMENT_DS, 0x10, DATA_RW, 0, 3, TS },
        { SEGMENT_ES, 0x10, CODE_XR, 0, 0, 0 },
        { SEGMENT_ES, 0x10, CODE_X, 0, 0, TS },
        { SEGMENT_FS, 0x13, CONFORMING_R, 0, 3, 0 },
        { SEGMENT_GS, 0x13, CONFORMING, 0, 3, TS },
        { SEGMENT_GS, 0x10, LDT, 0, 0, TS },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        uint64_t raw = descriptor(table[i].type, table[i].dpl, true);
        unsigned vector =
            task_check(table[i].segment, (uint16_t)table[i].selector, raw, table[i].cpl);
        if (vector != table[i].vector) {
            fail_msg("row %u: %u", i, vector);
        }
    }
}

/* "Exception Conditions Checked During a Task Switch": not present. */
static void test_not_present(void **state)
{
    (void)state;
    assert_int_equal(task_check(SEGMENT_LDTR, 0x40, descriptor(LDT, 0, false), 0), TS);
    assert_int_equal(task_check(SEGMENT_CS, 8, descriptor(CODE_XR, 0, false), 0), NP);
    assert_int_equal(task_check(SEGMENT_SS, 16, descriptor(DATA_RW, 0, false), 0), SS);
    assert_int_equal(task_check(SEGMENT_SS, 19, descriptor(DATA_RW, 0, false), 0), SS);
    assert_int_equal(task_check(SEGMENT_SS, 16, descriptor(DATA_RO, 0, false), 0), TS);
    assert_int_equal(task_check(SEGMENT_CS, 11, descriptor(CODE_XR, 0, false), 3), TS);
    assert_int_equal(task_check(SEGMENT_DS, 16, descriptor(DATA_RW, 0, false), 0), NP);
    assert_int_equal(task_check(SEGMENT_DS, 16, descriptor(DATA_RW, 0, false), 3), NP);
    assert_int_equal(task_check(SEGMENT_DS, 16, descriptor(CODE_X, 0, false), 0), TS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_32),    cmocka_unit_test(test_store_16),
        cmocka_unit_test(test_load_32),     cmocka_unit_test(test_load_16),
        cmocka_unit_test(test_descriptor),  cmocka_unit_test(test_checks),
        cmocka_unit_test(test_not_present),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
