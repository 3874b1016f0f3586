/* SPDX-License-Identifier: MIT */
/* An 8254 interval timer (Intel 8254 data sheet) as a PC has it. */
#include "guest/pit.h"

#include "apic/port.h"
#include "guest/isa_irq.h"
#include "lib/error.h"

enum { FIRST_PORT = 0x40, CONTROL = 3, PORT_B = 0x61 };

enum {
    CW_BCD = 1 << 0,
    CW_MODE_SHIFT = 1,
    CW_MODE = 7,
    CW_ACCESS_SHIFT = 4,
    CW_ACCESS = 3,
    CW_CHANNEL_SHIFT = 6,
    CW_READ_BACK = 3, /* in place of a channel */
};
enum { READ_BACK_NO_COUNT = 1 << 5, READ_BACK_NO_STATUS = 1 << 4, READ_BACK_CHANNELS_SHIFT = 1 };
enum { STATUS_OUT = 1 << 7, STATUS_NULL_COUNT = 1 << 6 };
enum { ACCESS_LATCH = 0, ACCESS_LOW = 1, ACCESS_HIGH = 2, ACCESS_BOTH = 3 };

/* Port 61H. */
enum { B_GATE_2 = 1 << 0, B_WRITABLE = 0x0F, B_REFRESH = 1 << 4, B_OUT_2 = 1 << 5 };

enum { ONE_SHOT = 1, RATE = 2, SQUARE = 3, STROBE = 4, TRIGGERED_STROBE = 5 };

/* --- Time ------------------------------------------------------------------------------------- */

static uint64_t scale(uint64_t value, uint64_t from, uint64_t to, bool up)
{
    return value / from * to + (value % from * to + (up ? from - 1 : 0)) / from;
}

/* PIT ticks at a host TSC, and the first TSC at which there are so many. */
static uint64_t to_ticks(const struct pit *pit, uint64_t tsc)
{
    return scale(tsc, pit->tsc_hz, PIT_HZ, false);
}

static uint64_t to_tsc(const struct pit *pit, uint64_t ticks)
{
    return scale(ticks, PIT_HZ, pit->tsc_hz, true);
}

static uint64_t now(const struct pit *pit)
{
    return to_ticks(pit, apic_port_tsc());
}

/* --- A counter -------------------------------------------------------------------------------- */

static bool is_periodic(const struct pit_channel *channel)
{
    return channel->mode == RATE || channel->mode == SQUARE;
}

/* Modes that start by a rise of the gate and do not care for its level. */
static bool is_triggered(const struct pit_channel *channel)
{
    return channel->mode == ONE_SHOT || channel->mode == TRIGGERED_STROBE;
}

static uint64_t elapsed(const struct pit_channel *channel, uint64_t at)
{
    if (!channel->gate && !is_triggered(channel)) {
        return channel->stopped;
    }
    return at - channel->start;
}

static uint32_t modulus(const struct pit_channel *channel)
{
    return channel->bcd ? 10000 : 0x10000;
}

/* The counting element, binary. Mode 3 counts by two, twice in a period. */
static uint32_t current(const struct pit_channel *channel, uint64_t at)
{
    uint32_t wrap = modulus(channel);

    if (!channel->loaded) {
        return channel->count % wrap;
    }
    uint64_t passed = elapsed(channel, at);
    if (channel->mode == SQUARE) {
        return (channel->count - (uint32_t)(2 * passed % channel->count)) % wrap;
    }
    if (channel->mode == RATE) {
        return (channel->count - (uint32_t)(passed % channel->count)) % wrap;
    }
    return (channel->count + wrap - (uint32_t)(passed % wrap)) % wrap;
}

static bool output(const struct pit_channel *channel, uint64_t at)
{
    if (!channel->loaded) {
        return channel->mode != 0;
    }
    uint64_t passed = elapsed(channel, at);
    switch (channel->mode) {
    case RATE:
        return !channel->gate || passed % channel->count != channel->count - 1;
    case SQUARE:
        return !channel->gate || passed % channel->count < (channel->count + 1) / 2;
    case STROBE:
    case TRIGGERED_STROBE:
        return passed != channel->count;
    default:
        return passed >= channel->count;
    }
}

/* The first rise of the output after a time; UINT64_MAX: none. Of a channel whose gate is high. */
static uint64_t next_rise(const struct pit_channel *channel, uint64_t at)
{
    if (!channel->loaded) {
        return UINT64_MAX;
    }
    uint64_t first = channel->start + channel->count + (channel->mode >= STROBE ? 1 : 0);
    if (is_periodic(channel)) {
        return at < first ? first : at + channel->count - (at - channel->start) % channel->count;
    }
    return at < first ? first : UINT64_MAX;
}

static uint32_t from_bcd(uint32_t value)
{
    return (value & 0xF) + 10 * (value >> 4 & 0xF) + 100 * (value >> 8 & 0xF) +
           1000 * (value >> 12 & 0xF);
}

static uint32_t to_bcd(uint32_t value)
{
    return value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 % 10 << 12;
}

static uint16_t readable(const struct pit_channel *channel, uint64_t at)
{
    uint32_t value = current(channel, at);

    return (uint16_t)(channel->bcd ? to_bcd(value) : value);
}

static void load(struct pit_channel *channel, uint16_t value, uint64_t at)
{
    uint32_t count = channel->bcd ? from_bcd(value) : value;

    channel->count = count != 0 ? count : modulus(channel);
    if (!is_triggered(channel)) {
        channel->loaded = true;
        channel->start = at;
        channel->stopped = 0;
    }
}

static void set_gate(struct pit_channel *channel, bool gate, uint64_t at)
{
    if (gate == channel->gate) {
        return;
    }
    channel->stopped = elapsed(channel, at);
    channel->gate = gate;
    if (!gate) {
        return;
    }
    if (is_triggered(channel)) {
        channel->loaded = true;
        channel->start = at;
    } else {
        channel->start = is_periodic(channel) ? at : at - channel->stopped;
    }
}

/* --- Interrupt line 0 ------------------------------------------------------------------------- */

static void set_line(struct pit *pit, bool level)
{
    if (level != pit->line) {
        pit->line = level;
        isa_irq_set(pit->vm, 0, level);
    }
}

/* Wait for the first rise after a time. */
static void arm(struct pit *pit, uint64_t after)
{
    pit->next_rise = next_rise(&pit->channels[0], after);
    atomic_store(&pit->vm->device_deadline,
                 pit->next_rise == UINT64_MAX ? UINT64_MAX : to_tsc(pit, pit->next_rise));
}

/* Channel 0 was programmed: its output is what its mode starts with. */
static void restart(struct pit *pit, uint64_t at)
{
    const struct pit_channel *channel = &pit->channels[0];

    set_line(pit, is_periodic(channel) || output(channel, at));
    arm(pit, at);
}

void pit_poll(struct pit *pit, uint64_t tsc)
{
    spin_lock(&pit->lock);
    uint64_t at = to_ticks(pit, tsc);
    if (at >= pit->next_rise) {
        set_line(pit, false);
        set_line(pit, true);
        arm(pit, at + to_ticks(pit, PIT_FLOOR));
    }
    spin_unlock(&pit->lock);
}

/* --- Registers -------------------------------------------------------------------------------- */

static void latch_count(struct pit_channel *channel, uint64_t at)
{
    if (!channel->has_latch) {
        channel->has_latch = true;
        channel->read_high = false;
        channel->latch = readable(channel, at);
    }
}

static void latch_status(struct pit_channel *channel, uint64_t at)
{
    if (!channel->has_status) {
        channel->has_status = true;
        channel->status = (uint8_t)((output(channel, at) ? STATUS_OUT : 0) |
                                    (channel->loaded ? 0 : STATUS_NULL_COUNT) |
                                    channel->access << CW_ACCESS_SHIFT |
                                    channel->mode << CW_MODE_SHIFT | channel->bcd);
    }
}

static void read_back(struct pit *pit, uint8_t value, uint64_t at)
{
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        if ((value >> READ_BACK_CHANNELS_SHIFT >> i & 1) == 0) {
            continue;
        }
        if ((value & READ_BACK_NO_COUNT) == 0) {
            latch_count(&pit->channels[i], at);
        }
        if ((value & READ_BACK_NO_STATUS) == 0) {
            latch_status(&pit->channels[i], at);
        }
    }
}

/* Modes 6 and 7 are 2 and 3. */
static void program(struct pit_channel *channel, uint8_t value)
{
    uint8_t mode = value >> CW_MODE_SHIFT & CW_MODE;

    *channel = (struct pit_channel){
        .mode = mode > TRIGGERED_STROBE ? mode & 3 : mode,
        .access = value >> CW_ACCESS_SHIFT & CW_ACCESS,
        .bcd = (value & CW_BCD) != 0,
        .gate = channel->gate,
        .count = channel->count,
    };
}

static void write_control(struct pit *pit, uint8_t value, uint64_t at)
{
    unsigned number = value >> CW_CHANNEL_SHIFT;

    if (number == CW_READ_BACK) {
        read_back(pit, value, at);
    } else if ((value >> CW_ACCESS_SHIFT & CW_ACCESS) == ACCESS_LATCH) {
        latch_count(&pit->channels[number], at);
    } else {
        program(&pit->channels[number], value);
    }
}

/* With both bytes to come, the first one stops mode 0. */
static void write_count(struct pit_channel *channel, uint8_t value, uint64_t at)
{
    if (channel->access == ACCESS_LOW) {
        load(channel, value, at);
    } else if (channel->access == ACCESS_HIGH) {
        load(channel, (uint16_t)(value << 8), at);
    } else if (channel->write_high) {
        channel->write_high = false;
        load(channel, (uint16_t)(value << 8 | channel->low), at);
    } else {
        channel->write_high = true;
        channel->low = value;
        channel->loaded &= channel->mode != 0;
    }
}

static uint8_t read_count(struct pit_channel *channel, uint64_t at)
{
    if (channel->has_status) {
        channel->has_status = false;
        return channel->status;
    }
    uint16_t value = channel->has_latch ? channel->latch : readable(channel, at);
    bool both = channel->access == ACCESS_BOTH;
    bool high = both ? channel->read_high : channel->access == ACCESS_HIGH;
    channel->read_high = both && !high;
    channel->has_latch &= both && !high;
    return (uint8_t)(high ? value >> 8 : value);
}

static uint64_t read_ports(void *device, uint64_t offset, unsigned size)
{
    struct pit *pit = device;
    uint64_t value = 0xFF;

    (void)size;
    spin_lock(&pit->lock);
    if (offset != CONTROL) {
        value = read_count(&pit->channels[offset], now(pit));
    }
    spin_unlock(&pit->lock);
    return value;
}

static void write_ports(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct pit *pit = device;

    (void)size;
    spin_lock(&pit->lock);
    uint64_t at = now(pit);
    if (offset == CONTROL) {
        write_control(pit, (uint8_t)value, at);
    } else {
        write_count(&pit->channels[offset], (uint8_t)value, at);
    }
    bool control_0 = offset == CONTROL && value >> CW_CHANNEL_SHIFT == 0;
    bool latch = control_0 && (value >> CW_ACCESS_SHIFT & CW_ACCESS) == ACCESS_LATCH;
    bool first = (offset == 0 || control_0) && !latch;
    if (first) {
        restart(pit, at);
    }
    spin_unlock(&pit->lock);
    if (first) {
        apic_port_kick(pit->vm->apic.lapics[0]); /* to look at its deadlines */
    }
}

static uint64_t read_port_b(void *device, uint64_t offset, unsigned size)
{
    struct pit *pit = device;

    (void)offset;
    (void)size;
    spin_lock(&pit->lock);
    pit->refresh = !pit->refresh;
    uint64_t value = pit->control | (pit->refresh ? B_REFRESH : 0) |
                     (output(&pit->channels[2], now(pit)) ? B_OUT_2 : 0);
    spin_unlock(&pit->lock);
    return value;
}

static void write_port_b(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct pit *pit = device;

    (void)offset;
    (void)size;
    spin_lock(&pit->lock);
    pit->control = value & B_WRITABLE;
    set_gate(&pit->channels[2], (value & B_GATE_2) != 0, now(pit));
    spin_unlock(&pit->lock);
}

/* --- Life ------------------------------------------------------------------------------------- */

void pit_reset(struct pit *pit, bool firmware, uint64_t tsc)
{
    spin_lock(&pit->lock);
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        pit->channels[i] = (struct pit_channel){
            .mode = SQUARE, .access = ACCESS_BOTH, .gate = i != 2, .count = 0x10000
        };
    }
    pit->control = 0;
    if (firmware) {
        load(&pit->channels[0], 0, to_ticks(pit, tsc));
    }
    restart(pit, to_ticks(pit, tsc));
    spin_unlock(&pit->lock);
}

int pit_init(struct pit *pit, struct vm *vm, uint64_t tsc_hz)
{
    static const struct io_ops ports = { read_ports, write_ports };
    static const struct io_ops port_b = { read_port_b, write_port_b };

    *pit = (struct pit){ .vm = vm, .tsc_hz = tsc_hz, .next_rise = UINT64_MAX };
    int error = vm_add_io(vm, FIRST_PORT, 4, &ports, pit);
    return error == RIVET_OK ? vm_add_io(vm, PORT_B, 1, &port_b, pit) : error;
}
