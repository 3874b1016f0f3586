/* SPDX-License-Identifier: MIT */
/* Power off and reset of the host. */
#pragma once

/* Flush the console and power off: ACPI S5, then the emulators' shutdown ports, then halt for good. */
_Noreturn void power_off(void);

/* Flush the console and reset: ACPI reset register, port CF9, keyboard controller, triple fault. */
_Noreturn void power_reset(void);
