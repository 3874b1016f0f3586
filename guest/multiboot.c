/* SPDX-License-Identifier: MIT */
/* Multiboot kernels (Multiboot Specification 0.6.96), as test guests and kvm-unit-tests are. */
#include "guest/boot.h"

#include "guest/elf.h"
#include "guest/fields.h"
#include "lib/bits.h"
#include "lib/error.h"
#include "lib/print.h"

enum {
    HEADER_MAGIC = 0x1BADB002,
    LOADER_MAGIC = 0x2BADB002,
    HEADER_SEARCH = 8192, /* the header lies in this many bytes */
    HEADER_SIZE = 12,     /* magic, flags, checksum */
    HEADER_SIZE_16 = 32,  /* with the address fields of flag 16 */
};

/* Header flags. */
enum {
    NEEDS_PAGE_ALIGN = 1 << 0,
    NEEDS_MEMORY = 1 << 1,
    NEEDS_KNOWN = NEEDS_PAGE_ALIGN | NEEDS_MEMORY,
    NEEDS_MASK = 0xFFFF, /* the loader must refuse those of these that it does not know */
    HAS_ADDRESSES = 1 << 16,
};

/* Header fields of flag 16, offsets from the header. */
enum { H_HEADER_ADDR = 12, H_LOAD_ADDR = 16, H_LOAD_END = 20, H_BSS_END = 24, H_ENTRY = 28 };

/* The information structure. */
enum {
    MBI_FLAGS = 0,
    MBI_MEM_LOWER = 4,
    MBI_MEM_UPPER = 8,
    MBI_CMDLINE = 16,
    MBI_MODS_COUNT = 20,
    MBI_MODS_ADDR = 24,
    MBI_MMAP_LENGTH = 44,
    MBI_MMAP_ADDR = 48,
    MBI_LOADER_NAME = 64,
    MBI_SIZE = 120,

    MBI_HAS_MEMORY = 1 << 0,
    MBI_HAS_CMDLINE = 1 << 2,
    MBI_HAS_MODS = 1 << 3,
    MBI_HAS_MMAP = 1 << 6,
    MBI_HAS_LOADER_NAME = 1 << 9,

    MOD_SIZE = 16,  /* start, end, string, reserved */
    MMAP_SIZE = 24, /* size (of the rest), u64 address, u64 length, type */
};

/* Where this loader's structures go: conventional memory that no kernel may cover. */
enum {
    AT_GDT = 0x90000,
    AT_INFO = 0x90100,
    AT_MMAP = 0x90200,
    AT_MODULES = 0x90400,
    AT_NAME = 0x90600,
    AT_CMDLINE = 0x91000, /* TEXT_ROOM each: the kernel's, then the modules' */
    TEXT_ROOM = 0x800,
    AT_END = RAM_CONVENTIONAL_END,
};
_Static_assert(AT_CMDLINE + (1 + BOOT_MAX_FILES) * TEXT_ROOM <= AT_END, "texts fit");
_Static_assert(AT_MODULES + BOOT_MAX_FILES * MOD_SIZE <= AT_NAME, "module list fits");
_Static_assert(AT_MMAP + RAM_MAX_RANGES * MMAP_SIZE <= AT_MODULES, "memory map fits");

enum { BOOT_CS = 0x10, BOOT_DS = 0x18, GDT_ENTRIES = 4 };

/* Offset of the header in the file; -1: there is none. */
static int64_t find_header(const struct boot_file *file)
{
    uint64_t end = file->size < HEADER_SEARCH ? file->size : HEADER_SEARCH;

    for (uint64_t at = 0; at + HEADER_SIZE <= end; at += 4) {
        const uint8_t *header = file->data + at;
        uint32_t sum = get32(header) + get32(header + 4) + get32(header + 8);
        if (get32(header) == HEADER_MAGIC && sum == 0) {
            return (int64_t)at;
        }
    }
    return -1;
}

bool multiboot_is_image(const struct boot_file *file)
{
    return find_header(file) >= 0;
}

/* --- Image ------------------------------------------------------------------------------------ */

/* Take the addresses of a flag-16 header as one segment. */
static int read_addresses(const struct boot_file *file, uint64_t offset, struct elf_image *image,
                          struct complaint *complaint)
{
    const uint8_t *header = file->data + offset;

    if (offset + HEADER_SIZE_16 > file->size) {
        return COMPLAIN(complaint, "truncated multiboot kernel: it ends inside its header");
    }
    uint64_t load = get32(header + H_LOAD_ADDR);
    uint64_t load_end = get32(header + H_LOAD_END);
    uint64_t bss_end = get32(header + H_BSS_END);
    uint64_t before = get32(header + H_HEADER_ADDR) - load; /* bytes loaded before the header */
    if (before > offset) {
        return COMPLAIN(complaint,
                        "damaged multiboot header: its load address lies before the file");
    }
    uint64_t start = offset - before;
    uint64_t size = load_end == 0 ? file->size - start : load_end - load;
    if (load_end != 0 && (load_end < load || size > file->size - start)) {
        return COMPLAIN(complaint,
                        "truncated multiboot kernel: its header promises %lu bytes, it "
                        "has %lu",
                        start + size, file->size);
    }
    uint64_t memory = bss_end > load + size ? bss_end - load : size;
    *image = (struct elf_image){ .entry = get32(header + H_ENTRY), .segment_count = 1 };
    image->segments[0] = (struct elf_segment){ load, memory, file->data + start, size };
    return RIVET_OK;
}

static int read_image(const struct boot_file *file, struct elf_image *image,
                      struct complaint *complaint)
{
    int64_t offset = find_header(file);

    if (offset < 0) {
        return COMPLAIN(complaint, "no multiboot header: expected one in the first 8 KiB");
    }
    uint32_t flags = get32(file->data + offset + 4);
    if ((flags & NEEDS_MASK & ~(uint32_t)NEEDS_KNOWN) != 0) {
        return COMPLAIN(complaint,
                        "multiboot header flags %04x: expected only bits 0 and 1 "
                        "(a video mode is not offered)",
                        flags & NEEDS_MASK);
    }
    if ((flags & HAS_ADDRESSES) != 0) {
        return read_addresses(file, (uint64_t)offset, image, complaint);
    }
    return elf_read(file, image, complaint);
}

/* A segment must lie in usable RAM and clear of this loader's structures. */
static bool is_loadable(const struct ram *ram, const struct elf_segment *segment)
{
    uint64_t start = segment->address;
    uint64_t size = segment->memory_size;
    uint64_t low_end = start < AT_GDT ? AT_GDT : ram->low_end;

    return start < low_end && size <= low_end - start &&
           (start < AT_GDT || start >= RAM_HIGH_START);
}

static int load_image(const struct boot_request *request, const struct elf_image *image,
                      uint64_t *end, struct complaint *complaint)
{
    *end = RAM_HIGH_START;
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct elf_segment *segment = &image->segments[i];
        if (!is_loadable(request->ram, segment)) {
            return COMPLAIN(complaint,
                            "the kernel's segment at 0x%lx of 0x%lx bytes does not fit in "
                            "mem=%luM",
                            segment->address, segment->memory_size, request->ram->low_end >> 20);
        }
        ram_write(request->ram, segment->address, segment->data, segment->file_size);
        if (segment->address + segment->memory_size > *end) {
            *end = segment->address + segment->memory_size;
        }
    }
    return RIVET_OK;
}

/* --- Information structure -------------------------------------------------------------------- */

static void write_mmap(const struct ram *ram, uint8_t *info)
{
    struct ram_range ranges[RAM_MAX_RANGES];
    unsigned count = ram_map(ram, ranges);

    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = ram_at(ram, AT_MMAP + i * MMAP_SIZE, MMAP_SIZE);
        put32(entry, MMAP_SIZE - 4);
        put64(entry + 4, ranges[i].start);
        put64(entry + 12, ranges[i].size);
        put32(entry + 20, ranges[i].type);
    }
    put32(info + MBI_MMAP_ADDR, AT_MMAP);
    put32(info + MBI_MMAP_LENGTH, count * MMAP_SIZE);
}

/* "NAME ARGUMENTS": a multiboot command line begins with the name of the image. */
static uint32_t write_text(const struct boot_request *request, unsigned slot, const char *arguments)
{
    uint64_t gpa = AT_CMDLINE + slot * TEXT_ROOM;

    lib_snprintf(ram_at(request->ram, gpa, TEXT_ROOM), TEXT_ROOM, "%s%s%s", request->name,
                 arguments[0] != '\0' ? " " : "", arguments);
    return (uint32_t)gpa;
}

/* Modules go behind the kernel, each on pages of its own. */
static int write_modules(const struct boot_request *request, uint64_t free, uint8_t *info,
                         struct complaint *complaint)
{
    const struct ram *ram = request->ram;

    for (unsigned i = 0; i < request->module_count; i++) {
        const struct boot_file *file = &request->modules[i];
        uint8_t *entry = ram_at(ram, AT_MODULES + i * MOD_SIZE, MOD_SIZE);
        free = align_up(free, PAGE_SIZE);
        if (free > ram->low_end || file->size > ram->low_end - free) {
            return COMPLAIN(complaint,
                            "multiboot module %u of %lu KiB does not fit behind the kernel "
                            "in mem=%luM",
                            i + 1, file->size >> 10, ram->low_end >> 20);
        }
        ram_write(ram, free, file->data, file->size);
        put32(entry, (uint32_t)free);
        put32(entry + 4, (uint32_t)(free + file->size));
        put32(entry + 8, write_text(request, 1 + i, file->cmdline));
        free += file->size;
    }
    put32(info + MBI_MODS_COUNT, request->module_count);
    put32(info + MBI_MODS_ADDR, AT_MODULES);
    return RIVET_OK;
}

static int write_info(const struct boot_request *request, uint64_t free,
                      struct complaint *complaint)
{
    static const char loader[] = "Rivet";
    uint8_t *info = ram_at(request->ram, AT_INFO, MBI_SIZE);

    ram_write(request->ram, AT_NAME, loader, sizeof(loader));
    put32(info + MBI_FLAGS,
          MBI_HAS_MEMORY | MBI_HAS_CMDLINE | MBI_HAS_MODS | MBI_HAS_MMAP | MBI_HAS_LOADER_NAME);
    put32(info + MBI_MEM_LOWER, RAM_CONVENTIONAL_END >> 10);
    put32(info + MBI_MEM_UPPER, (uint32_t)((request->ram->low_end - RAM_HIGH_START) >> 10));
    put32(info + MBI_CMDLINE, write_text(request, 0, request->kernel.cmdline));
    put32(info + MBI_LOADER_NAME, AT_NAME);
    write_mmap(request->ram, info);
    return write_modules(request, free, info, complaint);
}

static void write_gdt(const struct ram *ram)
{
    static const uint64_t gdt[GDT_ENTRIES] = {
        [BOOT_CS / 8] = 0x00CF9B000000FFFF, /* flat 32-bit code */
        [BOOT_DS / 8] = 0x00CF93000000FFFF, /* flat data */
    };

    ram_write(ram, AT_GDT, gdt, sizeof(gdt));
}

int multiboot_load(const struct boot_request *request, struct vcpu_boot_state *state,
                   struct complaint *complaint)
{
    struct elf_image image;
    uint64_t end;

    int error = read_image(&request->kernel, &image, complaint);
    if (error == RIVET_OK) {
        error = load_image(request, &image, &end, complaint);
    }
    if (error == RIVET_OK) {
        error = write_info(request, end, complaint);
    }
    if (error != RIVET_OK) {
        return error;
    }
    write_gdt(request->ram);
    *state = (struct vcpu_boot_state){
        .rip = image.entry,
        .gdt_base = AT_GDT,
        .gdt_limit = GDT_ENTRIES * 8 - 1,
        .cs = BOOT_CS,
        .ds = BOOT_DS,
    };
    state->gpr[RAX] = LOADER_MAGIC;
    state->gpr[RBX] = AT_INFO;
    return RIVET_OK;
}
