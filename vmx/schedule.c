/* SPDX-License-Identifier: MIT */
/*
 * The scheduler of each CPU. A CPU's vCPUs never leave it; one can run unless its mode is BLOCKED. The
 * one that is woken runs next; otherwise they take turns of SLICE_MS, timed by the VMX-preemption
 * timer. A blocked vCPU's deadlines are watched by its home CPU: by the preemption timer while
 * another vCPU runs, by the host's timer while the CPU idles.
 */
#include "vmx/schedule.h"

#include <stdbool.h>
#include <stddef.h>

#include "arch/cpu.h"
#include "arch/interrupts.h"
#include "arch/tsc.h"
#include "arch/vectors.h"
#include "drivers/host_apic.h"
#include "lib/log.h"
#include "vmx/cpu_state.h"
#include "vmx/deadline.h"
#include "vmx/run.h"
#include "vmx/vcpu.h"

enum { SLICE_MS = 10 };

void schedule_add(struct vcpu *vcpu)
{
    struct vmx_cpu *cpu = vcpu->home->vmx;
    unsigned count = atomic_load(&cpu->count);
    if (count == CPU_MAX_VCPUS) {
        fatal("CPU %u: more than %u vCPUs", vcpu->home->index, CPU_MAX_VCPUS);
    }
    cpu->vcpus[count] = vcpu;
    atomic_store(&cpu->count, count + 1);
    schedule_notice(vcpu);
}

void schedule_notice(struct vcpu *vcpu)
{
    if (vcpu->home == this_cpu()) {
        this_cpu()->vmx->reschedule = true;
    } else {
        host_apic_send(vcpu->home->apic_id, VECTOR_POSTED_WAKEUP);
    }
}

static bool is_blocked(const struct vcpu *vcpu)
{
    return atomic_load(&vcpu->mode) == VCPU_BLOCKED;
}

/* Next vCPU after the last one that can run; NULL if none. */
static struct vcpu *choose(struct vmx_cpu *cpu)
{
    unsigned count = atomic_load(&cpu->count);
    for (unsigned i = 1; i <= count; i++) {
        unsigned index = (cpu->last + i) % count;
        if (!is_blocked(cpu->vcpus[index])) {
            cpu->last_before = cpu->last;
            cpu->last = index;
            return cpu->vcpus[index];
        }
    }
    return NULL;
}

/* Whether it waits with its timer running; one parked for a reset is not this CPU's to look at. */
static bool is_waiting(const struct vcpu *vcpu)
{
    return is_blocked(vcpu) && !atomic_load(&vcpu->parked);
}

/* Earliest deadline of the vCPUs that wait. */
static uint64_t blocked_deadline(struct vmx_cpu *cpu)
{
    uint64_t earliest = UINT64_MAX;
    unsigned count = atomic_load(&cpu->count);
    for (unsigned i = 0; i < count; i++) {
        if (is_waiting(cpu->vcpus[i])) {
            uint64_t deadline = deadline_next(cpu->vcpus[i]);
            earliest = deadline < earliest ? deadline : earliest;
        }
    }
    return earliest;
}

/* Serve the deadlines of blocked vCPUs that are due; that wakes them when the interrupt does. */
static void poll_blocked(struct vmx_cpu *cpu, uint64_t now)
{
    unsigned count = atomic_load(&cpu->count);
    for (unsigned i = 0; i < count; i++) {
        struct vcpu *vcpu = cpu->vcpus[i];
        if (is_waiting(vcpu) && deadline_next(vcpu) <= now) {
            deadline_poll(vcpu, now);
        }
    }
}

static bool others_wait(struct vmx_cpu *cpu, const struct vcpu *running)
{
    unsigned count = atomic_load(&cpu->count);
    for (unsigned i = 0; i < count; i++) {
        if (cpu->vcpus[i] != running && !is_blocked(cpu->vcpus[i])) {
            return true;
        }
    }
    return false;
}

static void run(struct vmx_cpu *cpu, struct vcpu *vcpu)
{
    /* Cleared before the look at the others: a wake-up from now on sets it again. */
    cpu->reschedule = false;
    bool share = others_wait(cpu, vcpu);
    cpu->slice_end = share ? rdtsc() + tsc_hz() / 1000 * SLICE_MS : UINT64_MAX;
    cpu->others_deadline = blocked_deadline(cpu);
    vcpu_run(vcpu);
}

static void idle(struct vmx_cpu *cpu)
{
    uint64_t deadline = blocked_deadline(cpu);
    if (deadline > rdtsc()) {
        if (deadline != UINT64_MAX) {
            host_apic_timer_arm(deadline);
        }
        interrupts_wait();
        if (deadline != UINT64_MAX) {
            host_apic_timer_disarm();
        }
    }
    poll_blocked(cpu, rdtsc());
}

uint64_t schedule_deadline(void)
{
    const struct vmx_cpu *cpu = this_cpu()->vmx;
    return cpu->slice_end < cpu->others_deadline ? cpu->slice_end : cpu->others_deadline;
}

void schedule_deadline_check(void)
{
    struct vmx_cpu *cpu = this_cpu()->vmx;
    uint64_t now = rdtsc();
    if (now >= cpu->slice_end) {
        cpu->reschedule = true;
    }
    if (now >= cpu->others_deadline) {
        poll_blocked(cpu, now);
        cpu->others_deadline = blocked_deadline(cpu);
    }
}

void schedule_give_turn_back(void)
{
    struct vmx_cpu *cpu = this_cpu()->vmx;
    cpu->last = cpu->last_before;
}

void schedule_yield(void)
{
    struct vmx_cpu *cpu = this_cpu()->vmx;
    if (others_wait(cpu, cpu->current)) {
        cpu->reschedule = true;
    }
}

void vcpu_scheduler_run(void)
{
    struct vmx_cpu *cpu = this_cpu()->vmx;
    for (;;) {
        struct vcpu *vcpu = choose(cpu);
        if (vcpu != NULL) {
            run(cpu, vcpu);
        } else {
            idle(cpu);
        }
    }
}
