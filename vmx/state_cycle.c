/* SPDX-License-Identifier: MIT */
/* Periodic saving and restoring of a VM's local APICs, as a test of both. */
#include "vmx/state_cycle.h"

#include "apic/paravirt.h"
#include "apic/state.h"
#include "arch/memory.h"
#include "arch/tsc.h"
#include "lib/error.h"
#include "lib/log.h"
#include "vmx/apic_port.h"
#include "vmx/vcpu.h"
#include "vmx/vm.h"

/* All that is saved of one local APIC. */
struct saved_lapic {
    struct lapic_state registers;
    uint64_t base, deadline, pv_eoi, vapic;
    int64_t tsc_offset;
    struct lapic_pending pending;
};

/* The pieces that depend on each other, restored in all orders; the rest comes before or after them. */
enum piece { PIECE_REGISTERS, PIECE_BASE, PIECE_TSC, PIECE_DEADLINE, PIECES };
enum { PIECE_ORDERS = 24 };

/* Many vCPUs on one CPU take long to stop and to start again: they get this multiple of it to run. */
enum { LEFT_TO_GUESTS = 4 };

static uint64_t period(void)
{
    return tsc_hz() / 1000000 * STATE_CYCLE_US;
}

void state_cycle_start(struct vm *vm)
{
    if (vm->apic.features.protected) {
        log_info("vm %s: not for state=cycle: its local APICs are protected", vm->name);
        return;
    }
    vm->saved_lapics = memory_alloc(sizeof(*vm->saved_lapics) * vm->vcpu_count, PAGE_SIZE);
    if (vm->saved_lapics == NULL) {
        log_warn("vm %s: no memory for state=cycle", vm->name);
        return;
    }
    atomic_store(&vm->state_cycle_at, rdtsc() + period());
}

uint64_t state_cycle_deadline(const struct vm *vm)
{
    return atomic_load_explicit(&vm->state_cycle_at, memory_order_relaxed);
}

void state_cycle_poll(struct vm *vm, uint64_t now)
{
    uint64_t at = state_cycle_deadline(vm);
    if (now >= at && atomic_compare_exchange_strong(&vm->state_cycle_at, &at, now + period())) {
        atomic_store(&vm->state_cycle_due, now);
        vm_request_state_cycle(vm);
    }
}

/* --- Saving and restoring one ----------------------------------------------------------------------- */

static int save(struct lapic *lapic, struct saved_lapic *saved, const char **reason)
{
    int error = lapic_get_state(lapic, &saved->registers, reason);
    saved->base = lapic_read_base(lapic);
    saved->deadline = lapic_get_deadline(lapic);
    saved->tsc_offset = lapic->tsc_offset;
    saved->pending = lapic_get_pending(lapic);
    saved->pv_eoi = lapic_read_pv_eoi(lapic);
    saved->vapic = lapic_read_vapic(lapic);
    return error;
}

static void wipe(struct lapic *lapic)
{
    lapic_reset(lapic, false);
    lapic_set_tsc_offset(lapic, 0);
}

static int restore_piece(struct lapic *lapic, const struct saved_lapic *saved, enum piece piece,
                         const char **reason)
{
    *reason = "IA32_APIC_BASE";
    switch (piece) {
    case PIECE_REGISTERS:
        return lapic_set_state(lapic, &saved->registers, reason);
    case PIECE_BASE:
        return lapic_restore_base(lapic, saved->base);
    case PIECE_TSC:
        lapic_restore_tsc_offset(lapic, saved->tsc_offset);
        break;
    case PIECE_DEADLINE:
        lapic_restore_deadline(lapic, saved->deadline);
        break;
    case PIECES:
        break;
    }
    return RIVET_OK;
}

/* The order-th of the pieces' orders. */
static int restore_pieces(struct lapic *lapic, const struct saved_lapic *saved, unsigned order,
                          const char **reason)
{
    bool done[PIECES] = { false };
    int error = RIVET_OK;
    for (unsigned left = PIECES; left > 0 && error == RIVET_OK; left--) {
        unsigned skip = order % left, piece = 0;
        order /= left;
        for (; done[piece] || skip > 0; piece++) {
            skip -= !done[piece];
        }
        done[piece] = true;
        error = restore_piece(lapic, saved, (enum piece)piece, reason);
    }
    return error;
}

static int restore_rest(struct lapic *lapic, const struct saved_lapic *saved, const char **reason)
{
    lapic_restore_pending(lapic, &saved->pending);
    *reason = "the paravirtual areas";
    int error = lapic_write_pv_eoi(lapic, saved->pv_eoi);
    return error != RIVET_OK ? error : lapic_set_vapic(lapic, saved->vapic);
}

static int restore(struct lapic *lapic, const struct saved_lapic *saved, uint64_t turn,
                   const char **reason)
{
    unsigned order = (unsigned)(turn % PIECE_ORDERS);
    bool rest_first = turn / PIECE_ORDERS % 2 != 0;
    int error = rest_first ? restore_rest(lapic, saved, reason) : RIVET_OK;

    if (error == RIVET_OK) {
        error = restore_pieces(lapic, saved, order, reason);
    }
    if (error == RIVET_OK && !rest_first) {
        error = restore_rest(lapic, saved, reason);
    }
    return error;
}

/* --- All of a VM -------------------------------------------------------------------------------------- */

/* Any refusal ends the VM: it would go on with another local APIC than it had. */
static void check(struct vm *vm, unsigned index, int error, const char *what, const char *reason)
{
    if (error != RIVET_OK) {
        vm_kill(vm, "vCPU %u: its local APIC cannot be %s: %s", index, what, reason);
    }
}

/* The clock stands still meanwhile: no time passes for timers and the guest's TSC. */
void state_cycle_run(struct vm *vm)
{
    const char *reason = NULL;
    uint64_t turn = vm->state_cycles++;

    apic_port_stop_clock();
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        check(vm, i, save(&vm->vcpus[i]->lapic, &vm->saved_lapics[i], &reason), "saved", reason);
    }
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        wipe(&vm->vcpus[i]->lapic);
    }
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        int error = restore(&vm->vcpus[i]->lapic, &vm->saved_lapics[i], turn + i, &reason);
        check(vm, i, error, "restored", reason);
    }
    apic_port_run_clock();
    uint64_t now = rdtsc(), took = now - atomic_load(&vm->state_cycle_due);
    atomic_store(&vm->state_cycle_at, now + period() + took * LEFT_TO_GUESTS);
}
