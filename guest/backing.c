/* SPDX-License-Identifier: MIT */
/* Host memory for a VM's RAM. */
#include "guest/backing.h"

#include "arch/memory.h"
#include "lib/bits.h"

#define LARGE_PAGE MIB(2)
#define HUGE_PAGE  GIB(1)

/* One piece of at most size bytes; NULL when nothing sensible is left. *size becomes its size. */
static void *take(uint64_t *size)
{
    void *piece = *size >= HUGE_PAGE ? memory_alloc(*size, HUGE_PAGE) : NULL;

    if (piece == NULL) {
        piece = memory_alloc(*size, LARGE_PAGE);
    }
    if (piece != NULL) {
        return piece;
    }
    uint64_t largest = align_down(memory_largest_piece(), LARGE_PAGE);
    if (largest == 0 || largest >= *size) {
        return NULL;
    }
    *size = largest;
    return memory_alloc(largest, LARGE_PAGE);
}

/* Back [start, end) of guest memory. ERR_NO_MEMORY, also when it takes too many pieces. */
static int back(struct ram *ram, struct vm *vm, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t size = end - start;
        void *host = ram->piece_count < RAM_MAX_PIECES ? take(&size) : NULL;
        if (host == NULL) {
            return ERR_NO_MEMORY;
        }
        ram->pieces[ram->piece_count++] = (struct ram_piece){ start, size, host };
        int error = vm_map(vm, start, (uintptr_t)host, size, EPT_RWX);
        if (error != RIVET_OK) {
            return error;
        }
        start += size;
    }
    return RIVET_OK;
}

void backing_free(struct ram *ram)
{
    for (unsigned i = 0; i < ram->piece_count; i++) {
        memory_free(ram->pieces[i].host, ram->pieces[i].size);
    }
    ram->piece_count = 0;
}

int backing_allocate(struct ram *ram, struct vm *vm, struct complaint *complaint)
{
    uint64_t wanted = ram->low_end + ram->high_end - RAM_FOUR_GIB;
    uint64_t available = memory_free_bytes();
    int error = wanted <= available ? RIVET_OK : ERR_NO_MEMORY;

    if (error == RIVET_OK) {
        error = back(ram, vm, 0, ram->low_end);
    }
    if (error == RIVET_OK) {
        error = back(ram, vm, RAM_FOUR_GIB, ram->high_end);
    }
    if (error != RIVET_OK) {
        backing_free(ram);
        complaint_write(complaint, "mem=%luM: this machine has %lu MiB free for guests",
                        wanted >> 20, available >> 20);
    }
    return error;
}
