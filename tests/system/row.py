# SPDX-License-Identifier: MIT
"""One row of the test table: something to run, and what it must show."""
import dataclasses
import os
import pathlib
import re
import shlex
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Failure(Exception):
    """What a test expected and did not get, in one line."""


@dataclasses.dataclass
class Row:
    """A test. `body(run)` raises Failure, or returns (passed, failed) when it counts by itself."""
    group: str
    name: str
    body: object


class Run:
    """What a row's body works with: the build folder, a log that keeps all output, and `notes`,
    lines that are printed with the result."""

    def __init__(self, build, name):
        self.build = pathlib.Path(build).resolve()
        self.notes = []
        folder = self.build / "test-logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / (re.sub(r"[^A-Za-z0-9_.=-]+", "-", name) + ".log")
        self.log.write_bytes(b"")

    def command(self, words, timeout, environment=None):
        """Runs a command; returns its exit status and output. Its whole process group ends with it."""
        words = [str(word) for word in words]
        with open(self.log, "ab") as log:
            log.write(f"$ {shlex.join(words)}\n".encode())
            log.flush()
            start = log.tell()
            child = subprocess.Popen(
                words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "BUILD": str(self.build), **(environment or {})})
            try:
                status = child.wait(timeout)
            except subprocess.TimeoutExpired:
                raise Failure(f"did not end within {timeout} s") from None
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGTERM)
                    child.wait()
        return status, self.log.read_bytes()[start:].decode(errors="replace")

    def boot(self, *words, timeout=120):
        """One tools/boot run: exit status and output."""
        status, text = self.command([ROOT / "tools" / "boot", "--timeout", timeout, *words],
                                    timeout + 60)
        if status == 2:
            raise Failure(text.strip().splitlines()[-1])
        return status, text


def expect(status, text, want_status=0, must=(), must_not=()):
    """Raises Failure unless the exit status and every pattern (multi-line regex) is as expected."""
    for pattern in must_not:
        found = re.search(pattern, text, re.M)
        if found:
            raise Failure(f"must not appear: {line_of(text, found)}")
    for pattern in must:
        if not re.search(pattern, text, re.M):
            raise Failure(f"missing: {pattern}")
    if status != want_status:
        raise Failure(f"exit status {status}, expected {want_status}")


def line_of(text, match):
    """The whole line a match lies in."""
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    return text[start:end if end >= 0 else None]


def boot_row(group, name, words, **expected):
    """A row that is one boot with expectations (see expect); `words` may be a function of the run."""
    timeout = expected.pop("timeout", 120)

    def body(run):
        given = words(run) if callable(words) else words
        expect(*run.boot(*given, timeout=timeout), **expected)
    return Row(group, name, body)
