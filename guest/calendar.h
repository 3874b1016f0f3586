/* SPDX-License-Identifier: MIT */
/* Calendar dates from and to seconds since 1970-01-01 00:00 (proleptic Gregorian). Pure logic. */
#pragma once

#include <stdint.h>

struct calendar {
    int year;         /* as 2026 */
    unsigned month;   /* 1..12 */
    unsigned day;     /* 1..31 */
    unsigned weekday; /* 1..7, Sunday is 1, as in the MC146818 */
    unsigned hour, minute, second;
};

/* The date and time of a count of seconds; any count within a few million years. */
struct calendar calendar_from_seconds(int64_t seconds);

/* The count for a date and time; weekday is not looked at, fields out of range carry over. */
int64_t calendar_to_seconds(const struct calendar *calendar);
