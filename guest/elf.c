/* SPDX-License-Identifier: MIT */
/*
 * ELF executables for x86, 32 and 64 bit (System V ABI, chapters "Object Files", "Program
 * Loading").
 */
#include "guest/elf.h"

#include "guest/fields.h"
#include "lib/error.h"

enum {
    CLASS_32 = 1,
    CLASS_64 = 2,
    LITTLE_ENDIAN_DATA = 1,
    TYPE_EXECUTABLE = 2,
    MACHINE_386 = 3,
    MACHINE_X86_64 = 62,
    SEGMENT_LOAD = 1,
};

/* One program header, of either class. */
struct program_header {
    uint32_t type;
    uint64_t offset, vaddr, paddr, file_size, memory_size;
};

/* The parts of the file header that matter, of either class. */
struct file_header {
    bool is_64;
    uint64_t entry, table;
    unsigned entry_size, count;
};

static int read_file_header(const struct boot_file *file, struct file_header *header,
                            struct complaint *complaint)
{
    static const uint8_t magic[] = { 0x7F, 'E', 'L', 'F' };
    const uint8_t *data = file->data;

    if (file->size < 64 || memcmp(data, magic, sizeof(magic)) != 0) {
        return COMPLAIN(complaint,
                        "multiboot kernel that is no ELF file and has no load addresses");
    }
    unsigned machine = get16(data + 18);
    if ((data[4] != CLASS_32 && data[4] != CLASS_64) || data[5] != LITTLE_ENDIAN_DATA ||
        get16(data + 16) != TYPE_EXECUTABLE ||
        (machine != MACHINE_386 && machine != MACHINE_X86_64)) {
        return COMPLAIN(complaint, "ELF file of another kind: expected an x86 executable");
    }
    header->is_64 = data[4] == CLASS_64;
    header->entry = header->is_64 ? get64(data + 24) : get32(data + 24);
    header->table = header->is_64 ? get64(data + 32) : get32(data + 28);
    header->entry_size = get16(data + (header->is_64 ? 54 : 42));
    header->count = get16(data + (header->is_64 ? 56 : 44));
    uint64_t size = (uint64_t)header->entry_size * header->count;
    if (header->entry_size < (header->is_64 ? 56 : 32) || header->table > file->size ||
        size > file->size - header->table) {
        return COMPLAIN(complaint, "truncated ELF file: its program headers are not all there");
    }
    return RIVET_OK;
}

static struct program_header read_program_header(const uint8_t *at, bool is_64)
{
    if (is_64) {
        return (struct program_header){ get32(at),      get64(at + 8),  get64(at + 16),
                                        get64(at + 24), get64(at + 32), get64(at + 40) };
    }
    return (struct program_header){ get32(at),      get32(at + 4),  get32(at + 8),
                                    get32(at + 12), get32(at + 16), get32(at + 20) };
}

static int add_segment(const struct boot_file *file, const struct program_header *program,
                       struct elf_image *image, struct complaint *complaint)
{
    if (program->offset > file->size || program->file_size > file->size - program->offset) {
        return COMPLAIN(complaint,
                        "truncated ELF file: a segment ends at byte %lu, the file has %lu",
                        program->offset + program->file_size, file->size);
    }
    if (program->file_size > program->memory_size ||
        program->paddr + program->memory_size < program->paddr) {
        return COMPLAIN(complaint, "damaged ELF file: a segment's sizes contradict each other");
    }
    if (image->segment_count == ELF_MAX_SEGMENTS) {
        return COMPLAIN(complaint, "ELF file with more than %d segments", ELF_MAX_SEGMENTS);
    }
    image->segments[image->segment_count++] =
        (struct elf_segment){ program->paddr, program->memory_size, file->data + program->offset,
                              program->file_size };
    return RIVET_OK;
}

/* The entry is a virtual address; the kernel starts without paging. */
static void translate_entry(const struct program_header *program, uint64_t entry,
                            struct elf_image *image)
{
    if (entry >= program->vaddr && entry - program->vaddr < program->memory_size) {
        image->entry = entry - program->vaddr + program->paddr;
    }
}

int elf_read(const struct boot_file *file, struct elf_image *image, struct complaint *complaint)
{
    struct file_header header;

    int error = read_file_header(file, &header, complaint);
    if (error != RIVET_OK) {
        return error;
    }
    *image = (struct elf_image){ .entry = header.entry };
    for (unsigned i = 0; i < header.count; i++) {
        const uint8_t *at = file->data + header.table + (size_t)i * header.entry_size;
        struct program_header program = read_program_header(at, header.is_64);
        if (program.type != SEGMENT_LOAD || program.memory_size == 0) {
            continue;
        }
        error = add_segment(file, &program, image, complaint);
        if (error != RIVET_OK) {
            return error;
        }
        translate_entry(&program, header.entry, image);
    }
    if (image->segment_count == 0) {
        return COMPLAIN(complaint, "ELF file without anything to load");
    }
    return RIVET_OK;
}
