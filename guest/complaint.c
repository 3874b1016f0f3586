/* SPDX-License-Identifier: MIT */
/* One sentence that says what is wrong with a file or a word of the configuration. */
#include "guest/complaint.h"

#include "lib/print.h"

void complaint_write(struct complaint *complaint, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lib_vsnprintf(complaint->text, sizeof(complaint->text), format, args);
    va_end(args);
}
