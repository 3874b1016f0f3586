/* SPDX-License-Identifier: MIT */
/* Exception fixups: instructions that are allowed to fault, and where to go on when they do. */
#pragma once

#include <stdint.h>

/*
 * Inside an asm statement: an exception (vector 0-31 but NMI, #DF, #MC) of Rivet's own code at label
 * `from` continues at label `to` with all registers as they were. The error code and vector are lost.
 *
 *     "movl $-1, %0\n1: wrmsr\n xorl %0, %0\n2:\n" EXCEPTION_FIXUP("1b", "2b")
 */
#define EXCEPTION_FIXUP(from, to)   \
    ".pushsection .fixups, \"a\"\n" \
    ".balign 4\n"                   \
    ".long " from ", " to "\n"      \
    ".popsection\n"

struct exception_fixup {
    uint32_t from; /* address of the instruction that may fault */
    uint32_t to;   /* address to continue at */
};
