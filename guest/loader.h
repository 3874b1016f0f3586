/* SPDX-License-Identifier: MIT */
/* Loads a VM's kernel by the boot protocol that its file speaks. */
#pragma once

#include "guest/boot.h"

/*
 * Load request->kernel and say how vCPU 0 starts; initrd_expected: a Linux kernel without an initrd
 * is a mistake. Returns the protocol's name for the log, NULL with a sentence in complaint. Pure
 * logic.
 */
const char *loader_load(const struct boot_request *request, bool initrd_expected,
                        struct vcpu_boot_state *state, struct complaint *complaint);
