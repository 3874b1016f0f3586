# SPDX-License-Identifier: MIT
"""What the steady state costs: exits for each EOI, TPR write, self-IPI and timer tick.

tests/guests/steady.c does one thing N times. Two boots that differ only in N tell what N more cost.
"""
import re

from .linux import boot_debian
from .row import Failure, Row

GROUP = "system"
REPEATS = (1000, 3000)
MORE = REPEATS[1] - REPEATS[0]
PV_EOIS = 2000
# phase of steady.c, what it is, exits that one costs at most under APICv and at least without (TPR
# has its shadow even then)
PHASES = (
    ("self-ipi", "self-IPI with EOI", 0, 2),
    ("tpr", "write and read of TPR", 0, 0),
    ("cr8", "write and read of CR8", 0, 0),
    ("held", "interrupt held back by TPR", 0, 2),
    ("timer", "timer tick in HLT", 2, 2),
)
SLEEPS = (5, 65)  # how many seconds idle Linux sleeps in each of two boots
BOOTS_DIFFER = 10  # exits of a kind that one of two boots has more, by when its ticks fall
# The host's own interrupts, of its console for one, come when they come.
NOT_THE_GUESTS = "external interrupt"


def exits(text):
    """Rivet's statistics of all vCPUs: {reason: count}."""
    total = {}
    for count, reason in re.findall(r"^rivet: +(\d+)  (.+)$", text, re.M):
        total[reason] = total.get(reason, 0) + int(count)
    total.pop("exits in all", None)
    if not total:
        raise Failure("Rivet printed no exit statistics")
    return total


def difference(few, many):
    """{reason: how many more}, without reasons of which there are as many."""
    reasons = set(few) | set(many)
    more = {reason: many.get(reason, 0) - few.get(reason, 0) for reason in reasons}
    return {reason: count for reason, count in more.items() if count}


def cost(more, units, what="times"):
    """Exits for each of so many, in words."""
    total = sum(more.values())
    parts = ", ".join(f"{count} {reason}" for reason, count in sorted(more.items()))
    return f"{total / units:.3f} exits each ({parts or 'none'} for {units} {what})"


def measure(run, phase, mode, options="", words=""):
    """What MORE repeats of a phase cost, in a VM with these words: {reason: count}."""
    counted = []
    for repeat in REPEATS:
        module = (f"{run.build / 'guests' / 'steady.elf'} kernel vm=steady testdev mem=32M {words} -- "
                  f"phase={phase} mode={mode} repeat={repeat}")
        status, text = run.boot("--mem", 160, "--options", options, "--module", module, timeout=60)
        if status != 0:
            raise Failure(f"phase {phase}, {mode}, {repeat} times: exit status {status}")
        counted.append(exits(text))
    return difference(*counted)


def phase_row(phase, what, most, least):
    """Under APICv at most so many exits, in both modes, protected or not; without it that many: they are
    counted."""
    def body(run):
        for mode, words in (("x2apic", ""), ("xapic", ""), ("x2apic", "protected")):
            more = measure(run, phase, mode, words=words)
            run.notes.append(f"{words or 'APICv'}, {mode}: {cost(more, MORE)}")
            guests = sum(count for reason, count in more.items() if reason != NOT_THE_GUESTS)
            if guests > most * MORE:
                raise Failure(f"{what}, {mode} {words}: {cost(more, MORE)}, at most {most}")
        more = measure(run, phase, "x2apic", "apicv=off")
        run.notes.append(f"apicv=off, x2apic: {cost(more, MORE)}")
        if sum(more.values()) < least * MORE:
            raise Failure(f"{what}: without APICv {cost(more, MORE)}, not {least}: nothing happened")
    return Row(GROUP, f"exits: {what}", body)


def pv_eoi_run(run, words, options):
    """EOIs that the register did not get, and the WRMSR exits, of PV_EOIS interrupts."""
    module = (f"{run.build / 'guests' / 'paravirt.elf'} kernel vm=pv testdev mem=64M -- "
              f"eois={PV_EOIS} {words}")
    status, text = run.boot("--mem", 192, "--options", options, "--module", module, timeout=60)
    skipped = re.search(r"^EOI register not needed for (\d+)$", text, re.M)
    if status != 0 or not skipped:
        raise Failure(f"{words}, {options or 'APICv'}: exit status {status}")
    return int(skipped[1]), exits(text).get("WRMSR", 0)


def pv_eoi(run):
    """Without APICv PV EOI saves the exit of an EOI; with APICv, which has none, it is not offered."""
    _, without = pv_eoi_run(run, "pv=0", "apicv=off")
    skipped, saving = pv_eoi_run(run, "pv=1", "apicv=off")
    run.notes.append(f"apicv=off: {skipped} of {PV_EOIS} EOIs without an exit; WRMSR exits: {without} "
                     f"without PV EOI, {saving} with it")
    if skipped < 0.9 * PV_EOIS or without - saving < 0.9 * PV_EOIS:
        raise Failure(f"PV EOI saves {without - saving} of {PV_EOIS} exits, {skipped} EOIs skipped")
    skipped, exited = pv_eoi_run(run, "pv=1", "")
    if skipped != 0 or exited > 0.1 * PV_EOIS:
        raise Failure(f"APICv: {skipped} EOIs skipped, {exited} WRMSR exits; expected none")


def ticks(text):
    """Local timer interrupts that Linux counted."""
    found = re.search(r"^ *LOC: +(\d+)", text, re.M)
    if not found:
        raise Failure("no line LOC in /proc/interrupts")
    return int(found[1])


def idle(run):
    """Linux asleep, its tick kept on by nohz=off: two boots differ in how long it sleeps.

    A tick costs the HLT and the write of the next deadline. Once a second Linux reads IA32_TSC_ADJUST.
    The rest is what one boot polls its UART, or waits for the host, longer than the other.
    """
    texts = [boot_debian(run, kernel_words=f"nohz=off demo_sleep={seconds}") for seconds in SLEEPS]
    more = difference(*map(exits, texts))
    tick_count = ticks(texts[1]) - ticks(texts[0])
    run.notes.append(f"APICv: {cost(more, tick_count, 'ticks')}")
    seconds = SLEEPS[1] - SLEEPS[0]
    if tick_count < seconds * 230:
        raise Failure(f"only {tick_count} more ticks of 250 a second in {seconds} s more of sleep")
    for reason, most in (("HLT", tick_count), ("WRMSR", tick_count), ("RDMSR", seconds)):
        if more.pop(reason, 0) > most + BOOTS_DIFFER:
            raise Failure(f"{reason}: more than {most} for {tick_count} ticks in {seconds} s")
    rest = {reason: count for reason, count in more.items() if count > 0}
    if sum(rest.values()) > 5 * seconds:
        raise Failure(f"beside its ticks an idle guest costs {cost(rest, seconds, 'seconds')}")


def rows():
    """One row for each phase, and idle Linux."""
    return [Row(GROUP, "exits: timer tick of idle Debian", idle), Row(GROUP, "exits: PV EOI", pv_eoi)] + [
        phase_row(*phase) for phase in PHASES]
