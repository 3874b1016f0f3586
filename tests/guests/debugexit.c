/* SPDX-License-Identifier: MIT */
/* Ends with the code that its command line gives (code=N): shows what becomes of exit codes. */
#include "tests/guests/lib/guest.h"

enum { DEBUG_EXIT_PORT = 0xF4 };

void guest_main(void)
{
    bool given = guest_option("code") != NULL;
    if (given) {
        uint64_t code = guest_option_number("code", 0);
        guest_print("debug exit with %llu\n", (unsigned long long)code);
        outb(DEBUG_EXIT_PORT, (uint8_t)code);
    }
    report(!given, "the machine goes on only when no code was given");
}
