/* SPDX-License-Identifier: MIT */
/* The guests' DSDT, compiled from guest/dsdt.asl. */
#pragma once

#include <stdint.h>

extern const uint8_t *const dsdt_table;
extern const uint32_t dsdt_size; /* bytes */
