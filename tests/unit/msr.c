/* SPDX-License-Identifier: MIT */
/* links: vmx/msr.c vmx/msr_state.c vmx/mtrr.c vmx/msr_bitmap.c vmx/cpuid.c */
/* libs: -no-pie */
/* The MSR policy: the table, MTRRs and PAT, the bitmap. Rows that live in the VMCS are tested in guests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "apic/lapic.h"
#include "apic/paravirt.h"
#include "arch/msr.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/cpuid.h"
#include "vmx/cr.h"
#include "vmx/event.h"
#include "vmx/msr.h"
#include "vmx/msr_bitmap.h"
#include "vmx/mtrr.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"
#include "vmx/vmcs.h"
#include "vmx/xstate.h"

static struct vm vm = { .name = "test" };
static struct msr_state msrs;
static struct vcpu vcpu = { .vm = &vm, .msrs = &msrs };

/* --- What msr.c calls --------------------------------------------------------------------------- */

static unsigned log_lines;
static uint32_t last_apic_msr;

void log_info(const char *format, ...)
{
    (void)format;
    log_lines++;
}

void panic(const char *format, ...)
{
    fail_msg("panic: %s", format);
    abort();
}

void *memory_alloc_page(void)
{
    return NULL;
}

uint64_t tsc_hz(void)
{
    return 2100000000;
}

void vmcs_access_failed(enum vmcs_field field, bool write)
{
    fail_msg("VMCS field %x, write %d", field, write);
    abort();
}

void event_raise_code(struct vcpu *who, uint8_t vector, uint32_t error_code)
{
    (void)who;
    fail_msg("exception %u, %x", vector, error_code);
}

void event_instruction_done(struct vcpu *who)
{
    (void)who;
    fail();
}

uint64_t lapic_read_base(const struct lapic *lapic)
{
    return lapic->base;
}

int lapic_write_base(struct lapic *lapic, uint64_t value)
{
    lapic->base = value;
    return 0;
}

int lapic_read_msr(struct lapic *lapic, uint32_t msr, uint64_t *value)
{
    (void)lapic;
    last_apic_msr = msr;
    *value = 0x1234;
    return 0;
}

int lapic_write_msr(struct lapic *lapic, uint32_t msr, uint64_t value)
{
    (void)lapic;
    last_apic_msr = msr;
    return value ? ERR_GP : 0;
}

uint64_t lapic_read_pv_eoi(const struct lapic *lapic)
{
    return lapic->paravirt.pv_eoi;
}

int lapic_write_pv_eoi(struct lapic *lapic, uint64_t value)
{
    if (value & 2) {
        return ERR_GP;
    }
    lapic->paravirt.pv_eoi = value;
    return 0;
}

void lapic_set_tsc_offset(struct lapic *lapic, int64_t offset)
{
    lapic->tsc_offset = offset;
}

int efer_write(struct vcpu *who, uint64_t value)
{
    (void)who;
    (void)value;
    return 0;
}

uint64_t xstate_xss(const struct xstate *xstate)
{
    (void)xstate;
    return 0;
}

int xstate_write_xss(struct xstate *xstate, uint64_t value)
{
    (void)xstate;
    return value ? ERR_GP : 0;
}

/* A host without any optional MSR. */
static struct cpuid host(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0x80000008) {
        return (struct cpuid){ 0x3028, 0, 0, 0 };
    }
    return (struct cpuid){ leaf == 0 ? 0x16 : 0, 0, 0, 0 };
}

static int set_up(void **state)
{
    const struct cpuid_machine machine = { .read = host, .tsc_hz = 2100000000 };
    (void)state;
    cpuid_init(&machine);
    msr_reset(&msrs);
    memset(&vm.said, 0, sizeof(vm.said));
    vcpu.lapic.tsc_offset = 0;
    log_lines = 0;
    return 0;
}

/* --- Helpers -------------------------------------------------------------------------------------- */

static uint64_t read_ok(uint32_t msr)
{
    uint64_t value = 0xBADBADBAD;
    assert_int_equal(msr_read(&vcpu, msr, &value), 0);
    return value;
}

static void read_faults(uint32_t msr)
{
    uint64_t value;
    assert_int_equal(msr_read(&vcpu, msr, &value), ERR_GP);
}

static void write_ok(uint32_t msr, uint64_t value)
{
    assert_int_equal(msr_write(&vcpu, msr, value), 0);
}

static void write_faults(uint32_t msr, uint64_t value)
{
    assert_int_equal(msr_write(&vcpu, msr, value), ERR_GP);
}

static void keeps(uint32_t msr, uint64_t value)
{
    write_ok(msr, value);
    assert_int_equal(read_ok(msr), value);
}

/* --- Tests ------------------------------------------------------------------------------------------ */

/* #GP, and one line for each MSR, however often and by whichever access; at most as many as fit. */
static void unknown_msrs(void **state)
{
    (void)state;
    read_faults(0x12345678);
    read_faults(0x12345678);
    write_faults(0x12345678, 0);
    assert_int_equal(log_lines, 1);
    read_faults(IA32_PERF_CAPABILITIES);
    write_faults(IA32_VMX_BASIC, 0);
    assert_int_equal(log_lines, 3);
    for (uint32_t msr = 0x2000; msr < 0x3000; msr++) {
        read_faults(msr);
    }
    assert_int_equal(log_lines, VM_UNKNOWN_MSRS);
}

/* MSRs that do not exist here, but are no news. */
static void quiet_faults(void **state)
{
    (void)state;
    for (uint32_t msr = IA32_MC0_CTL; msr < 0x480; msr++) {
        read_faults(msr);
        write_faults(msr, 0);
    }
    read_faults(IA32_PRED_CMD);
    write_faults(IA32_PRED_CMD, 1); /* not offered by this host */
    read_faults(IA32_FLUSH_CMD);
    write_faults(IA32_FLUSH_CMD, 1);
    read_faults(IA32_SPEC_CTRL);
    write_faults(IA32_SPEC_CTRL, 0);
    read_faults(IA32_ARCH_CAPABILITIES);
    read_faults(IA32_TSC_AUX);
    write_faults(IA32_TSC_AUX, 0);
    read_faults(IA32_XSS);
    assert_int_equal(log_lines, 0);
}

/* Every row is found by its own number, also at the ends of ranges: the table is in order. */
static void fixed_values(void **state)
{
    (void)state;
    assert_int_equal(read_ok(IA32_P5_MC_ADDR), 0);
    assert_int_equal(read_ok(IA32_P5_MC_TYPE), 0);
    assert_int_equal(read_ok(IA32_PLATFORM_ID), 0);
    assert_int_equal(read_ok(MSR_SMI_COUNT), 0);
    assert_int_equal(read_ok(IA32_FEATURE_CONTROL), FEATURE_CONTROL_LOCK);
    write_faults(IA32_FEATURE_CONTROL, FEATURE_CONTROL_LOCK);
    assert_int_equal(read_ok(MSR_PLATFORM_INFO), 21 << 8);
    assert_int_equal(read_ok(IA32_MCG_CAP), 0);
    write_faults(IA32_MCG_CAP, 0);
    keeps(IA32_MCG_STATUS, 7);
    write_faults(IA32_MCG_STATUS, 8);
    write_ok(IA32_BIOS_SIGN_ID, 0);
    write_ok(IA32_BIOS_UPDT_TRIG, 0x1000);
    assert_int_equal(read_ok(MSR_MISC_FEATURES_ENABLES), 0);
    write_ok(MSR_MISC_FEATURES_ENABLES, 0);
    write_faults(MSR_MISC_FEATURES_ENABLES, 1);
    write_ok(IA32_EFER, 1);
    assert_int_equal(log_lines, 0);
}

static void apic_msrs(void **state)
{
    static const uint32_t to_apic[] = { IA32_TSC_DEADLINE, 0x800, 0x808, 0x83F, 0x8FF };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(to_apic); i++) {
        assert_int_equal(read_ok(to_apic[i]), 0x1234);
        assert_int_equal(last_apic_msr, to_apic[i]);
        write_faults(to_apic[i], 1);
        write_ok(to_apic[i], 0);
    }
    keeps(IA32_APIC_BASE, 0xFEE00D00);
    keeps(MSR_PV_EOI, 0x1001);
    write_faults(MSR_PV_EOI, 0x1003);
    read_faults(0x900);
    read_faults(0x7FF);
}

/* A TSC write moves TSC_ADJUST by what it moved the TSC, and the other way round. */
static void tsc(void **state)
{
    (void)state;
    uint64_t before = read_ok(IA32_TIME_STAMP_COUNTER);
    write_ok(IA32_TIME_STAMP_COUNTER, 1ULL << 60);
    assert_true(read_ok(IA32_TIME_STAMP_COUNTER) - (1ULL << 60) < 1ULL << 40);
    assert_int_equal(read_ok(IA32_TSC_ADJUST), (uint64_t)vcpu.lapic.tsc_offset);
    assert_true((1ULL << 60) - before - read_ok(IA32_TSC_ADJUST) < 1ULL << 40);
    keeps(IA32_TSC_ADJUST, 5);
    assert_int_equal(vcpu.lapic.tsc_offset, 5);
    keeps(IA32_TSC_ADJUST, (uint64_t)-1000);
    assert_int_equal(vcpu.lapic.tsc_offset, -1000);
}

/* The value that kvm-unit-tests writes; read-only bits stay. */
static void misc_enable(void **state)
{
    (void)state;
    assert_int_equal(read_ok(IA32_MISC_ENABLE), 0x1801);
    write_ok(IA32_MISC_ENABLE, 0x400C50809);
    assert_int_equal(read_ok(IA32_MISC_ENABLE), 0x400C51809);
    write_ok(IA32_MISC_ENABLE, 0);
    assert_int_equal(read_ok(IA32_MISC_ENABLE), 0x1800);
    write_faults(IA32_MISC_ENABLE, BIT(1));
    write_faults(IA32_MISC_ENABLE, BIT(63));
}

static void mtrrs(void **state)
{
    (void)state;
    assert_int_equal(read_ok(IA32_MTRRCAP), 0x508);
    write_faults(IA32_MTRRCAP, 0x508);
    assert_int_equal(read_ok(IA32_MTRR_DEF_TYPE), 0xC06);
    assert_int_equal(read_ok(IA32_MTRR_PHYSBASE0), 0xC0000000);
    assert_int_equal(read_ok(IA32_MTRR_PHYSMASK0), 0xFFC0000800);
    assert_int_equal(read_ok(IA32_MTRR_FIX16K_A0000), 0);
    assert_int_equal(read_ok(IA32_MTRR_FIX4K_F8000), 0x0606060606060606);
    keeps(IA32_MTRR_PHYSBASE0 + 14, 0x80000006);
    keeps(IA32_MTRR_PHYSBASE0 + 15, 0xFF80000800);
    read_faults(IA32_MTRR_PHYSBASE0 + 16);
    write_faults(IA32_MTRR_PHYSBASE0, 0x80000002); /* type 2 */
    write_faults(IA32_MTRR_PHYSBASE0, 0x80000106);
    write_faults(IA32_MTRR_PHYSBASE0, BIT(40) | 6);
    write_faults(IA32_MTRR_PHYSMASK0, BIT(40) | BIT(11));
    write_faults(IA32_MTRR_PHYSMASK0, 0xFF80000801);
    for (uint32_t i = 0; i < 8; i++) {
        keeps(IA32_MTRR_FIX4K_C0000 + i, 0x0001040506000104);
    }
    write_faults(IA32_MTRR_FIX4K_C0000 + 3, 0x0000000300000000);
    write_faults(IA32_MTRR_FIX64K_00000, 0x0700000000000000);
    keeps(IA32_MTRR_FIX16K_80000, 0);
    keeps(IA32_MTRR_DEF_TYPE, 0x800);
    write_faults(IA32_MTRR_DEF_TYPE, 0x1000);
    write_faults(IA32_MTRR_DEF_TYPE, 0x807);
    read_faults(IA32_MTRR_FIX64K_00000 + 1);
}

static void pat(void **state)
{
    (void)state;
    assert_true(pat_valid(PAT_RESET));
    assert_true(pat_valid(0x0706050401000706));
    for (unsigned i = 0; i < 8; i++) {
        assert_false(pat_valid(2ULL << (8 * i)));
        assert_false(pat_valid(3ULL << (8 * i)));
        assert_false(pat_valid(8ULL << (8 * i)));
    }
    write_faults(IA32_PAT, 0x0706050401000702);
}

static void bitmap_bits(void **state)
{
    static const uint32_t msrs_[] = { 0, 7, 0x174, 0x1FFF, 0xC0000000, 0xC0000102, 0xC0001FFF };
    uint8_t bitmap[MSR_BITMAP_SIZE];
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(msrs_); i++) {
        memset(bitmap, 0xFF, sizeof(bitmap));
        assert_true(msr_bitmap_covers(msrs_[i]));
        msr_bitmap_set(bitmap, msrs_[i], false, true);
        assert_false(msr_bitmap_exits(bitmap, msrs_[i], false));
        assert_true(msr_bitmap_exits(bitmap, msrs_[i], true));
        unsigned clear = 0;
        for (unsigned n = 0; n < sizeof(bitmap); n++) {
            clear += 8 - (unsigned)__builtin_popcount(bitmap[n]);
        }
        assert_int_equal(clear, 1);
        msr_bitmap_set(bitmap, msrs_[i], true, false);
        assert_true(msr_bitmap_exits(bitmap, msrs_[i], false));
        assert_false(msr_bitmap_exits(bitmap, msrs_[i], true));
    }
    assert_false(msr_bitmap_covers(0x2000));
    assert_true(msr_bitmap_exits(bitmap, 0xC0002000, false));
    /* SDM: reads of low MSRs, reads of high ones, then writes, at 0, 400H, 800H, C00H. */
    memset(bitmap, 0, sizeof(bitmap));
    msr_bitmap_set(bitmap, 0xC0000082, true, true);
    assert_int_equal(bitmap[0x400 + 0x10], 4);
    assert_int_equal(bitmap[0xC00 + 0x10], 4);
}

static void bitmap_range(void **state)
{
    uint8_t bitmap[MSR_BITMAP_SIZE] = { 0 };
    (void)state;
    msr_bitmap_intercept(bitmap, 0x800, 0x100);
    for (uint32_t msr = 0; msr < 0x2000; msr++) {
        bool inside = msr >= 0x800 && msr < 0x900;
        assert_int_equal(msr_bitmap_exits(bitmap, msr, false), inside);
        assert_int_equal(msr_bitmap_exits(bitmap, msr, true), inside);
        assert_false(msr_bitmap_exits(bitmap, 0xC0000000 + msr, false));
    }
}

static void bitmap_64(void **state)
{
    uint8_t bitmap[MSR_BITMAP_SIZE] = { 0 };
    (void)state;
    msr_bitmap_set_64(bitmap, 0x800, BIT(63) | BIT(8), BIT(0));
    for (uint32_t msr = 0; msr < 0x2000; msr++) {
        assert_int_equal(msr_bitmap_exits(bitmap, msr, false), msr == 0x83F || msr == 0x808);
        assert_int_equal(msr_bitmap_exits(bitmap, msr, true), msr == 0x800);
    }
}

/* The x2APIC registers and all that the policy must see exit; the system-call MSRs do not. */
static void bitmap_policy(void **state)
{
    uint8_t bitmap[MSR_BITMAP_SIZE];
    (void)state;
    msr_bitmap_init(bitmap);
    for (uint32_t msr = 0x800; msr < 0x900; msr++) {
        assert_true(msr_bitmap_exits(bitmap, msr, false) && msr_bitmap_exits(bitmap, msr, true));
    }
    assert_true(msr_bitmap_exits(bitmap, IA32_EFER, true));
    assert_true(msr_bitmap_exits(bitmap, IA32_APIC_BASE, true));
    assert_true(msr_bitmap_exits(bitmap, IA32_PAT, true));
    assert_true(msr_bitmap_exits(bitmap, IA32_SPEC_CTRL, false)); /* not offered by this host */
    assert_true(msr_bitmap_exits(bitmap, IA32_TSC_AUX, false));
    assert_false(msr_bitmap_exits(bitmap, IA32_LSTAR, true));
    assert_false(msr_bitmap_exits(bitmap, IA32_KERNEL_GS_BASE, false));
    assert_false(msr_bitmap_exits(bitmap, IA32_SYSENTER_EIP, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(unknown_msrs, set_up),
        cmocka_unit_test_setup(quiet_faults, set_up),
        cmocka_unit_test_setup(fixed_values, set_up),
        cmocka_unit_test_setup(apic_msrs, set_up),
        cmocka_unit_test_setup(tsc, set_up),
        cmocka_unit_test_setup(misc_enable, set_up),
        cmocka_unit_test_setup(mtrrs, set_up),
        cmocka_unit_test_setup(pat, set_up),
        cmocka_unit_test_setup(bitmap_bits, set_up),
        cmocka_unit_test_setup(bitmap_range, set_up),
        cmocka_unit_test(bitmap_64),
        cmocka_unit_test_setup(bitmap_policy, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
