/* SPDX-License-Identifier: MIT */
/*
 * Calendar dates from and to seconds since 1970-01-01 00:00. Years are counted from March, so that
 * the leap day comes last and month lengths follow one linear rule.
 */
#include "guest/calendar.h"

enum { DAY_SECONDS = 86400, YEAR_DAYS = 365, ERA_YEARS = 400, ERA_DAYS = 146097 };
enum { EPOCH_DAYS = 719468 }; /* days from 0000-03-01 to 1970-01-01 */

static int64_t floor_divide(int64_t number, int64_t divisor)
{
    int64_t quotient = number / divisor;
    return number % divisor < 0 ? quotient - 1 : quotient;
}

/* Days before the month-th month counted from March (0..11). */
static int64_t days_before_month(int64_t month)
{
    return (153 * month + 2) / 5;
}

/* Days from 0000-03-01 to the first day of a year counted from March. */
static int64_t days_before_year(int64_t year)
{
    return YEAR_DAYS * year + floor_divide(year, 4) - floor_divide(year, 100) +
           floor_divide(year, ERA_YEARS);
}

struct calendar calendar_from_seconds(int64_t seconds)
{
    int64_t days = floor_divide(seconds, DAY_SECONDS);
    int64_t second = seconds - days * DAY_SECONDS;
    int64_t since = days + EPOCH_DAYS;
    int64_t year = floor_divide(since * ERA_YEARS, ERA_DAYS) + 1; /* at most one too large */

    while (days_before_year(year) > since) {
        year--;
    }
    int64_t day = since - days_before_year(year);
    int64_t month = (5 * day + 2) / 153;
    return (struct calendar){
        .year = (int)(month < 10 ? year : year + 1),
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(day - days_before_month(month) + 1),
        .weekday =
            (unsigned)(days + 4 - floor_divide(days + 4, 7) * 7 + 1), /* 1970-01-01: Thursday */
        .hour = (unsigned)(second / 3600),
        .minute = (unsigned)(second / 60 % 60),
        .second = (unsigned)(second % 60),
    };
}

int64_t calendar_to_seconds(const struct calendar *calendar)
{
    int64_t month =
        calendar->month > 2 ? (int64_t)calendar->month - 3 : (int64_t)calendar->month + 9;
    int64_t year = calendar->month > 2 ? calendar->year : calendar->year - 1;
    int64_t days =
        days_before_year(year) + days_before_month(month) + (int64_t)calendar->day - 1 - EPOCH_DAYS;

    return days * DAY_SECONDS + calendar->hour * 3600LL + calendar->minute * 60LL +
           calendar->second;
}
