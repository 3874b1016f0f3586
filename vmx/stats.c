/* SPDX-License-Identifier: MIT */
/* Names of exit reasons for statistics and logs (SDM volume 3, appendix "VMX Basic Exit Reasons"). */
#include "vmx/stats.h"

#include <stddef.h>

#include "vmx/exit_reasons.h"

static const char *const names[EXIT_REASON_COUNT] = {
#define X(name, number, text) [number] = (text),
    EXIT_REASONS(X)
#undef X
};

const char *exit_reason_name(unsigned reason)
{
    if (reason < EXIT_REASON_COUNT && names[reason] != NULL) {
        return names[reason];
    }
    return "?";
}
