/* SPDX-License-Identifier: MIT */
/* All the virtual machines of this boot: from modules to running guests to the end. */
#pragma once

#include "arch/boot_info.h"

/*
 * Read Rivet's options and the modules' command lines, create every VM that is described without
 * error (each mistake is one line naming module, word and what was expected; other VMs start all
 * the same), and start them. With no runnable VM: says so and powers off. Boot CPU, after VMX is
 * enabled everywhere.
 */
void guest_configure(const struct boot_info *info);
