/* SPDX-License-Identifier: MIT */
/* Multiboot2 boot information: pure logic, compiled for the host too. */
#include "boot/multiboot2.h"

#include <stddef.h>

#include "lib/bits.h"
#include "lib/string.h"

enum tag_type {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_MODULE = 3,
    TAG_MEMORY_MAP = 6,
    TAG_ACPI_OLD_RSDP = 14,
    TAG_ACPI_NEW_RSDP = 15,
};

enum { TAG_ALIGN = 8 };

struct header {
    uint32_t total_size;
    uint32_t reserved;
};

struct tag {
    uint32_t type;
    uint32_t size; /* with this header, without padding */
};

struct tag_module {
    struct tag tag;
    uint32_t start;
    uint32_t end;
    char cmdline[];
};

struct map_entry {
    uint64_t start;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};
_Static_assert(sizeof(struct map_entry) == 24, "Multiboot2 3.6.8");

struct tag_memory_map {
    struct tag tag;
    uint32_t entry_size;
    uint32_t entry_version;
    uint8_t entries[];
};

static void copy_string(char *to, const char *from, size_t room)
{
    size_t length = strnlen(from, room);
    length = length < BOOT_CMDLINE_SIZE ? length : BOOT_CMDLINE_SIZE - 1;
    memcpy(to, from, length);
    to[length] = '\0';
}

static const char *read_module(const struct tag *tag, struct boot_info *info)
{
    const struct tag_module *module = (const struct tag_module *)tag;
    if (tag->size < sizeof(*module) || module->end < module->start) {
        return "multiboot2: the boot loader's module tag is malformed";
    }
    if (info->module_count == BOOT_MAX_MODULES) {
        return "multiboot2: more than 32 modules";
    }
    struct boot_module *to = &info->modules[info->module_count++];
    to->start = module->start;
    to->size = module->end - module->start;
    copy_string(to->cmdline, module->cmdline, tag->size - sizeof(*module));
    return NULL;
}

static const char *read_memory_map(const struct tag *tag, struct boot_info *info)
{
    const struct tag_memory_map *map = (const struct tag_memory_map *)tag;
    if (tag->size < sizeof(*map) || map->entry_size < sizeof(struct map_entry)) {
        return "multiboot2: the boot loader's memory map tag is malformed";
    }
    size_t count = (tag->size - sizeof(*map)) / map->entry_size;
    for (size_t i = 0; i < count; i++) {
        struct map_entry entry;
        memcpy(&entry, map->entries + i * map->entry_size, sizeof(entry));
        if (info->region_count == BOOT_MAX_REGIONS) {
            return "multiboot2: the memory map has more than 128 entries";
        }
        info->regions[info->region_count++] = (struct boot_region){
            .start = entry.start,
            .size = entry.size,
            .type = entry.type,
        };
    }
    return NULL;
}

/* The new RSDP is longer and wins over the old one, in whichever order they come. */
static void read_rsdp(const struct tag *tag, struct boot_info *info)
{
    size_t size = tag->size - sizeof(*tag);
    size = size < sizeof(info->rsdp) ? size : sizeof(info->rsdp);
    if (size > info->rsdp_size) {
        memcpy(info->rsdp, tag + 1, size);
        info->rsdp_size = (unsigned)size;
    }
}

static const char *read_tag(const struct tag *tag, struct boot_info *info)
{
    switch (tag->type) {
    case TAG_COMMAND_LINE:
        copy_string(info->cmdline, (const char *)(tag + 1), tag->size - sizeof(*tag));
        return NULL;
    case TAG_MODULE:
        return read_module(tag, info);
    case TAG_MEMORY_MAP:
        return read_memory_map(tag, info);
    case TAG_ACPI_OLD_RSDP:
    case TAG_ACPI_NEW_RSDP:
        read_rsdp(tag, info);
        return NULL;
    default:
        return NULL;
    }
}

static const char *read_tags(const uint8_t *at, size_t left, struct boot_info *info)
{
    while (left >= sizeof(struct tag)) {
        const struct tag *tag = (const struct tag *)at;
        if (tag->type == TAG_END) {
            return NULL;
        }
        if (tag->size < sizeof(*tag) || tag->size > left) {
            break;
        }
        const char *problem = read_tag(tag, info);
        if (problem != NULL) {
            return problem;
        }
        size_t step = align_up(tag->size, TAG_ALIGN);
        at += step < left ? step : left;
        left -= step < left ? step : left;
    }
    return "multiboot2: the boot information ends in the middle of a tag";
}

const char *multiboot2_read(uint32_t magic, const void *information, struct boot_info *info)
{
    const struct header *header = information;
    if (magic != MULTIBOOT2_LOADER_MAGIC) {
        return "not started by a multiboot2 boot loader: use GRUB's command multiboot2";
    }
    if (header->total_size < sizeof(*header)) {
        return "multiboot2: the boot information is empty";
    }
    const uint8_t *tags = (const uint8_t *)information + sizeof(*header);
    return read_tags(tags, header->total_size - sizeof(*header), info);
}
