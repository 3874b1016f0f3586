# SPDX-License-Identifier: MIT
"""One row of the test table: something to run, and what it must show."""
import dataclasses
import os
import pathlib
import re
import shlex
import signal
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Stopped(BaseException):
    """The whole test run is being ended: no row may go on."""


class Failure(Exception):
    """What a test expected and did not get, in one line."""


@dataclasses.dataclass
class Row:
    """A test. `body(run)` raises Failure, or returns (passed, failed) when it counts by itself."""
    group: str
    name: str
    body: object


class Children:
    """The programs that rows are running now, so that all of them can be ended together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = set()
        self.stopped = False

    def start(self, words, **how):
        """As subprocess.Popen, in a process group of its own."""
        with self.lock:
            if self.stopped:
                raise Stopped
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True, **how)
            self.running.add(child)
            return child

    def end(self, child):
        """Ends what is left of a child and its group."""
        with self.lock:
            self.running.discard(child)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()

    def stop(self):
        """Ends all, and lets none start."""
        with self.lock:
            self.stopped = True
            for child in self.running:
                os.killpg(child.pid, signal.SIGTERM)


CHILDREN = Children()


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
            child = CHILDREN.start(
                words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "BUILD": str(self.build), **(environment or {})})
            try:
                status = child.wait(timeout)
            except subprocess.TimeoutExpired:
                raise Failure(f"did not end within {timeout} s") from None
            finally:
                CHILDREN.end(child)
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
