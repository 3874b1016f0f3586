/* SPDX-License-Identifier: MIT */
/* A queue of bytes of fixed size, for one reader and one writer under their owner's lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Bytes in the queue are data[tail % size] .. data[(head - 1) % size]; size is a power of two. */
struct byte_ring {
    uint8_t *data;
    uint32_t size;
    uint32_t head; /* bytes ever put */
    uint32_t tail; /* bytes ever taken */
};

static inline bool byte_ring_is_empty(const struct byte_ring *ring)
{
    return ring->head == ring->tail;
}

static inline bool byte_ring_is_full(const struct byte_ring *ring)
{
    return ring->head - ring->tail == ring->size;
}

/* The ring must not be full. */
static inline void byte_ring_put(struct byte_ring *ring, uint8_t byte)
{
    ring->data[ring->head++ & (ring->size - 1)] = byte;
}

/* The ring must not be empty. */
static inline uint8_t byte_ring_take(struct byte_ring *ring)
{
    return ring->data[ring->tail++ & (ring->size - 1)];
}
