# SPDX-License-Identifier: MIT
"""Test guests: bare on the emulator, and under Rivet with APICv on, off and toggled; all must say the same.
Those about the local APIC also run while Rivet saves and restores it again and again (state=cycle).

A line ` * guest: WORDS` in a comment of tests/guests/NAME.c tells how to run it:
bare-only (it needs what Rivet does not give a guest), rivet-only (it needs what only Rivet has: the
runs under Rivet must say the same), cpus=N, mem=MiB, model=CPU, timeout=S, cmdline='WORDS', long (only
in `make test-long`), elsewhere (no row here: other rows use it), protected (also as a protected VM, which
must say what it says bare) or protected='WORDS' (with this command line then).
Under Rivet a guest of several CPUs also runs on one CPU and on two, where its vCPUs take turns.
"""
import difflib
import re
import shlex

from .row import ROOT, Failure, Row, expect

GROUP = "guests"
VARIANTS = ("", "apicv=off", "apicv=toggle")
STATE_VARIANTS = ("state=cycle", "state=cycle apicv=off")
# Whose subject is state that a local APIC must keep.
STATE_GUESTS = re.compile(r"apic_|ioapic$|extint$|init_|nmi$|paravirt$")
STATE_CYCLED = r"^rivet: local APICs of vm guest were saved and restored [1-9]\d* times$"
SUMMARY = r"^SUMMARY: [1-9]\d* tests?, 0 failed$"


def settings(source):
    """The words after `guest:` as a dictionary; a word without `=` maps to itself."""
    found = re.search(r"^(?:/\*| \*) guest: (.*?)\s*(?:\*/)?$", source.read_text(), re.M)
    words = shlex.split(found[1]) if found else []
    return dict((word.split("=", 1) * 2)[:2] for word in words)


def transcript(text):
    """What the guest itself printed."""
    return [line for line in text.splitlines() if not line.startswith(("rivet: ", "boot: ")) and line]


def compare(variant, said, guest):
    """Raises Failure with the first difference of two transcripts. Without one to compare with: nothing."""
    if said is None:
        return
    for line in difflib.unified_diff(transcript(said), transcript(guest), lineterm="", n=0):
        if line[0] in "+-" and not line.startswith(("+++", "---")):
            raise Failure(f"under Rivet ({variant or 'APICv'}) differs: {line}")


def guest_row(source, given, shared=0):
    """One guest with its settings; with `shared`, on that many CPUs, fewer than it has vCPUs."""
    timeout = int(given.get("timeout", 60))
    vcpus, memory = given.get("cpus", "1"), int(given.get("mem", 64))
    line = given.get("cmdline", "")
    model = ["--cpu-model", given["model"]] if "model" in given else []

    def body(run):
        elf = run.build / "guests" / f"{source.stem}.elf"
        said = None
        if "rivet-only" not in given:
            status, said = run.boot(*model, "--cpus", vcpus, "--mem", memory, "--bare", elf,
                                    "--cmdline", line, timeout=timeout)
            expect(status, said, must=[SUMMARY])
        if "bare-only" in given:
            return
        module = f"{elf} kernel vm=guest testdev mem={memory}M vcpus={vcpus} -- {line}"
        cycled = STATE_VARIANTS if STATE_GUESTS.match(source.stem) else ()
        for variant in (*VARIANTS, *cycled):
            status, guest = run.boot(*model, "--cpus", shared or vcpus, "--mem", memory + 128,
                                     "--options", variant, "--module", module, timeout=timeout)
            compare(variant, said, guest)
            restored = [STATE_CYCLED] if variant in cycled else []
            expect(status, guest, must=[SUMMARY, *restored])
            said = said or guest
    name = f"guest: {source.stem}" + (f", {vcpus} vCPUs on {shared}" if shared else "")
    return Row("long" if "long" in given else GROUP, name, body)


def protected_row(source, given):
    """One guest as a protected VM; with several vCPUs also on one CPU."""
    line = given.get("cmdline", "") if given["protected"] == "protected" else given["protected"]
    vcpus, memory = given.get("cpus", "1"), int(given.get("mem", 64))
    timeout = int(given.get("timeout", 60))

    def body(run):
        elf = run.build / "guests" / f"{source.stem}.elf"
        status, said = run.boot("--cpus", vcpus, "--mem", memory, "--bare", elf, "--cmdline", line,
                                timeout=timeout)
        expect(status, said, must=[SUMMARY])
        module = f"{elf} kernel vm=guest testdev protected mem={memory}M vcpus={vcpus} -- {line}"
        for cpus in sorted({vcpus, "1"}):
            status, guest = run.boot("--cpus", cpus, "--mem", memory + 128, "--module", module,
                                     timeout=timeout)
            compare("protected", said, guest)
            expect(status, guest, must=[SUMMARY, r"^rivet: +interrupts: 0 injected"])
    return Row(GROUP, f"guest: {source.stem}, protected", body)


def rows_of(source, given):
    """The rows of one guest."""
    protected = [protected_row(source, given)] if "protected" in given else []
    fewer = [cpus for cpus in (1, 2) if cpus < int(given.get("cpus", 1)) and "bare-only" not in given]
    return [guest_row(source, given, shared) for shared in [0, *fewer]] + protected


def rows():
    """The rows of all guests."""
    sources = [(path, settings(path)) for path in sorted((ROOT / "tests" / "guests").glob("*.c"))]
    return [row for path, given in sources if "elsewhere" not in given for row in rows_of(path, given)]
