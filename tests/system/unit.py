# SPDX-License-Identifier: MIT
"""The host tests: every cmocka program that the Makefile built, and the reproducible build."""
import re

from .row import ROOT, Failure, Row

TIMEOUT = 300


def unit_body(name):
    """Counts cmocka's tests one by one; a program that dies fails those it did not reach."""
    def body(run):
        status, text = run.command([run.build / "unit" / name], TIMEOUT,
                                   {"RIVET_BZIMAGE": str(run.build / "debian" / "vmlinuz")})
        planned = sum(int(count) for count in re.findall(r"\bRunning (\d+) test", text))
        passed = len(re.findall(r"^\[       OK \]", text, re.M))
        skipped = len(re.findall(r"^\[  SKIPPED \] \w+$", text, re.M)) // 2  # told twice
        failed = max(planned - passed - skipped, 0 if status == 0 else 1)
        if planned == 0:
            raise Failure("no test ran")
        return passed, failed
    return body


def reproducible_body(run):
    """`make reproducible` builds a second time elsewhere and compares."""
    status, _ = run.command(["make", "--no-print-directory", f"BUILD={run.build}", "reproducible"],
                            TIMEOUT)
    if status != 0:
        raise Failure("two builds differ")


def rows():
    """One row for each program."""
    names = sorted(path.stem for path in (ROOT / "tests" / "unit").glob("*.c"))
    return [Row("reproducible", "reproducible build", reproducible_body)] + [
        Row("unit", f"unit: {name}", unit_body(name)) for name in names]
