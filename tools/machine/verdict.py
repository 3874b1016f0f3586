# SPDX-License-Identifier: MIT
"""How a run ended, told from the console: the emulators' own exit status says too little."""
import re

OK, USAGE, VM_FAILED, PANIC, TIMEOUT, DIED, FATAL = 0, 2, 3, 4, 5, 6, 7

MEANING = {
    VM_FAILED: "a VM ended by fault or with a failure",
    PANIC: "Rivet panicked",
    TIMEOUT: "time-out",
    DIED: "the machine stopped without a verdict on its console",
    FATAL: "Rivet refused to start",
}
# Who speaks on the console: patterns of last words, each with what it means. Rivet begins its own
# on a new line, but what a guest left there may come before.
RIVET = (
    (re.compile(rb"rivet: panic:"), PANIC),
    (re.compile(rb"rivet: fatal:"), FATAL),
    (re.compile(rb"rivet: end: failed"), VM_FAILED),
    (re.compile(rb"rivet: end: ok"), OK),
)
GUEST = (
    (re.compile(rb"^SUMMARY: \d+ tests?, 0 failed"), OK),
    (re.compile(rb"^SUMMARY: "), VM_FAILED),
)
LINUX = (
    (re.compile(rb"Kernel panic"), VM_FAILED),
    (re.compile(rb"reboot: Power down"), OK),
)


class Verdict:
    """Reads the console line by line and keeps the worst that was said."""

    def __init__(self, rules):
        self.rules = rules
        self.said = None
        self.partial = b""

    def feed(self, data):
        """Takes console output (without CR)."""
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self.read(line)

    def finish(self):
        """The console is silent from now on: a last line without its end counts too."""
        self.read(self.partial)
        self.partial = b""

    def read(self, line):
        """Takes one whole line; a panic stays a panic, whatever comes after it."""
        for pattern, code in self.rules:
            if pattern.search(line):
                self.said = PANIC if self.said == PANIC else max(code, self.said or OK)
                return

    def code(self, powered_off):
        """The exit status of a machine that ended by itself: last words count if it powered off."""
        if self.said is None or (self.said != PANIC and not powered_off):
            return DIED
        return self.said

    def code_when_stopped(self):
        """The exit status of a machine that had to be ended: only a panic excuses that."""
        return PANIC if self.said == PANIC else TIMEOUT
