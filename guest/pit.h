/* SPDX-License-Identifier: MIT */
/*
 * An 8254 interval timer (Intel 8254 data sheet) as a PC has it: channel 0 on interrupt line 0,
 * channel 2 behind port 61H. For VMs with an 8259 pair.
 *
 * Counters are computed from the host's TSC, so they are exact. A new count takes effect at once,
 * also where the chip would finish the current period. Channel 0's line rises at the end of each
 * period and stays up: only rises count on an edge-triggered input.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/spinlock.h"
#include "vmx/vm.h"

enum { PIT_CHANNELS = 3, PIT_HZ = 1193182 };

/*
 * Interrupts are at least so many TSC ticks apart: a guest that asks for more would only leave guest
 * mode. The phase stays exact.
 */
enum { PIT_FLOOR = 10000 };

struct pit_channel {
    uint8_t mode;   /* 0 to 5 */
    uint8_t access; /* 1: low byte, 2: high byte, 3: both */
    bool bcd;
    bool gate;
    bool loaded; /* a count was written since the control word, and where it needs one, triggered */
    bool write_high; /* access 3: the low byte has come */
    bool read_high;  /* access 3: the low byte was read */
    uint8_t low;     /* that low byte */
    bool has_latch;  /* latch is read first */
    bool has_status; /* status is read before that */
    uint8_t status;
    uint16_t latch;
    uint32_t count;   /* as loaded, 1 to 10000H */
    uint64_t start;   /* PIT ticks: when the count was whole */
    uint64_t stopped; /* ticks counted when the gate fell */
};

struct pit {
    struct spinlock lock; /* everything below; taken before the 8259 pair's lock */
    struct vm *vm;
    uint64_t tsc_hz;
    struct pit_channel channels[PIT_CHANNELS];
    uint64_t next_rise; /* PIT ticks: of channel 0; UINT64_MAX: none */
    bool line;          /* level of interrupt line 0 */
    uint8_t control;    /* port 61H, bits 3:0 */
    bool refresh;       /* port 61H, bit 4: changes with each read */
};

/*
 * Register the ports and take the VM's device deadline. tsc_hz: of the host. Boot CPU, before the VM
 * runs. Errors of vm_add_io.
 */
int pit_init(struct pit *pit, struct vm *vm, uint64_t tsc_hz);

/*
 * State after power-up: channels wait for a count; or what a PC's firmware leaves: channel 0 in mode
 * 3 with a count of 65536. No vCPU runs.
 */
void pit_reset(struct pit *pit, bool firmware, uint64_t tsc);

/* What is due at host TSC now. vCPU 0's CPU. */
void pit_poll(struct pit *pit, uint64_t tsc);
