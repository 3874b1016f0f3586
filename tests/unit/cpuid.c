/* SPDX-License-Identifier: MIT */
/* links: vmx/cpuid.c */
/* The CPUID policy over hosts that answer all ones, as a Skylake server does, or with few leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "arch/msr.h"
#include "arch/x86.h"
#include "lib/bits.h"
#include "vmx/cpuid.h"

#define TSC_HZ 2100000000ULL
#define AVX512 (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)

static uint32_t host_max_leaf;

/* Everything is there: what the guest sees is the policy alone. XSAVE components have Intel's layout. */
static struct cpuid full_host(uint32_t leaf, uint32_t subleaf)
{
    static const struct cpuid components[] = {
        [2] = { 256, 576, 0, 0 },   [5] = { 64, 1088, 0, 0 }, [6] = { 512, 1152, 0, 0 },
        [7] = { 1024, 1664, 0, 0 }, [9] = { 8, 2688, 0, 0 },
    };
    if (leaf == 0) {
        return (struct cpuid){ host_max_leaf, 0x756E6547, 0x6C65746E, 0x49656E69 };
    }
    if (leaf == 0x0D && subleaf >= 2) {
        return subleaf < ARRAY_SIZE(components) ? components[subleaf]
                                                : (struct cpuid){ 0, 0, 0, 0 };
    }
    if (leaf == 4) {
        static const uint32_t caches[] = { 0xFFFFC121, 0xFFFFC122, 0xFFFFC143, 0xFFFFC163, 0 };
        return (struct cpuid){ subleaf < 5 ? caches[subleaf] : 0, 0x01C0003F, 63, 0 };
    }
    if (leaf == 0x80000008) {
        return (struct cpuid){ 0x3028, ~0U, ~0U, ~0U };
    }
    return (struct cpuid){ ~0U, ~0U, ~0U, ~0U };
}

static struct cpuid host_without_umip(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid answer = full_host(leaf, subleaf);
    if (leaf == 7) {
        answer.ecx &= ~BIT32(2);
    }
    return answer;
}

static struct cpuid_machine machine = {
    .read = full_host,
    .tsc_hz = TSC_HZ,
    .rdtscp = true,
    .invpcid = true,
    .xsaves = true,
};

static struct cpuid_guest guest;

static int set_up(void **state)
{
    (void)state;
    host_max_leaf = 0x16;
    machine.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | AVX512 | XCR0_PKRU;
    machine.rdtscp = machine.invpcid = machine.xsaves = true;
    machine.read = full_host;
    machine.umip = false;
    guest = (struct cpuid_guest){ .vcpu_count = 1, .xcr0 = XCR0_X87, .apic_enabled = true };
    cpuid_init(&machine);
    return 0;
}

static struct cpuid ask(uint32_t leaf, uint32_t subleaf)
{
    return cpuid_for_guest(&guest, leaf, subleaf);
}

static void features(void **state)
{
    (void)state;
    struct cpuid leaf = ask(1, 0);
    uint32_t hidden = CPUID_1_ECX_DTES64 | CPUID_1_ECX_MONITOR | CPUID_1_ECX_DS_CPL |
                      CPUID_1_ECX_VMX | CPUID_1_ECX_SMX | CPUID_1_ECX_EIST | CPUID_1_ECX_TM2 |
                      CPUID_1_ECX_SDBG | CPUID_1_ECX_PDCM | CPUID_1_ECX_DCA | CPUID_1_ECX_OSXSAVE;
    uint32_t there = CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE | CPUID_1_ECX_HYPERVISOR |
                     CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_PCID;
    assert_int_equal(leaf.ecx & hidden, 0);
    assert_int_equal(leaf.ecx & there, there);
    guest.no_x2apic = true;
    assert_int_equal(ask(1, 0).ecx, leaf.ecx & ~CPUID_1_ECX_X2APIC);
    assert_int_equal(leaf.edx & (CPUID_1_EDX_DS | CPUID_1_EDX_ACPI | CPUID_1_EDX_TM |
                                 CPUID_1_EDX_PBE | CPUID_1_EDX_PSN | CPUID_1_EDX_HTT),
                     0);
    assert_true(leaf.edx & CPUID_1_EDX_APIC);
    guest.apic_enabled = false;
    assert_false(ask(1, 0).edx & CPUID_1_EDX_APIC);
}

static void pv_eoi_can_be_hidden(void **state)
{
    (void)state;
    assert_int_equal(ask(0x40000001, 0).eax & 1 << 6, 1 << 6);
    guest.no_pv_eoi = true;
    assert_int_equal(ask(0x40000001, 0).eax & 1 << 6, 0);
    assert_int_equal(ask(0x40000101, 0).eax, 0);
}

/* HLE, RTM, SGX, MPX, PT, RDT; WAITPKG, CET, KL, PKS; UINTR, AMX, arch LBR, CORE_CAPABILITIES. */
static void structured_features_hidden(void **state)
{
    (void)state;
    struct cpuid leaf = ask(7, 0);
    assert_int_equal(leaf.ebx & (BIT32(2) | BIT32(4) | BIT32(11) | BIT32(12) | BIT32(14) |
                                 BIT32(15) | BIT32(25)),
                     0);
    assert_int_equal(leaf.ecx & (BIT32(5) | BIT32(7) | BIT32(13) | BIT32(23) | BIT32(24) |
                                 BIT32(29) | BIT32(30) | BIT32(31)),
                     0);
    assert_int_equal(leaf.edx & (BIT32(5) | BIT32(11) | BIT32(13) | BIT32(18) | BIT32(19) |
                                 BIT32(20) | BIT32(22) | BIT32(24) | BIT32(25) | BIT32(30)),
                     0);
    assert_int_equal(leaf.eax, 1);
    assert_int_equal(ask(7, 1).ecx | ask(7, 1).edx | ask(7, 2).edx | ask(7, 3).eax, 0);
}

static void features_follow_the_machine(void **state)
{
    (void)state;
    assert_true(ask(7, 0).ebx & BIT32(10));
    assert_true(ask(7, 0).ebx & BIT32(16));
    assert_true(ask(7, 0).ecx & BIT32(3));
    assert_true(ask(0x80000001, 0).edx & CPUID_80000001_EDX_RDTSCP);
    assert_true(ask(0x0D, 1).eax & BIT32(3));
    machine.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    machine.rdtscp = machine.invpcid = machine.xsaves = false;
    cpuid_init(&machine);
    struct cpuid leaf = ask(7, 0);
    assert_int_equal(leaf.ebx & (BIT32(10) | 0xDC230000), 0); /* INVPCID, AVX512* */
    assert_int_equal(leaf.ecx & (BIT32(1) | BIT32(3) | BIT32(6) | BIT32(11) | BIT32(22)), 0);
    assert_false(ask(0x80000001, 0).edx & CPUID_80000001_EDX_RDTSCP);
    assert_false(ask(0x0D, 1).eax & BIT32(3));
    assert_true(ask(0x0D, 1).eax & BIT32(1));
}

/* UMIP is there when the CPU has it or Rivet emulates it. */
static void umip(void **state)
{
    (void)state;
    assert_true(ask(7, 0).ecx & BIT32(2));
    machine.read = host_without_umip;
    cpuid_init(&machine);
    assert_false(ask(7, 0).ecx & BIT32(2));
    machine.umip = true;
    cpuid_init(&machine);
    assert_true(ask(7, 0).ecx & BIT32(2));
}

/* OSXSAVE and OSPKE mirror CR4; the XSAVE size follows XCR0. */
static void dynamic_bits(void **state)
{
    (void)state;
    guest.cr4 = CR4_OSXSAVE | CR4_PKE;
    assert_true(ask(1, 0).ecx & CPUID_1_ECX_OSXSAVE);
    assert_true(ask(7, 0).ecx & BIT32(4));
    guest.cr4 = 0;
    assert_false(ask(7, 0).ecx & BIT32(4));
    assert_int_equal(ask(0x0D, 0).ebx, 576);
    guest.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    assert_int_equal(ask(0x0D, 0).ebx, 832);
    guest.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_PKRU;
    assert_int_equal(ask(0x0D, 0).ebx, 2696);
    assert_int_equal(ask(0x0D, 1).ebx, 576 + 8); /* compacted */
    assert_int_equal(ask(0x0D, 0).ecx, 2696);
    assert_int_equal(ask(0x0D, 0).eax, machine.xcr0);
    assert_int_equal(ask(0x0D, 2).eax, 256);
    assert_int_equal(ask(0x0D, 3).eax | ask(0x0D, 17).eax | ask(0x0D, 63).eax, 0);
}

static void topology(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 16; count++) {
        guest.vcpu_count = count;
        guest.vcpu_index = count - 1;
        unsigned shift = ask(0x0B, 1).eax;
        assert_true((count - 1) >> shift == 0 && (shift == 0 || (count - 1) >> (shift - 1)));
        assert_int_equal(ask(0x0B, 0).eax, 0);
        assert_int_equal(ask(0x0B, 0).ebx, 1);
        assert_int_equal(ask(0x0B, 0).ecx, 0x100);
        assert_int_equal(ask(0x0B, 1).ebx, count);
        assert_int_equal(ask(0x0B, 1).ecx, 0x201);
        assert_int_equal(ask(0x0B, 2).ecx, 2);
        assert_int_equal(ask(0x0B, 2).ebx, 0);
        assert_int_equal(ask(0x0B, 7).edx, count - 1);
        assert_int_equal(ask(1, 0).ebx >> 24, count - 1);
        assert_int_equal(!!(ask(1, 0).edx & CPUID_1_EDX_HTT), count > 1);
        assert_int_equal(ask(1, 0).ebx >> 16 & 0xFF, count > 1 ? 1U << shift : 0);
    }
}

static void caches(void **state)
{
    (void)state;
    guest.vcpu_count = 3;
    assert_int_equal(ask(4, 0).eax, 0x0C000121); /* L1D: its own, package of 4 ids */
    assert_int_equal(ask(4, 2).eax, 0x0C000143);
    assert_int_equal(ask(4, 3).eax, 0x0C00C163); /* L3: shared by 4 ids */
    assert_int_equal(ask(4, 4).eax, 0);
}

static void time_leaves(void **state)
{
    (void)state;
    struct cpuid leaf = ask(0x15, 0);
    assert_int_equal(leaf.eax, 1);
    assert_int_equal(leaf.ebx, 1);
    assert_int_equal(leaf.ecx, TSC_HZ);
    assert_int_equal(ask(0x16, 0).eax, 2100);
    assert_int_equal(ask(0x80000007, 0).edx, CPUID_80000007_EDX_INVARIANT_TSC);
    assert_int_equal(ask(6, 0).eax, BIT32(2)); /* ARAT and nothing else */
    assert_int_equal(ask(6, 0).ecx, 0);
}

/* A host that stops at 0DH: the leaves up to 16H exist, those between read zero. */
static void ranges(void **state)
{
    (void)state;
    host_max_leaf = 0x0D;
    cpuid_init(&machine);
    assert_int_equal(ask(0, 0).eax, 0x16);
    assert_int_equal(ask(0x15, 0).ecx, TSC_HZ);
    for (uint32_t leaf = 0x0E; leaf < 0x15; leaf++) {
        struct cpuid answer = ask(leaf, 0);
        assert_int_equal(answer.eax | answer.ebx | answer.ecx | answer.edx, 0);
    }
    assert_int_equal(ask(0x0A, 0).eax | ask(0x05, 0).eax | ask(0x0A, 0).edx, 0);
    /* Beyond the maximum: the highest basic leaf. */
    assert_int_equal(ask(0x1F, 1).eax, ask(0x16, 0).eax);
    assert_int_equal(ask(0x80000009, 0).eax, ask(0x16, 0).eax);
    assert_int_equal(ask(0x40000002, 0).eax, ask(0x16, 0).eax);
    host_max_leaf = 0x20;
    cpuid_init(&machine);
    assert_int_equal(ask(0, 0).eax, 0x1F);
    assert_int_equal(ask(0x1F, 1).ecx, 0x201);
    assert_int_equal(ask(0x80000000, 0).eax, 0x80000008);
    assert_int_equal(ask(0x80000008, 0).eax, 0x3028);
    assert_int_equal(cpuid_physical_address_bits(), 40);
}

static void hypervisor(void **state)
{
    (void)state;
    struct cpuid leaf = ask(0x40000000, 0);
    assert_int_equal(leaf.eax, 0x40000001);
    assert_memory_equal(&leaf.ebx, "KVMK", 4);
    assert_memory_equal(&leaf.ecx, "VMKV", 4);
    assert_memory_equal(&leaf.edx, "M\0\0\0", 4);
    leaf = ask(0x40000001, 0);
    assert_int_equal(leaf.eax, 1 << 6); /* PV EOI */
    assert_int_equal(leaf.ebx | leaf.ecx | leaf.edx, 0);
    leaf = ask(0x40000100, 0);
    assert_int_equal(leaf.eax, 0x40000101);
    assert_memory_equal(&leaf.ebx, "Rive", 4);
    assert_memory_equal(&leaf.ecx, "tRiv", 4);
    assert_memory_equal(&leaf.edx, "et\0\0", 4);
    leaf = ask(0x40000101, 0);
    assert_int_equal(leaf.eax, 1); /* the vapic word */
    assert_int_equal(leaf.ebx | leaf.ecx | leaf.edx, 0);
    assert_int_equal(ask(0x400000FF, 0).eax, ask(0x16, 0).eax);
    assert_int_equal(ask(0x40000102, 0).eax, ask(0x16, 0).eax);
}

static void misc_enable(void **state)
{
    (void)state;
    guest.misc_enable = MISC_ENABLE_LIMIT_CPUID;
    assert_int_equal(ask(0, 0).eax, 2);
    assert_true(ask(0x80000001, 0).edx & CPUID_80000001_EDX_NX);
    guest.misc_enable = MISC_ENABLE_XD_DISABLE;
    assert_false(ask(0x80000001, 0).edx & CPUID_80000001_EDX_NX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(features, set_up),
        cmocka_unit_test_setup(pv_eoi_can_be_hidden, set_up),
        cmocka_unit_test_setup(structured_features_hidden, set_up),
        cmocka_unit_test_setup(features_follow_the_machine, set_up),
        cmocka_unit_test_setup(umip, set_up),
        cmocka_unit_test_setup(dynamic_bits, set_up),
        cmocka_unit_test_setup(topology, set_up),
        cmocka_unit_test_setup(caches, set_up),
        cmocka_unit_test_setup(time_leaves, set_up),
        cmocka_unit_test_setup(ranges, set_up),
        cmocka_unit_test_setup(hypervisor, set_up),
        cmocka_unit_test_setup(misc_enable, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
