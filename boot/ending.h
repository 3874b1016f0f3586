/* SPDX-License-Identifier: MIT */
/* How log lines reach the console, and how the machine ends on fatal errors and panics. */
#pragma once

#include "lib/log.h"

/* For log_init. */
extern const struct log_host boot_log_host;
