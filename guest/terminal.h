/* SPDX-License-Identifier: MIT */
/*
 * The VMs' shares of the one console. With one VM its bytes pass as they are; with several, output
 * goes out in lines that begin with "NAME| ", and input goes to the VM that has the focus. Ctrl-]
 * is Rivet's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/spinlock.h"

enum { TERMINAL_LINE = 256 };

struct terminal {
    struct spinlock lock;
    const char *name;
    unsigned length;
    char line[TERMINAL_LINE]; /* output since the last newline; not used when passing raw */
    void (*receive)(void *device, uint8_t byte);
    void *device;
};

/*
 * Say whether several VMs share the console, and start taking its input. Boot CPU, before VMs run.
 */
void terminal_start(bool several);

/*
 * Prepare a VM's terminal: received bytes go to receive(device, byte), called on the boot CPU with
 * interrupts off. The first terminal has the focus. Boot CPU, before VMs run.
 */
void terminal_init(struct terminal *terminal, const char *name,
                   void (*receive)(void *device, uint8_t byte), void *device);

/* One byte from the VM. Any CPU. */
void terminal_put(struct terminal *terminal, uint8_t byte);

/*
 * Show an unfinished line now: the guest has nothing more to say (a prompt), or has ended. Any CPU.
 */
void terminal_flush(struct terminal *terminal);

/* Give a terminal the input. Any CPU. */
void terminal_focus(struct terminal *terminal);
