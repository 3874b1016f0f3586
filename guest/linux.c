/* SPDX-License-Identifier: MIT */
/*
 * Linux's 64-bit boot protocol, from an unmodified bzImage (Documentation/arch/x86/boot.rst and
 * zero-page.rst of Linux).
 */
#include "guest/boot.h"

#include "guest/fields.h"
#include "lib/bits.h"
#include "lib/error.h"

/*
 * Offsets in the bzImage, and in the zero page (struct boot_params), which keeps the setup header.
 */
enum {
    ZP_ACPI_RSDP_ADDR = 0x070,
    ZP_E820_ENTRIES = 0x1E8,
    HDR_SETUP_SECTS = 0x1F1, /* start of the setup header */
    HDR_SYSSIZE = 0x1F4,     /* protected-mode code, in 16-byte units */
    HDR_BOOT_FLAG = 0x1FE,
    HDR_JUMP = 0x200, /* byte 1: end of the header less 202H */
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_TYPE_OF_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21C,
    HDR_CMD_LINE_PTR = 0x228,
    HDR_INITRD_ADDR_MAX = 0x22C,
    HDR_KERNEL_ALIGNMENT = 0x230,
    HDR_RELOCATABLE = 0x234,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
    HDR_END = 0x264,       /* what this loader reads */
    ZP_E820_TABLE = 0x2D0, /* entries: u64 address, u64 size, u32 type */
    ZP_E820_ENTRY_SIZE = 20,
    ZP_SETUP_HEADER_LIMIT = 0x290, /* the zero page keeps no header bytes from here on */
};

enum {
    BOOT_FLAG = 0xAA55,
    MAGIC = 0x53726448,  /* "HdrS" */
    VERSION_64 = 0x020C, /* 2.12: xloadflags */
    LOADED_HIGH = 0x01,
    XLF_KERNEL_64 = 0x01,  /* has a 64-bit entry at 200H */
    LOADER_UNKNOWN = 0xFF, /* type_of_loader without an assigned number */
    ENTRY_64_OFFSET = 0x200,
    SECTOR = 512,
};

/* Where the loader's own structures go: conventional memory that the kernel leaves alone. */
enum {
    AT_ZERO_PAGE = 0x10000,
    AT_PAGE_TABLES = 0x11000, /* PML4, PDPT, 4 page directories */
    AT_GDT = 0x17000,
    AT_CMDLINE = 0x20000,
    AT_KERNEL_MIN = 0x100000,
};

enum { BOOT_CS = 0x10, BOOT_DS = 0x18, GDT_ENTRIES = 4 };

/* The parts of the setup header that decide how to load. */
struct header {
    uint64_t setup_size; /* bytes before the protected-mode code */
    uint64_t code_size;
    uint64_t init_size; /* memory the kernel needs from its load address on */
    uint64_t pref_address;
    uint32_t alignment;
    bool relocatable;
    uint32_t initrd_max;  /* highest address of the initrd's last byte */
    uint32_t cmdline_max; /* characters */
    uint32_t length;      /* end of the setup header, as an offset in the file */
};

bool linux_is_image(const struct boot_file *file)
{
    return file->size >= HDR_MAGIC + 4 && get16(file->data + HDR_BOOT_FLAG) == BOOT_FLAG &&
           get32(file->data + HDR_MAGIC) == MAGIC;
}

static int check_version(const uint8_t *data, struct complaint *complaint)
{
    unsigned version = get16(data + HDR_VERSION);

    if (version < VERSION_64) {
        return COMPLAIN(complaint, "bzImage of boot protocol %u.%02u: expected 2.12 or later",
                        version >> 8, version & 0xFF);
    }
    if ((get16(data + HDR_XLOADFLAGS) & XLF_KERNEL_64) == 0) {
        return COMPLAIN(complaint, "bzImage without a 64-bit entry: expected a 64-bit kernel");
    }
    if ((data[HDR_LOADFLAGS] & LOADED_HIGH) == 0) {
        return COMPLAIN(complaint, "kernel that loads below 1 MiB: expected a bzImage");
    }
    return RIVET_OK;
}

static int check_size(const struct boot_file *file, const struct header *header,
                      struct complaint *complaint)
{
    uint64_t promised = header->setup_size + header->code_size;

    if (file->size < promised) {
        return COMPLAIN(complaint, "truncated bzImage: its header promises %lu bytes, it has %lu",
                        promised, file->size);
    }
    if (header->init_size < header->code_size || header->alignment == 0 ||
        (header->alignment & (header->alignment - 1)) != 0 || header->length < HDR_END ||
        header->length > ZP_SETUP_HEADER_LIMIT) {
        return COMPLAIN(complaint, "damaged bzImage: sizes in its header contradict each other");
    }
    return RIVET_OK;
}

static int read_header(const struct boot_file *file, struct header *header,
                       struct complaint *complaint)
{
    const uint8_t *data = file->data;

    if (file->size < HDR_END) {
        return COMPLAIN(complaint, "truncated bzImage: it has %lu bytes, its header alone %d",
                        file->size, HDR_END);
    }
    int error = check_version(data, complaint);
    if (error != RIVET_OK) {
        return error;
    }
    unsigned sectors = data[HDR_SETUP_SECTS] != 0 ? data[HDR_SETUP_SECTS] : 4;
    *header = (struct header){
        .setup_size = (sectors + 1) * (uint64_t)SECTOR,
        .code_size = get32(data + HDR_SYSSIZE) * 16ULL,
        .init_size = get32(data + HDR_INIT_SIZE),
        .pref_address = get64(data + HDR_PREF_ADDRESS),
        .alignment = get32(data + HDR_KERNEL_ALIGNMENT),
        .relocatable = data[HDR_RELOCATABLE] != 0,
        .initrd_max = get32(data + HDR_INITRD_ADDR_MAX),
        .cmdline_max = get32(data + HDR_CMDLINE_SIZE),
        .length = HDR_MAGIC + data[HDR_JUMP + 1],
    };
    return check_size(file, header, complaint);
}

static bool fits(uint64_t start, uint64_t size, uint64_t end)
{
    return start >= AT_KERNEL_MIN && start <= end && size <= end - start;
}

/* Where the kernel goes: where it prefers to, else as low as it can. */
static int place_kernel(const struct ram *ram, const struct header *header, uint64_t *address,
                        struct complaint *complaint)
{
    *address = header->pref_address;
    if (fits(*address, header->init_size, ram->low_end)) {
        return RIVET_OK;
    }
    *address = align_up(AT_KERNEL_MIN, header->alignment);
    if (header->relocatable && fits(*address, header->init_size, ram->low_end)) {
        return RIVET_OK;
    }
    if (!header->relocatable) {
        *address = header->pref_address;
    }
    return COMPLAIN(complaint, "the kernel does not fit: expected at least mem=%luM",
                    (*address + header->init_size + MIB(1) - 1) >> 20);
}

/* Where the initrd goes: as high as it can below 4 GiB, clear of the kernel. */
static int place_initrd(const struct boot_request *request, const struct header *header,
                        uint64_t kernel, uint64_t *address, struct complaint *complaint)
{
    uint64_t end = request->ram->low_end;
    uint64_t size = request->initrd.size;
    uint64_t lowest = kernel + header->init_size;

    *address = 0;
    if (size == 0) {
        return RIVET_OK;
    }
    if (end > header->initrd_max + 1ULL) {
        end = header->initrd_max + 1ULL;
    }
    if (size > end || align_down(end - size, PAGE_SIZE) < lowest) {
        return COMPLAIN(complaint,
                        "the initrd of %lu KiB does not fit behind the kernel: expected "
                        "more than mem=%luM",
                        size >> 10, request->ram->low_end >> 20);
    }
    *address = align_down(end - size, PAGE_SIZE);
    return RIVET_OK;
}

static int check_cmdline(const struct boot_request *request, const struct header *header,
                         struct complaint *complaint)
{
    size_t length = strlen(request->kernel.cmdline);

    if (length > header->cmdline_max) {
        return COMPLAIN(complaint, "command line of %lu characters: the kernel takes at most %u",
                        length, header->cmdline_max);
    }
    return RIVET_OK;
}

static void fill_e820(const struct ram *ram, uint8_t *zero_page)
{
    struct ram_range ranges[RAM_MAX_RANGES];
    unsigned count = ram_map(ram, ranges);

    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = zero_page + ZP_E820_TABLE + (size_t)i * ZP_E820_ENTRY_SIZE;
        put64(entry, ranges[i].start);
        put64(entry + 8, ranges[i].size);
        put32(entry + 16, ranges[i].type);
    }
    zero_page[ZP_E820_ENTRIES] = (uint8_t)count;
}

static void fill_zero_page(const struct boot_request *request, const struct header *header,
                           uint64_t kernel, uint64_t initrd)
{
    uint8_t *page = ram_at(request->ram, AT_ZERO_PAGE, PAGE_SIZE);

    memcpy(page + HDR_SETUP_SECTS, request->kernel.data + HDR_SETUP_SECTS,
           header->length - HDR_SETUP_SECTS);
    page[HDR_TYPE_OF_LOADER] = LOADER_UNKNOWN;
    put32(page + HDR_CODE32_START, (uint32_t)kernel);
    put32(page + HDR_RAMDISK_IMAGE, (uint32_t)initrd);
    put32(page + HDR_RAMDISK_SIZE, (uint32_t)request->initrd.size);
    put32(page + HDR_CMD_LINE_PTR, AT_CMDLINE);
    put64(page + ZP_ACPI_RSDP_ADDR, request->rsdp);
    fill_e820(request->ram, page);
}

/* Identity map of the first 4 GiB in 2 MiB pages. */
static void write_page_tables(const struct ram *ram)
{
    enum { PRESENT_WRITE = 0x03, LARGE = 0x80, DIRECTORIES = 4, ENTRIES = 512 };
    uint64_t entry = (AT_PAGE_TABLES + PAGE_SIZE) | PRESENT_WRITE;

    ram_write(ram, AT_PAGE_TABLES, &entry, sizeof(entry));
    for (uint64_t i = 0; i < DIRECTORIES; i++) {
        uint64_t directory = AT_PAGE_TABLES + (2 + i) * PAGE_SIZE;
        entry = directory | PRESENT_WRITE;
        ram_write(ram, AT_PAGE_TABLES + PAGE_SIZE + i * 8, &entry, sizeof(entry));
        for (uint64_t j = 0; j < ENTRIES; j++) {
            entry = (i * GIB(1) + j * MIB(2)) | PRESENT_WRITE | LARGE;
            ram_write(ram, directory + j * 8, &entry, sizeof(entry));
        }
    }
}

static void set_start(uint64_t kernel, struct vcpu_boot_state *state)
{
    *state = (struct vcpu_boot_state){
        .long_mode = true,
        .rip = kernel + ENTRY_64_OFFSET,
        .cr3 = AT_PAGE_TABLES,
        .gdt_base = AT_GDT,
        .gdt_limit = GDT_ENTRIES * 8 - 1,
        .cs = BOOT_CS,
        .ds = BOOT_DS,
    };
    state->gpr[RSI] = AT_ZERO_PAGE;
}

static void write_gdt(const struct ram *ram)
{
    static const uint64_t gdt[GDT_ENTRIES] = {
        [BOOT_CS / 8] = 0x00AF9B000000FFFF, /* 64-bit code */
        [BOOT_DS / 8] = 0x00CF93000000FFFF, /* flat data */
    };

    ram_write(ram, AT_GDT, gdt, sizeof(gdt));
}

int linux_load(const struct boot_request *request, struct vcpu_boot_state *state,
               struct complaint *complaint)
{
    const struct boot_file *file = &request->kernel;
    struct header header;
    uint64_t kernel, initrd;

    int error = read_header(file, &header, complaint);
    if (error == RIVET_OK) {
        error = check_cmdline(request, &header, complaint);
    }
    if (error == RIVET_OK) {
        error = place_kernel(request->ram, &header, &kernel, complaint);
    }
    if (error == RIVET_OK) {
        error = place_initrd(request, &header, kernel, &initrd, complaint);
    }
    if (error != RIVET_OK) {
        return error;
    }
    ram_write(request->ram, kernel, file->data + header.setup_size, header.code_size);
    ram_write(request->ram, initrd, request->initrd.data, request->initrd.size);
    ram_write(request->ram, AT_CMDLINE, file->cmdline, strlen(file->cmdline) + 1);
    fill_zero_page(request, &header, kernel, initrd);
    write_page_tables(request->ram);
    write_gdt(request->ram);
    set_start(kernel, state);
    return RIVET_OK;
}
