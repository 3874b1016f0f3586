/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes saved and restored states, malformed ones too, against the slow reference; and those restored for
 * another mode: a refused one changes nothing, an accepted one reads back the same.
 */
/* links: apic/accept.c apic/apicv.c apic/eoi.c apic/error.c apic/icr.c apic/ioapic.c */
/* links: apic/extint.c apic/lapic.c apic/paravirt.c apic/protected.c apic/state.c */
/* links: apic/lvt.c apic/map.c apic/pi.c apic/priority.c apic/registers.c apic/timer.c apic/vm.c */
/* links: tests/unit/lib/apic_port_model.c tests/unit/lib/apic_guest.c */
/* links: tests/unit/lib/apic_differential.c tests/unit/lib/apic_reference.c */
/* links: tests/unit/lib/apic_differential_state.c */
/* links: tests/unit/lib/apic_reference_bus.c tests/unit/lib/apic_reference_local.c */
#include <stdlib.h>
#include <string.h>

#include "apic/state.h"
#include "lib/error.h"
#include "tests/unit/lib/apic_differential.h"
#include "tests/unit/lib/apic_port_model.h"

enum { SUBJECT = 1 };

static struct lapic *subject(void)
{
    return &model.vcpu[SUBJECT].lapic;
}

/* Every three bytes: a register and one byte of it. */
static void scribble(struct lapic_state *state, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 2 < size; i += 3) {
        state->regs[(data[i] & 0x3F) * 16 + (data[i + 1] & 3)] = data[i + 2];
    }
}

static void check_unchanged(const uint8_t *page)
{
    if (memcmp(page, model.vcpu[SUBJECT].page, APIC_PAGE_SIZE) != 0) {
        abort();
    }
}

static void check_read_back(void)
{
    struct lapic_state first, second;
    const char *reason;

    if (lapic_get_state(subject(), &first, &reason) != RIVET_OK ||
        lapic_set_state(subject(), &first, &reason) != RIVET_OK ||
        lapic_get_state(subject(), &second, &reason) != RIVET_OK) {
        abort();
    }
    if (memcmp(&first, &second, sizeof(first)) != 0) {
        abort();
    }
}

static void drain(void)
{
    for (unsigned i = 0; i < 512; i++) {
        if (model_enter(SUBJECT) < 0 && model_highest(SUBJECT, APIC_ISR) < 0) {
            break;
        }
        model_eoi(SUBJECT);
        lapic_timer_poll(subject(), model.tsc);
    }
}

static void restore_once(const uint8_t *data, size_t size)
{
    struct lapic_state state;
    uint8_t page[APIC_PAGE_SIZE];
    const char *reason = NULL;

    model_start(&model_all_features, 2);
    model_enable_all();
    if ((data[0] & 1) != 0) {
        model_enter_x2apic(SUBJECT);
    }
    if (lapic_get_state(subject(), &state, &reason) != RIVET_OK) {
        abort();
    }
    scribble(&state, data + 1, size - 1);
    memcpy(page, model.vcpu[SUBJECT].page, sizeof(page));
    if (lapic_set_state(subject(), &state, &reason) != RIVET_OK) {
        check_unchanged(page);
        return;
    }
    if ((data[0] & 2) != 0) {
        lapic_restore_base(subject(), (data[0] & 4) != 0 ? 0xFEE00C00 : 0xFEE00800);
    }
    check_read_back();
    drain();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 4 && (data[0] & 0x80) != 0) {
        differential_run(data[0] % WORLD_COUNT, OPERATIONS_ALL | OPERATIONS_STATE, data + 1,
                         size - 1);
    } else if (size >= 4) {
        restore_once(data, size);
    }
    return 0;
}
