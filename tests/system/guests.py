# SPDX-License-Identifier: MIT
"""Test guests: bare on the emulator, and under Rivet with APICv on, off and toggled; all must say the same.

A line ` * guest: WORDS` in a comment of tests/guests/NAME.c tells how to run it:
bare-only (it needs what Rivet does not give a guest), cpus=N, mem=MiB, model=CPU, timeout=S,
cmdline='WORDS', long (only in `make test-long`), elsewhere (no row here: other rows use it).
"""
import difflib
import re
import shlex

from .row import ROOT, Failure, Row, expect

GROUP = "guests"
VARIANTS = ("", "apicv=off", "apicv=toggle")
SUMMARY = r"^SUMMARY: [1-9]\d* tests?, 0 failed$"


def settings(source):
    """The words after `guest:` as a dictionary; a word without `=` maps to itself."""
    found = re.search(r"^(?:/\*| \*) guest: (.*?)\s*(?:\*/)?$", source.read_text(), re.M)
    words = shlex.split(found[1]) if found else []
    return dict((word.split("=", 1) * 2)[:2] for word in words)


def transcript(text):
    """What the guest itself printed."""
    return [line for line in text.splitlines() if not line.startswith(("rivet: ", "boot: ")) and line]


def compare(variant, bare, guest):
    """Raises Failure with the first difference of two transcripts."""
    for line in difflib.unified_diff(transcript(bare), transcript(guest), lineterm="", n=0):
        if line[0] in "+-" and not line.startswith(("+++", "---")):
            raise Failure(f"under Rivet ({variant or 'APICv'}) differs from bare: {line}")


def guest_row(source, given):
    """One guest with its settings."""
    timeout = int(given.get("timeout", 60))
    cpus, memory = given.get("cpus", "1"), int(given.get("mem", 64))
    line = given.get("cmdline", "")
    machine = ["--cpus", cpus]
    if "model" in given:
        machine += ["--cpu-model", given["model"]]

    def body(run):
        elf = run.build / "guests" / f"{source.stem}.elf"
        status, bare = run.boot(*machine, "--mem", memory, "--bare", elf, "--cmdline", line,
                                timeout=timeout)
        expect(status, bare, must=[SUMMARY])
        if "bare-only" in given:
            return
        module = f"{elf} kernel vm=guest testdev mem={memory}M vcpus={cpus} -- {line}"
        for variant in VARIANTS:
            status, guest = run.boot(*machine, "--mem", memory + 128, "--options", variant,
                                     "--module", module, timeout=timeout)
            compare(variant, bare, guest)
            expect(status, guest, must=[SUMMARY])
    return Row("long" if "long" in given else GROUP, f"guest: {source.stem}", body)


def rows():
    """One row for each guest."""
    sources = [(path, settings(path)) for path in sorted((ROOT / "tests" / "guests").glob("*.c"))]
    return [guest_row(path, given) for path, given in sources if "elsewhere" not in given]
