/* SPDX-License-Identifier: MIT */
/* Error codes of functions that can fail: negative numbers, 0 is success. */
#pragma once

enum {
    RIVET_OK = 0,
    ERR_INVALID = -1,     /* an argument, table or configuration is malformed */
    ERR_NO_MEMORY = -2,   /* no free physical memory (or too fragmented) */
    ERR_NOT_FOUND = -3,   /* nothing there */
    ERR_UNSUPPORTED = -4, /* the CPU or machine lacks a feature */
    ERR_RANGE = -5,       /* number outside what the callee accepts */
    ERR_EXISTS = -6,      /* already there, or overlaps */
    ERR_GP = -7,          /* the guest's access must raise #GP(0) */
    ERR_BUSY = -8,        /* the object is in a state that forbids it */
};
