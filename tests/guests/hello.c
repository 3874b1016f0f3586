/* SPDX-License-Identifier: MIT */
/* The smallest guest: runs, reports, ends. Stands for a healthy VM beside a broken one. */
#include "tests/guests/lib/guest.h"

void guest_main(void)
{
    report(true, "hello");
}
