# SPDX-License-Identifier: MIT
"""tools/boot itself: its exit status for each way in which a run can end."""
import sys

from .row import ROOT, Failure, Row, boot_row, expect

sys.path.insert(0, str(ROOT / "tools"))
from machine import verdict  # noqa: E402

GROUP = "system"
OK, USAGE, VM_FAILED, PANIC, TIMEOUT, DIED, FATAL = 0, 2, 3, 4, 5, 6, 7

# Who speaks, what the console says, whether the machine powered off (None: it had to be ended), status
VERDICTS = (
    (verdict.RIVET, b"rivet: end: ok\n", True, OK),
    (verdict.RIVET, b"rivet: end: ok\n", False, DIED),
    (verdict.RIVET, b"rivet: end: ok\n", None, TIMEOUT),
    (verdict.RIVET, b"rivet: end: ok", True, OK),
    (verdict.RIVET, b"login: rivet: end: ok\n", True, OK),
    (verdict.RIVET, b"rivet: end: failed: 1 of 2 VMs\n", True, VM_FAILED),
    (verdict.RIVET, b"rivet: end: failed: 1 of 2 VMs\n", None, TIMEOUT),
    (verdict.RIVET, b"rivet: fatal: CPU 0: no\n", True, FATAL),
    (verdict.RIVET, b"rivet: fatal: CPU 0: no\n", False, DIED),
    (verdict.RIVET, b"rivet: fatal: CPU 0: no\n", None, TIMEOUT),
    (verdict.RIVET, b"rivet: panic: oh\nrivet: end: ok\n", True, PANIC),
    (verdict.RIVET, b"rivet: panic: oh\n", False, PANIC),
    (verdict.RIVET, b"rivet: panic: oh\n", None, PANIC),
    (verdict.RIVET, b"SUMMARY: 1 tests, 0 failed\n", True, DIED),
    (verdict.RIVET, b"", None, TIMEOUT),
    (verdict.GUEST, b"SUMMARY: 12 tests, 0 failed\n", True, OK),
    (verdict.GUEST, b"SUMMARY: 12 tests, 10 failed\n", True, VM_FAILED),
    (verdict.GUEST, b"PASS: SUMMARY: 1 tests, 0 failed\n", True, DIED),
    (verdict.LINUX, b"[    1.0] reboot: Power down\n", True, OK),
    (verdict.LINUX, b"[    1.0] Kernel panic - not syncing\n", True, VM_FAILED),
)


def verdicts(_run):
    """Last words to exit status; what a machine says in two pieces counts as in one."""
    for rules, text, powered_off, want in VERDICTS:
        for cut in range(len(text) + 1):
            judge = verdict.Verdict(rules)
            judge.feed(text[:cut])
            judge.feed(text[cut:])
            judge.finish()
            code = judge.code_when_stopped() if powered_off is None else judge.code(powered_off)
            if code != want:
                raise Failure(f"{text!r} cut at {cut}, powered off {powered_off}: {code}, not {want}")


def guest(name, words):
    """A function of the run: one VM with a test guest."""
    return lambda run: ["--mem", 192, "--module",
                        f"{run.build / 'guests' / name}.elf kernel vm=guest mem=32M {words}"]


def missing_file(run):
    """A mistake on the command line: status 2, one line, nothing booted."""
    status, text = run.command([ROOT / "tools" / "boot", "--module", "/no/such kernel vm=a"], 60)
    expect(status, text, want_status=USAGE, must=[r"\Aboot: no such file: /no/such\n\Z"])


def rows():
    """One row for each status."""
    return [
        Row(GROUP, "tools/boot: last words", verdicts),
        Row(GROUP, "tools/boot: a file that is missing", missing_file),
        boot_row(GROUP, "tools/boot: debug-exit code 0", guest("debugexit", "testdev -- code=0"),
                 want_status=OK, must=[r"^rivet: vm guest: ended: debug-exit code 0$"]),
        boot_row(GROUP, "tools/boot: debug-exit code 3", guest("debugexit", "testdev -- code=3"),
                 want_status=VM_FAILED, must=[r"^rivet: vm guest: ended: debug-exit code 3$",
                                              r"^rivet: end: failed: 1 of 1 VMs$"]),
        boot_row(GROUP, "tools/boot: stays on after its last words (hold)",
                 lambda run: ["--options", "hold", *guest("hello", "testdev")(run)],
                 timeout=15, want_status=TIMEOUT,
                 must=[r"^rivet: end: ok$", r"^rivet: hold: the machine stays on$"]),
        boot_row(GROUP, "tools/boot: triple fault of a bare machine",
                 lambda run: ["--bare", run.build / "guests" / "faults.elf",
                              "--cmdline", "fault=triple-fault"],
                 want_status=DIED, must=[r"triple fault|3rd .* exception"]),
    ]
