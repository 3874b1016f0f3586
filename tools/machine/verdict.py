# SPDX-License-Identifier: MIT
"""How a run ended, told from the console: the emulators' own exit status says too little."""
import re

OK, USAGE, VM_FAILED, PANIC, TIMEOUT, DIED, FATAL = 0, 2, 3, 4, 5, 6, 7

MEANING = {
    VM_FAILED: "a VM ended by fault or with a failure",
    PANIC: "Rivet panicked",
    TIMEOUT: "time-out",
    DIED: "the emulator stopped without a verdict",
    FATAL: "Rivet refused to start",
}
# Rivet's last words. Rivet begins them on a new line; what a guest left on it may come before.
RIVET_ENDS = (
    (re.compile(rb"rivet: panic:"), PANIC),
    (re.compile(rb"rivet: fatal:"), FATAL),
    (re.compile(rb"rivet: end: failed"), VM_FAILED),
    (re.compile(rb"rivet: end: ok"), OK),
)
BARE_SUMMARY = re.compile(rb"^SUMMARY: (\d+) tests?, (\d+) (?:unexpected )?fail")


class Verdict:
    """Reads the console line by line and keeps the worst that was said."""

    def __init__(self, bare):
        self.bare = bare
        self.said = None
        self.partial = b""

    def feed(self, data):
        """Takes console output (without CR)."""
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self.read(line)

    def read(self, line):
        """Takes one whole line."""
        if self.bare:
            summary = BARE_SUMMARY.match(line)
            if summary:
                self.worst(VM_FAILED if int(summary[2]) else OK)
            return
        for pattern, code in RIVET_ENDS:
            if pattern.search(line):
                self.worst(code)

    def finish(self):
        """The console is silent from now on: a last line without its end counts too."""
        self.read(self.partial)
        self.partial = b""

    def worst(self, code):
        """A panic stays a panic, whatever comes after it."""
        self.said = max(code, self.said or OK) if self.said != PANIC else PANIC

    def code(self, powered_off):
        """The exit status of a machine that ended by itself."""
        if self.said is None:
            return VM_FAILED if self.bare and powered_off else DIED
        if self.said == OK and not powered_off:
            return DIED
        return self.said

    def code_when_stopped(self):
        """The exit status of a machine that had to be ended."""
        return self.said or TIMEOUT
