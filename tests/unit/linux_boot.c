/* SPDX-License-Identifier: MIT */
/*
 * Linux's boot protocol on images made here, and on a real bzImage when RIVET_BZIMAGE names one.
 */
/* links: guest/linux.c guest/ram.c guest/complaint.c lib/print.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/boot.h"
#include "guest/fields.h"
#include "lib/bits.h"

enum { SETUP_SECTORS = 3, SETUP_SIZE = (SETUP_SECTORS + 1) * 512, CODE_SIZE = 0x3000 };
enum { IMAGE_SIZE = SETUP_SIZE + CODE_SIZE, MEMORY = 64 << 20, INITRD_SIZE = 5000 };

static uint8_t image[IMAGE_SIZE];
static uint8_t initrd[INITRD_SIZE];
static uint8_t *memory;
static struct ram ram;
static struct boot_request request;
static struct vcpu_boot_state start;
static struct complaint complaint;

static void make_image(void)
{
    memset(image, 0, sizeof(image));
    image[0x1F1] = SETUP_SECTORS;
    put32(image + 0x1F4, CODE_SIZE / 16);
    put16(image + 0x1FE, 0xAA55);
    image[0x201] = 0x6A; /* the header ends at 26CH */
    put32(image + 0x202, 0x53726448);
    put16(image + 0x206, 0x020F);
    image[0x211] = 1;
    put32(image + 0x22C, 0x7FFFFFFF);
    put32(image + 0x230, 0x200000);
    image[0x234] = 1;
    put16(image + 0x236, 0x3F);
    put32(image + 0x238, 100);
    put64(image + 0x258, 0x1000000);
    put32(image + 0x260, 0x800000);
    for (unsigned i = 0; i < CODE_SIZE; i++) {
        image[SETUP_SIZE + i] = (uint8_t)(i * 7 + 1);
    }
    for (unsigned i = 0; i < INITRD_SIZE; i++) {
        initrd[i] = (uint8_t)(i * 5 + 3);
    }
}

static void set_memory(uint64_t size)
{
    free(memory);
    memory = calloc(1, size);
    ram_plan(&ram, size);
    ram.piece_count = 1;
    ram.pieces[0] = (struct ram_piece){ 0, size, memory };
}

static int setup(void **state)
{
    (void)state;
    make_image();
    set_memory(MEMORY);
    memset(&start, 0, sizeof(start));
    request = (struct boot_request){
        .ram = &ram,
        .name = "test",
        .kernel = { image, IMAGE_SIZE, "console=ttyS0 quiet" },
        .initrd = { initrd, INITRD_SIZE, "" },
        .rsdp = 0xE0000,
    };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    memory = NULL;
    return 0;
}

static void expect_refused(const char *text)
{
    assert_int_equal(linux_load(&request, &start, &complaint), ERR_INVALID);
    assert_string_equal(complaint.text, text);
}

/* The guest-physical address that a walk of the boot page tables gives, all of them below 4 GiB. */
static uint64_t walk(uint64_t linear)
{
    uint64_t table = start.cr3;
    uint64_t entry = 0;

    for (int shift = 39; shift >= 21; shift -= 9) {
        entry = get64(memory + table + (linear >> shift & 511) * 8);
        assert_int_equal(entry & 3, 3);
        table = entry & 0x000FFFFFFFFFF000;
    }
    assert_int_equal(entry & 0x80, 0x80);
    return table + (linear & 0x1FFFFF);
}

static void test_start_state(void **state)
{
    (void)state;
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    assert_true(start.long_mode);
    assert_int_equal(start.rip, 0x1000200);
    assert_memory_equal(memory + 0x1000000, image + SETUP_SIZE, CODE_SIZE);
    assert_int_equal(start.cs, 0x10);
    assert_int_equal(start.ds, 0x18);
    assert_true(get64(memory + start.gdt_base + 0x10) == 0x00AF9B000000FFFF);
    assert_true(get64(memory + start.gdt_base + 0x18) == 0x00CF93000000FFFF);
    assert_int_equal(start.gdt_limit, 31);
    assert_true(walk(0) == 0);
    assert_true(walk(0x12345678) == 0x12345678);
    assert_true(walk(0xFFFFFFFF) == 0xFFFFFFFF);
    assert_true(walk(0xC0000000) == 0xC0000000);
}

static void test_zero_page(void **state)
{
    (void)state;
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    const uint8_t *page = memory + start.gpr[RSI];
    assert_memory_equal(page + 0x1F1, image + 0x1F1, 0x210 - 0x1F1);
    assert_int_equal(page[0x210], 0xFF);
    assert_int_equal(get32(page + 0x214), 0x1000000);
    assert_string_equal((const char *)memory + get32(page + 0x228), "console=ttyS0 quiet");
    assert_true(get64(page + 0x70) == 0xE0000);
    assert_int_equal(page[0x26C], 0); /* nothing from behind the header */
    assert_int_equal(get32(page + 0x0C8), 0);
}

static void test_initrd_lies_high_and_whole(void **state)
{
    (void)state;
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    const uint8_t *page = memory + start.gpr[RSI];
    uint32_t address = get32(page + 0x218);
    assert_int_equal(get32(page + 0x21C), INITRD_SIZE);
    assert_int_equal(address, MEMORY - 0x2000);
    assert_memory_equal(memory + address, initrd, INITRD_SIZE);

    put32(image + 0x22C, 0x2FFFFFF);
    setup(state);
    put32(image + 0x22C, 0x2FFFFFF);
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    address = get32(memory + start.gpr[RSI] + 0x218);
    assert_int_equal(address, 0x3000000 - 0x2000);
}

static void test_no_initrd(void **state)
{
    (void)state;
    request.initrd = (struct boot_file){ NULL, 0, "" };
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    assert_int_equal(get32(memory + start.gpr[RSI] + 0x218), 0);
    assert_int_equal(get32(memory + start.gpr[RSI] + 0x21C), 0);
}

static void test_e820(void **state)
{
    static const struct {
        uint64_t start, end;
        uint32_t type;
    } expected[] = {
        { 0, 0x9FC00, 1 },           { 0x9FC00, 0xA0000, 2 },         { 0xE0000, 0x100000, 2 },
        { 0x100000, 0xC0000000, 1 }, { 0x100000000, 0x140000000, 1 },
    };
    (void)state;
    ram_plan(&ram, GIB(4));
    ram.piece_count = 1;
    ram.pieces[0] = (struct ram_piece){ 0, MEMORY, memory };
    put32(image + 0x22C, MEMORY - 1); /* the initrd must lie in what this test backs */
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    const uint8_t *page = memory + start.gpr[RSI];
    assert_int_equal(page[0x1E8], ARRAY_SIZE(expected));
    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_true(get64(page + 0x2D0 + i * 20) == expected[i].start);
        assert_true(get64(page + 0x2D8 + i * 20) == expected[i].end - expected[i].start);
        assert_int_equal(get32(page + 0x2E0 + i * 20), expected[i].type);
    }
}

static void test_small_memory_moves_a_relocatable_kernel(void **state)
{
    (void)state;
    set_memory(16 << 20);
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    assert_int_equal(start.rip, 0x200200);
    assert_memory_equal(memory + 0x200000, image + SETUP_SIZE, CODE_SIZE);

    image[0x234] = 0;
    expect_refused("the kernel does not fit: expected at least mem=24M");
    image[0x234] = 1;
    set_memory(8 << 20);
    expect_refused("the kernel does not fit: expected at least mem=10M");
}

static void test_initrd_that_does_not_fit(void **state)
{
    (void)state;
    set_memory(24 << 20);
    expect_refused(
        "the initrd of 4 KiB does not fit behind the kernel: expected more than mem=24M");
}

static void test_truncated(void **state)
{
    (void)state;
    request.kernel.size = IMAGE_SIZE - 1;
    expect_refused("truncated bzImage: its header promises 14336 bytes, it has 14335");
    request.kernel.size = 0x263;
    expect_refused("truncated bzImage: it has 611 bytes, its header alone 612");
}

static void test_recognition(void **state)
{
    (void)state;
    assert_true(linux_is_image(&request.kernel));
    request.kernel.size = 0x206;
    assert_true(linux_is_image(&request.kernel));
    request.kernel.size = 0x205;
    assert_false(linux_is_image(&request.kernel));
    request.kernel.size = IMAGE_SIZE;
    image[0x203] ^= 1;
    assert_false(linux_is_image(&request.kernel));
    image[0x203] ^= 1;
    image[0x1FF] = 0;
    assert_false(linux_is_image(&request.kernel));
}

static void test_unfit_images(void **state)
{
    (void)state;
    put16(image + 0x206, 0x020B);
    expect_refused("bzImage of boot protocol 2.11: expected 2.12 or later");
    setup(state);
    put16(image + 0x236, 0x3E);
    expect_refused("bzImage without a 64-bit entry: expected a 64-bit kernel");
    setup(state);
    image[0x211] = 0;
    expect_refused("kernel that loads below 1 MiB: expected a bzImage");
    setup(state);
    put32(image + 0x230, 0x300000);
    expect_refused("damaged bzImage: sizes in its header contradict each other");
    setup(state);
    put32(image + 0x260, CODE_SIZE - 1);
    expect_refused("damaged bzImage: sizes in its header contradict each other");
    setup(state);
    image[0x201] = 0xFF;
    expect_refused("damaged bzImage: sizes in its header contradict each other");
}

static void test_long_command_line(void **state)
{
    static char text[102];

    (void)state;
    memset(text, 'x', 101);
    request.kernel.cmdline = text;
    expect_refused("command line of 101 characters: the kernel takes at most 100");
    text[100] = '\0';
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
}

/* RAM in pieces: copies go across the seams. */
static void test_memory_in_pieces(void **state)
{
    const uint64_t seams[] = { 0, 0x200000, 0x1001000, MEMORY - 0x1800, MEMORY };

    (void)state;
    ram.piece_count = 0;
    for (unsigned i = 0; i + 1 < ARRAY_SIZE(seams); i++) {
        uint64_t size = seams[i + 1] - seams[i];
        ram.pieces[ram.piece_count++] = (struct ram_piece){ seams[i], size, calloc(1, size) };
    }
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    assert_memory_equal(ram_at(&ram, 0x1000000, 0x1000), image + SETUP_SIZE, 0x1000);
    assert_memory_equal(ram_at(&ram, 0x1001000, CODE_SIZE - 0x1000), image + SETUP_SIZE + 0x1000,
                        CODE_SIZE - 0x1000);
    assert_null(ram_at(&ram, 0x1000000, 0x1001));
    assert_memory_equal(ram_at(&ram, MEMORY - 0x2000, 0x800), initrd, 0x800);
    assert_memory_equal(ram_at(&ram, MEMORY - 0x1800, 100), initrd + 0x800, 100);
    for (unsigned i = 0; i < ram.piece_count; i++) {
        free(ram.pieces[i].host);
    }
}

static void test_real_kernel(void **state)
{
    const char *name = getenv("RIVET_BZIMAGE");
    FILE *file = name != NULL ? fopen(name, "rb") : NULL;

    (void)state;
    if (file == NULL) {
        skip();
    }
    set_memory(256 << 20);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    uint8_t *data = malloc((size_t)size);
    rewind(file);
    assert_int_equal(fread(data, 1, (size_t)size, file), size);
    fclose(file);
    request.kernel = (struct boot_file){ data, (uint64_t)size, "console=ttyS0" };
    assert_true(linux_is_image(&request.kernel));
    assert_int_equal(linux_load(&request, &start, &complaint), RIVET_OK);
    assert_int_equal(start.rip, 0x1000200);
    request.kernel.size -= 4096 * 100;
    assert_int_equal(linux_load(&request, &start, &complaint), ERR_INVALID);
    assert_non_null(strstr(complaint.text, "truncated bzImage"));
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zero_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_initrd_lies_high_and_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_initrd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_e820, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_memory_moves_a_relocatable_kernel, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_initrd_that_does_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recognition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unfit_images, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_command_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_real_kernel, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
