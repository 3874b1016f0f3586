/* SPDX-License-Identifier: MIT */
/* Segment registers in the order of their encoding in ModRM and in the VMCS (SDM volume 2, "Instruction Format"). */
#pragma once

enum {
    SEGMENT_ES,
    SEGMENT_CS,
    SEGMENT_SS,
    SEGMENT_DS,
    SEGMENT_FS,
    SEGMENT_GS,
    SEGMENT_LDTR,
    SEGMENT_TR,
    SEGMENT_COUNT
};
