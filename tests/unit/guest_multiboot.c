/* SPDX-License-Identifier: MIT */
/* Multiboot kernels: ELF of both classes, address headers, the information structure, bad files. */
/* links: guest/multiboot.c guest/elf.c guest/ram.c guest/complaint.c lib/print.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/boot.h"
#include "guest/fields.h"
#include "lib/bits.h"

enum { MEMORY = 16 << 20, FILE_SIZE = 0x3000, SEGMENT_AT = 0x1000, SEGMENT_SIZE = 0x1800 };

static uint8_t file[FILE_SIZE];
static uint8_t *memory;
static struct ram ram;
static struct boot_request request;
static struct vcpu_boot_state start;
static struct complaint complaint;

static void put_header(unsigned at, uint32_t flags)
{
    put32(file + at, 0x1BADB002);
    put32(file + at + 4, flags);
    put32(file + at + 8, 0U - 0x1BADB002 - flags);
}

/* An ELF32 file with one segment, linked 1 GiB above where it is loaded. */
static void make_elf32(void)
{
    memset(file, 0, sizeof(file));
    memcpy(file,
           "\x7F"
           "ELF\1\1\1",
           7);
    put16(file + 16, 2);
    put16(file + 18, 3);
    put32(file + 24, 0x40400010);
    put32(file + 28, 52);
    put16(file + 42, 32);
    put16(file + 44, 1);
    uint8_t *program = file + 52;
    put32(program, 1);
    put32(program + 4, SEGMENT_AT);
    put32(program + 8, 0x40400000);
    put32(program + 12, 0x400000);
    put32(program + 16, SEGMENT_SIZE);
    put32(program + 20, SEGMENT_SIZE + 0x801);
    put_header(SEGMENT_AT, 0);
    for (unsigned i = 16; i < SEGMENT_SIZE; i++) {
        file[SEGMENT_AT + i] = (uint8_t)(i * 3 + 1);
    }
}

static void make_elf64(void)
{
    make_elf32();
    memset(file, 0, SEGMENT_AT);
    memcpy(file,
           "\x7F"
           "ELF\2\1\1",
           7);
    put16(file + 16, 2);
    put16(file + 18, 62);
    put64(file + 24, 0x400010);
    put64(file + 32, 64);
    put16(file + 54, 56);
    put16(file + 56, 1);
    uint8_t *program = file + 64;
    put32(program, 1);
    put64(program + 8, SEGMENT_AT);
    put64(program + 16, 0x400000);
    put64(program + 24, 0x400000);
    put64(program + 32, SEGMENT_SIZE);
    put64(program + 40, SEGMENT_SIZE);
}

/* No ELF: the header says where the file's bytes from 0 on go. */
static void make_flat(void)
{
    memset(file, 0x5A, sizeof(file));
    put_header(0x40, 1 << 16);
    put32(file + 0x4C, 0x500040); /* header_addr */
    put32(file + 0x50, 0x500000); /* load_addr */
    put32(file + 0x54, 0x502000); /* load_end_addr */
    put32(file + 0x58, 0x503000); /* bss_end_addr */
    put32(file + 0x5C, 0x500100); /* entry_addr */
}

static int setup(void **state)
{
    (void)state;
    make_elf32();
    free(memory);
    memory = calloc(1, MEMORY);
    ram_plan(&ram, MEMORY);
    ram.piece_count = 1;
    ram.pieces[0] = (struct ram_piece){ 0, MEMORY, memory };
    memset(&start, 0, sizeof(start));
    request = (struct boot_request){
        .ram = &ram,
        .name = "kut",
        .kernel = { file, FILE_SIZE, "apic all" },
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

static void expect_loaded(void)
{
    assert_int_equal(multiboot_load(&request, &start, &complaint), RIVET_OK);
}

static void expect_refused(const char *text)
{
    assert_int_equal(multiboot_load(&request, &start, &complaint), ERR_INVALID);
    assert_string_equal(complaint.text, text);
}

static void test_elf32(void **state)
{
    (void)state;
    expect_loaded();
    assert_false(start.long_mode);
    assert_int_equal(start.rip, 0x400010); /* physical */
    assert_int_equal(start.gpr[RAX], 0x2BADB002);
    assert_memory_equal(memory + 0x400000, file + SEGMENT_AT, SEGMENT_SIZE);
    assert_int_equal(memory[0x400000 + SEGMENT_SIZE], 0);
    assert_true(get64(memory + start.gdt_base + start.cs) == 0x00CF9B000000FFFF);
    assert_true(get64(memory + start.gdt_base + start.ds) == 0x00CF93000000FFFF);
}

static void test_elf64(void **state)
{
    (void)state;
    make_elf64();
    expect_loaded();
    assert_false(start.long_mode);
    assert_int_equal(start.rip, 0x400010);
    assert_memory_equal(memory + 0x400000, file + SEGMENT_AT, SEGMENT_SIZE);
}

static void test_flat(void **state)
{
    (void)state;
    make_flat();
    expect_loaded();
    assert_int_equal(start.rip, 0x500100);
    assert_memory_equal(memory + 0x500000, file, 0x2000);
    assert_int_equal(memory[0x502000], 0);

    put32(file + 0x54, 0); /* load to the end of the file */
    expect_loaded();
    assert_memory_equal(memory + 0x500000, file, FILE_SIZE);

    put32(file + 0x54, 0x503001);
    expect_refused("truncated multiboot kernel: its header promises 12289 bytes, it has 12288");
    put32(file + 0x4C, 0x500041); /* the header would lie 41H bytes into what is loaded */
    expect_refused("damaged multiboot header: its load address lies before the file");
}

static void test_information(void **state)
{
    (void)state;
    expect_loaded();
    const uint8_t *info = memory + start.gpr[RBX];
    assert_int_equal(get32(info), 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    assert_int_equal(get32(info + 4), 639);
    assert_int_equal(get32(info + 8), (MEMORY >> 10) - 1024);
    assert_string_equal((const char *)memory + get32(info + 16), "kut apic all");
    assert_string_equal((const char *)memory + get32(info + 64), "Rivet");
    assert_int_equal(get32(info + 20), 0);
    assert_int_equal(get32(info + 44), 4 * 24);
    const uint8_t *map = memory + get32(info + 48);
    assert_int_equal(get32(map), 20);
    assert_true(get64(map + 4) == 0 && get64(map + 12) == 0x9FC00 && get32(map + 20) == 1);
    assert_int_equal(get32(map + 24 * 2 + 20), 2);
    assert_true(get64(map + 24 * 3 + 4) == 0x100000);
    assert_true(get64(map + 24 * 3 + 12) == MEMORY - 0x100000);
}

static void test_modules(void **state)
{
    static const uint8_t first[] = "NR_CPUS=2\n", second[5000] = "second";

    (void)state;
    request.module_count = 2;
    request.modules[0] = (struct boot_file){ first, sizeof(first), "env" };
    request.modules[1] = (struct boot_file){ second, sizeof(second), "" };
    expect_loaded();
    const uint8_t *info = memory + start.gpr[RBX];
    assert_int_equal(get32(info + 20), 2);
    const uint8_t *list = memory + get32(info + 24);
    uint32_t kernel_end = 0x400000 + SEGMENT_SIZE + 0x801;
    assert_int_equal(get32(list), align_up(kernel_end, 4096));
    assert_int_equal(get32(list + 4) - get32(list), sizeof(first));
    assert_memory_equal(memory + get32(list), first, sizeof(first));
    assert_string_equal((const char *)memory + get32(list + 8), "kut env");
    assert_int_equal(get32(list + 16), get32(list) + 4096);
    assert_memory_equal(memory + get32(list + 16), second, sizeof(second));
    assert_string_equal((const char *)memory + get32(list + 24), "kut");

    request.modules[1].size = MEMORY;
    assert_int_equal(multiboot_load(&request, &start, &complaint), ERR_INVALID);
    assert_string_equal(complaint.text, "multiboot module 2 of 16384 KiB does not fit behind the "
                                        "kernel in mem=16M");
}

static void test_bad_headers(void **state)
{
    (void)state;
    assert_true(multiboot_is_image(&request.kernel));
    put_header(SEGMENT_AT, 3);
    expect_loaded();
    put_header(SEGMENT_AT, 4);
    expect_refused("multiboot header flags 0004: expected only bits 0 and 1 (a video mode is not "
                   "offered)");
    put_header(SEGMENT_AT, 0);
    file[SEGMENT_AT + 8] ^= 1;
    assert_false(multiboot_is_image(&request.kernel));
    expect_refused("no multiboot header: expected one in the first 8 KiB");
    put_header(0x1FF4, 0);
    assert_true(multiboot_is_image(&request.kernel));
    put32(file + 0x1FF4, 0);
    put_header(0x1FF8, 0); /* its last field lies behind the first 8 KiB */
    assert_false(multiboot_is_image(&request.kernel));
}

static void test_bad_elf_files(void **state)
{
    (void)state;
    request.kernel.size = SEGMENT_AT + SEGMENT_SIZE - 1;
    expect_refused("truncated ELF file: a segment ends at byte 10240, the file has 10239");
    setup(state);
    put32(file + 28, FILE_SIZE - 31);
    expect_refused("truncated ELF file: its program headers are not all there");
    setup(state);
    put16(file + 18, 40);
    expect_refused("ELF file of another kind: expected an x86 executable");
    setup(state);
    put32(file + 52 + 20, SEGMENT_SIZE - 1);
    expect_refused("damaged ELF file: a segment's sizes contradict each other");
    setup(state);
    put32(file + 52, 2);
    expect_refused("ELF file without anything to load");
    setup(state);
    file[1] = 'X';
    expect_refused("multiboot kernel that is no ELF file and has no load addresses");
    make_elf64();
    put64(file + 64 + 24, UINT64_MAX - 10);
    expect_refused("damaged ELF file: a segment's sizes contradict each other");
}

static void expect_segment_refused(uint32_t address)
{
    put32(file + 52 + 12, address);
    assert_int_equal(multiboot_load(&request, &start, &complaint), ERR_INVALID);
    assert_non_null(strstr(complaint.text, "does not fit in mem=16M"));
}

static void test_segments_must_lie_in_free_memory(void **state)
{
    (void)state;
    expect_segment_refused(MEMORY - SEGMENT_SIZE);
    expect_segment_refused(0xFFFFF000);
    expect_segment_refused(0x90000 - SEGMENT_SIZE); /* reaches this loader's structures */
    expect_segment_refused(0x90000);
    expect_segment_refused(0xF0000);
    put32(file + 52 + 12, 0x4000);
    expect_loaded();
    assert_memory_equal(memory + 0x4000, file + SEGMENT_AT, SEGMENT_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_elf32, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elf64, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_information, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modules, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_elf_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segments_must_lie_in_free_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
