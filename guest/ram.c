/* SPDX-License-Identifier: MIT */
/* The RAM of a VM as its loaders see it: where it lies in guest-physical space and on the host. */
#include "guest/ram.h"

#include "lib/error.h"
#include "lib/string.h"

void ram_plan(struct ram *ram, uint64_t bytes)
{
    uint64_t low = bytes < RAM_LOW_LIMIT ? bytes : RAM_LOW_LIMIT;

    *ram = (struct ram){ .low_end = low, .high_end = RAM_FOUR_GIB + bytes - low };
}

unsigned ram_map(const struct ram *ram, struct ram_range ranges[RAM_MAX_RANGES])
{
    const struct ram_range all[] = {
        { 0, RAM_CONVENTIONAL_END, RAM_USABLE },
        { RAM_CONVENTIONAL_END, 0xA0000 - RAM_CONVENTIONAL_END, RAM_RESERVED },
        { RAM_BIOS_START, RAM_HIGH_START - RAM_BIOS_START, RAM_RESERVED },
        { RAM_HIGH_START, ram->low_end - RAM_HIGH_START, RAM_USABLE },
        { RAM_FOUR_GIB, ram->high_end - RAM_FOUR_GIB, RAM_USABLE },
    };
    unsigned count = 0;

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].size != 0) {
            ranges[count++] = all[i];
        }
    }
    return count;
}

static const struct ram_piece *piece_of(const struct ram *ram, uint64_t gpa)
{
    for (unsigned i = 0; i < ram->piece_count; i++) {
        if (gpa >= ram->pieces[i].gpa && gpa - ram->pieces[i].gpa < ram->pieces[i].size) {
            return &ram->pieces[i];
        }
    }
    return NULL;
}

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t size)
{
    const struct ram_piece *piece = piece_of(ram, gpa);

    if (piece == NULL || size > piece->size - (gpa - piece->gpa)) {
        return NULL;
    }
    return piece->host + (gpa - piece->gpa);
}

int ram_write(const struct ram *ram, uint64_t gpa, const void *from, uint64_t size)
{
    const uint8_t *next = from;

    while (size > 0) {
        const struct ram_piece *piece = piece_of(ram, gpa);
        if (piece == NULL) {
            return ERR_RANGE;
        }
        uint64_t room = piece->size - (gpa - piece->gpa);
        uint64_t part = size < room ? size : room;
        memcpy(piece->host + (gpa - piece->gpa), next, part);
        next += part;
        gpa += part;
        size -= part;
    }
    return RIVET_OK;
}

void ram_clear(const struct ram *ram)
{
    for (unsigned i = 0; i < ram->piece_count; i++) {
        memset(ram->pieces[i].host, 0, ram->pieces[i].size);
    }
}
