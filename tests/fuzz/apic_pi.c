/* SPDX-License-Identifier: MIT */
/* Fuzzes the posted-interrupt descriptor against a set of vectors and plain flags. */
/* links: apic/pi.c */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apic/pi.h"

static struct {
    bool posted[256];
    bool on, sn;
    uint8_t nv;
    uint32_t ndst;
} plain;

static struct pi_desc pi;

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static bool anything_posted(void)
{
    bool any = false;
    for (unsigned vector = 0; vector < 256; vector++) {
        any |= plain.posted[vector];
    }
    return any;
}

static void post(uint8_t vector)
{
    check(pi_post(&pi, vector) == !plain.on);
    plain.posted[vector] = plain.on = true;
}

/* Through an IOMMU: no ON while SN is set. */
static void device_post(uint8_t vector)
{
    atomic_fetch_or(&pi.pir[vector / 64], 1ULL << vector % 64);
    plain.posted[vector] = true;
    if (!plain.sn) {
        atomic_fetch_or(&pi.control, PI_ON);
        plain.on = true;
    }
}

static void take(void)
{
    uint64_t taken[4] = { 0 };
    bool any = pi_take(&pi, taken);
    check(any == plain.on);
    for (unsigned vector = 0; any && vector < 256; vector++) {
        check((taken[vector / 64] >> vector % 64 & 1) == plain.posted[vector]);
        plain.posted[vector] = false;
    }
    plain.on = false;
}

static void load(uint8_t value)
{
    pi_load(&pi, value * 0x01010101U, value ^ 0xFF);
    plain.on |= plain.sn && anything_posted();
    plain.sn = false;
    plain.nv = value ^ 0xFF;
    plain.ndst = value * 0x01010101U;
}

static void block(uint8_t value)
{
    check(pi_block(&pi, value) == !plain.on);
    plain.nv = plain.on ? plain.nv : value;
}

static void operation(uint8_t which, uint8_t value)
{
    switch (which % 8) {
    case 0:
        take();
        break;
    case 1:
        load(value);
        break;
    case 2:
        block(value);
        break;
    case 3:
        pi_put(&pi);
        plain.sn = true;
        break;
    case 4:
        device_post(value);
        break;
    case 5:
        pi_discard(&pi);
        memset(plain.posted, 0, sizeof(plain.posted));
        plain.on = false;
        break;
    default:
        post(value);
        break;
    }
}

static void compare(void)
{
    uint64_t control = (plain.on ? PI_ON : 0) | (plain.sn ? PI_SN : 0) | (uint64_t)plain.nv << 16 |
                       (uint64_t)plain.ndst << 32;
    check(pi.control == control);
    check(pi_has_posted(&pi) == plain.on);
    for (unsigned vector = 0; vector < 256; vector++) {
        check((pi.pir[vector / 64] >> vector % 64 & 1) == plain.posted[vector]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&plain, 0, sizeof(plain));
    memset((void *)&pi, 0, sizeof(pi));
    for (size_t i = 0; i + 1 < size; i += 2) {
        operation(data[i], data[i + 1]);
        compare();
    }
    return 0;
}
