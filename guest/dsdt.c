/* SPDX-License-Identifier: MIT */
/* The guests' DSDT, compiled from guest/dsdt.asl by iasl (guest/rules.mk). */
#include "guest/dsdt.h"

static
#include "dsdt_aml.h"

    const uint8_t *const dsdt_table = dsdt_aml_code;
const uint32_t dsdt_size = sizeof(dsdt_aml_code);
