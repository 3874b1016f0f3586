/* SPDX-License-Identifier: MIT */
/* links: vmx/guest_paging.c */
/*
 * The walk of a guest's paging structures: every mode, every right, the error codes, reserved bits,
 * accessed and dirty flags (SDM volume 3, chapter "Paging").
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "vmx/guest_paging.h"

enum { TABLES = 16, PAGE_WORDS = 512 };

#define P     BIT(0)
#define W     BIT(1)
#define U     BIT(2)
#define A     BIT(5)
#define D     BIT(6)
#define PS    BIT(7)
#define XD    BIT(63)
#define LMA   BIT(10)
#define NXE   BIT(11)
#define ALLOW (P | W | U)
#define AC    RFLAGS_AC

/* Guest-physical memory of a few tables: table n is at page n + 1. */
static uint64_t ram[TABLES][PAGE_WORDS];
static struct paging paging;
static struct fault fault;
static uint64_t gpa;

static uint64_t table_address(unsigned table)
{
    return (table + 1) * PAGE_SIZE;
}

static void *entry_pointer(void *context, uint64_t address, unsigned size)
{
    assert_ptr_equal(context, ram);
    assert_int_equal(address % size, 0);
    uint64_t table = address / PAGE_SIZE - 1;
    return table < TABLES ? (uint8_t *)ram[table] + address % PAGE_SIZE : NULL;
}

static void reset(uint64_t cr4, uint64_t efer)
{
    memset(ram, 0, sizeof(ram));
    paging = (struct paging){
        .cr0 = CR0_PE | CR0_PG | CR0_WP,
        .cr3 = table_address(0),
        .cr4 = cr4,
        .efer = efer,
        .physical_bits = 40,
        .pages_1g = true,
        .entry = entry_pointer,
        .context = ram,
    };
    fault = (struct fault){ 0 };
}

static int walk(uint64_t linear, unsigned access)
{
    return paging_translate(&paging, linear, access, &gpa, &fault);
}

static void expect_page(uint64_t linear, unsigned access, uint64_t address)
{
    assert_int_equal(walk(linear, access), 0);
    assert_int_equal(gpa, address);
}

static void expect_fault(uint64_t linear, unsigned access, uint32_t code)
{
    assert_int_equal(walk(linear, access), ERR_GP);
    assert_int_equal(fault.vector, EXCEPTION_PF);
    assert_int_equal(fault.error_code, code);
    assert_int_equal(fault.address, linear);
}

/* Tables 0 to 3, one below the other, map LINEAR to leaf. */
#define LINEAR 0x0000008040201000ULL /* index 1 at every level */

static void map_4_level(uint64_t leaf)
{
    reset(CR4_PAE, LMA | NXE);
    ram[0][1] = table_address(1) | ALLOW;
    ram[1][1] = table_address(2) | ALLOW;
    ram[2][1] = table_address(3) | ALLOW;
    ram[3][1] = leaf;
}

static void unpaged(void **state)
{
    (void)state;
    reset(0, 0);
    paging.cr0 = CR0_PE;
    expect_page(0xFEE00300, ACCESS_WRITE, 0xFEE00300);
}

static void four_levels(void **state)
{
    (void)state;
    map_4_level(0x12345000 | ALLOW);
    expect_page(LINEAR + 0x678, ACCESS_READ, 0x12345678);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(ram[i][1] & (A | D), A);
    }
    expect_page(LINEAR, ACCESS_WRITE, 0x12345000);
    assert_int_equal(ram[3][1] & (A | D), A | D);
    assert_int_equal(ram[2][1] & (A | D), A);
    expect_fault(LINEAR + 0x1000, ACCESS_READ, 0);
    expect_fault(LINEAR + 0x1000, ACCESS_WRITE, PF_WRITE);
    expect_fault(LINEAR + 0x1000, ACCESS_FETCH, PF_FETCH);
}

static void large_pages(void **state)
{
    (void)state;
    map_4_level(0);
    ram[2][1] = 0x40000000 | ALLOW | PS;
    expect_page(LINEAR + 0x1234, ACCESS_WRITE, 0x40000000 + ((LINEAR + 0x1234) & (MIB(2) - 1)));
    assert_int_equal(ram[2][1] & (A | D), A | D);
    ram[1][1] = 0x80000000 | ALLOW | PS;
    expect_page(LINEAR, ACCESS_READ, 0x80000000 + (LINEAR & (GIB(1) - 1)));
    paging.pages_1g = false;
    expect_fault(LINEAR, ACCESS_READ, PF_PRESENT | PF_RESERVED);
}

static void five_levels(void **state)
{
    (void)state;
    map_4_level(0x5000 | ALLOW);
    paging.cr4 |= CR4_LA57;
    paging.cr3 = table_address(4);
    ram[4][0x1FF] = table_address(0) | ALLOW;
    expect_page(0xFF00000000000000ULL | 1ULL << 56 | LINEAR | 0x1FFULL << 48, ACCESS_READ, 0x5000);
    expect_fault(LINEAR, ACCESS_READ, 0);
}

static void reserved_bits(void **state)
{
    static const struct {
        unsigned table;
        uint64_t bits;
    } cases[] = {
        { 0, PS }, { 0, BIT(40) }, { 1, BIT(51) }, { 2, BIT(40) }, { 3, BIT(45) },
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        map_4_level(0x5000 | ALLOW);
        ram[cases[i].table][1] |= cases[i].bits;
        expect_fault(LINEAR, ACCESS_READ, PF_PRESENT | PF_RESERVED);
        assert_int_equal(ram[0][1] & A, 0);
    }
    map_4_level(0x5000 | ALLOW | BIT(52) | BIT(62));
    expect_page(LINEAR, ACCESS_READ, 0x5000);
    map_4_level(0x5000 | ALLOW | XD);
    paging.efer &= ~NXE;
    expect_fault(LINEAR, ACCESS_READ, PF_PRESENT | PF_RESERVED);
    map_4_level(0);
    ram[2][1] = 0x40000000 | BIT(13) | ALLOW | PS;
    expect_fault(LINEAR, ACCESS_READ, PF_PRESENT | PF_RESERVED);
}

/* A table outside RAM reads all ones: reserved bits are set. */
static void tables_outside_ram(void **state)
{
    (void)state;
    map_4_level(0x5000 | ALLOW);
    ram[1][1] = 0x100000 | ALLOW;
    expect_fault(LINEAR, ACCESS_WRITE, PF_PRESENT | PF_RESERVED | PF_WRITE);
}

static void level_outside_ram(void **state)
{
    (void)state;
    for (unsigned table = 0; table < 4; table++) {
        map_4_level(0x5000 | ALLOW);
        assert_int_equal(paging_level_outside_ram(&paging, LINEAR), 0);
        *(table == 0 ? &paging.cr3 : &ram[table - 1][1]) = 0x100000 | ALLOW;
        assert_int_equal(paging_level_outside_ram(&paging, LINEAR), 4 - table);
        assert_int_equal((ram[0][1] | ram[1][1] | ram[2][1]) & A, 0);
    }
    reset(0, 0); /* 32-bit paging: nothing is reserved, so the walk goes on, outside RAM */
    paging.cr3 = 0x100000;
    assert_int_equal(paging_level_outside_ram(&paging, LINEAR), 2);
    paging.cr0 = CR0_PE;
    assert_int_equal(paging_level_outside_ram(&paging, LINEAR), 0);
}

/* What the SDM's "Determination of Access Rights" says, written as a second opinion. */
static bool allowed(uint64_t rights, unsigned access, unsigned cpl)
{
    bool user_page = rights & U;
    bool write = access == ACCESS_WRITE, fetch = access == ACCESS_FETCH;
    if (cpl == 3) {
        if (!user_page) {
            return false;
        }
        return fetch ? !(rights & XD) : !write || (rights & W);
    }
    if (fetch) {
        return !(rights & XD) && !(user_page && (paging.cr4 & CR4_SMEP));
    }
    if (user_page && (paging.cr4 & CR4_SMAP) && !(paging.rflags & AC)) {
        return false;
    }
    return !write || (rights & W) || !(paging.cr0 & CR0_WP);
}

/* Rights on each level, CPL, WP, SMEP, SMAP and AC in every combination. */
static void rights(void **state)
{
    static const unsigned accesses[] = { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };
    (void)state;
    for (unsigned i = 0; i < 8 * 4 * 3 * 2 * 2 * 2 * 2 * 2; i++) {
        unsigned n = i;
        uint64_t set = (n & 1 ? W : 0) | (n & 2 ? U : 0) | (n & 4 ? XD : 0);
        unsigned level = n / 8 % 4;
        unsigned access = accesses[n / 32 % 3];
        n /= 96;
        map_4_level(0x5000 | ALLOW);
        ram[level][1] = (ram[level][1] & ~(W | U | XD)) | set;
        paging.cpl = n & 1 ? 3 : 0;
        paging.cr0 = CR0_PE | CR0_PG | (n & 2 ? CR0_WP : 0);
        paging.cr4 |= (n & 4 ? CR4_SMEP : 0) | (n & 8 ? CR4_SMAP : 0);
        paging.rflags = n & 16 ? AC : 0;
        if (allowed(set, access, paging.cpl)) {
            expect_page(LINEAR, access, 0x5000);
        } else {
            uint32_t code = PF_PRESENT | (paging.cpl ? PF_USER : 0) | access;
            expect_fault(LINEAR, access, code);
            assert_int_equal(ram[0][1] & A, 0);
        }
    }
}

/* Bit 4 of the error code exists only with SMEP or execute-disable. */
static void fetch_bit(void **state)
{
    (void)state;
    map_4_level(0);
    paging.efer &= ~NXE;
    expect_fault(LINEAR, ACCESS_FETCH, 0);
    paging.cr4 |= CR4_SMEP;
    expect_fault(LINEAR, ACCESS_FETCH, PF_FETCH);
}

static void protection_keys(void **state)
{
    (void)state;
    map_4_level(0x5000 | ALLOW | 5ULL << 59);
    paging.cr4 |= CR4_PKE;
    paging.cpl = 3;
    expect_page(LINEAR, ACCESS_WRITE, 0x5000);
    paging.pkru = 2U << 10; /* write disable for key 5 */
    expect_page(LINEAR, ACCESS_READ, 0x5000);
    expect_fault(LINEAR, ACCESS_WRITE, PF_PRESENT | PF_WRITE | PF_USER | BIT(5));
    paging.cpl = 0;
    paging.cr0 &= ~CR0_WP;
    expect_page(LINEAR, ACCESS_WRITE, 0x5000);
    paging.pkru = 1U << 10; /* access disable */
    expect_fault(LINEAR, ACCESS_READ, PF_PRESENT | BIT(5));
    expect_page(LINEAR, ACCESS_FETCH, 0x5000);
    ram[3][1] &= ~U;
    expect_page(LINEAR, ACCESS_READ, 0x5000);
}

static void pae(void **state)
{
    (void)state;
    reset(CR4_PAE, NXE);
    paging.pdpte[3] = table_address(1) | P;
    ram[1][0x1FF] = table_address(2) | ALLOW;
    ram[2][0x1FF] = 0x7000 | ALLOW;
    expect_page(0xFFFFF123, ACCESS_WRITE, 0x7123);
    assert_int_equal(ram[1][0x1FF] & (A | D), A);
    assert_int_equal(ram[2][0x1FF] & (A | D), A | D);
    ram[1][0x1FE] = 0x60000000 | ALLOW | PS;
    expect_page(0xFFC12345, ACCESS_READ, 0x60012345);
    expect_fault(0x12345, ACCESS_READ, 0);
    ram[2][0x1FF] |= BIT(52); /* reserved in PAE paging */
    expect_fault(0xFFFFF000, ACCESS_READ, PF_PRESENT | PF_RESERVED);
}

static void two_levels(void **state)
{
    uint32_t *directory = (uint32_t *)ram[0];
    uint32_t *table = (uint32_t *)ram[1];
    (void)state;
    reset(CR4_PSE, 0);
    directory[0x3FF] = (uint32_t)(table_address(1) | ALLOW);
    table[0x3FE] = 0x9000 | ALLOW;
    expect_page(0xFFFFEABC, ACCESS_WRITE, 0x9ABC);
    assert_int_equal(table[0x3FE] & (A | D), A | D);
    directory[1] = 0x00C00000 | ALLOW | PS | 0x5A << 13; /* PSE-36 */
    expect_page(0x00712345, ACCESS_READ, 0x5A00C00000 + 0x312345);
    directory[2] = 0x00C00000 | ALLOW | PS | BIT32(21);
    expect_fault(0x00800000, ACCESS_READ, PF_PRESENT | PF_RESERVED);
    paging.physical_bits = 36;
    expect_fault(0x00712345, ACCESS_READ, PF_PRESENT | PF_RESERVED);
    /* Without CR4.PSE the bit means nothing: the entry names a table. */
    paging.cr4 = 0;
    directory[1] = (uint32_t)(table_address(1) | ALLOW | PS);
    table[0x312] = 0x4000 | ALLOW;
    expect_page(0x00712345, ACCESS_READ, 0x4345);
    expect_fault(0x00713345, ACCESS_FETCH, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unpaged),         cmocka_unit_test(four_levels),
        cmocka_unit_test(large_pages),     cmocka_unit_test(five_levels),
        cmocka_unit_test(reserved_bits),   cmocka_unit_test(tables_outside_ram),
        cmocka_unit_test(rights),          cmocka_unit_test(fetch_bit),
        cmocka_unit_test(protection_keys), cmocka_unit_test(pae),
        cmocka_unit_test(two_levels),      cmocka_unit_test(level_outside_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
