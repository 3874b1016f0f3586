/* SPDX-License-Identifier: MIT */
/* Which of the optional MSRs guests have: for msr.c and msr_state.c only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The same on every CPU; written by msr_enable_cpu. */
struct msr_offered {
    uint64_t spec_ctrl; /* bits of IA32_SPEC_CTRL that may be set; 0: no such MSR */
    bool prediction_command, flush_command, arch_capabilities, tsc_aux, xss;
    uint64_t arch_capabilities_value, microcode;
};
extern struct msr_offered msr_offered;
