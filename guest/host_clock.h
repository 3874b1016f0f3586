/* SPDX-License-Identifier: MIT */
/* The time of day of the host, from its CMOS clock. */
#pragma once

#include "guest/rtc.h"

/*
 * Read the host's clock once, with the TSC at that moment; the year 2000 when the machine has no
 * clock that makes sense. Boot CPU, after tsc_calibrate.
 */
struct rtc_source host_clock_read(void);
