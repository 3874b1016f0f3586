/* SPDX-License-Identifier: MIT */
/* The table of VM exits at the end of a run (SDM volume 3, appendix "VMX Basic Exit Reasons"). */
#include "debug/stats_report.h"

#include "lib/log.h"
#include "vmx/vcpu.h"

/* The reason with the most exits among those not shown yet; -1 when none is left. */
static int next_reason(const uint64_t exits[EXIT_REASON_COUNT], const bool shown[EXIT_REASON_COUNT])
{
    int best = -1;

    for (int i = 0; i < EXIT_REASON_COUNT; i++) {
        if (!shown[i] && exits[i] > 0 && (best < 0 || exits[i] > exits[best])) {
            best = i;
        }
    }
    return best;
}

static void report_exits(const struct vcpu_stats *stats)
{
    bool shown[EXIT_REASON_COUNT] = { false };
    uint64_t total = 0;
    int reason;

    while ((reason = next_reason(stats->exits, shown)) >= 0) {
        shown[reason] = true;
        total += stats->exits[reason];
        log_info("  %12lu  %s", stats->exits[reason], exit_reason_name((unsigned)reason));
    }
    log_info("  %12lu  exits in all", total);
}

void stats_report(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        const struct vcpu_stats *stats = &vm->vcpus[i]->stats;
        log_info("exits of vm %s, vcpu %u:", vm->name, i);
        report_exits(stats);
        log_info("  interrupts: %lu injected, %lu posted, %lu synced, %lu EOI exits, %lu timer, "
                 "%lu halts",
                 stats->injected, stats->posted, stats->synced, stats->eoi_exits,
                 stats->timer_expired, stats->halts);
        log_info("  guest mode: %lu ticks", stats->guest_ticks);
    }
    uint64_t switches = atomic_load(&vm->apicv_switches);
    if (switches > 0) {
        log_info("APICv of vm %s was switched %lu times", vm->name, switches);
    }
    if (vm->state_cycles > 0) {
        log_info("local APICs of vm %s were saved and restored %lu times", vm->name,
                 vm->state_cycles);
    }
}
