# SPDX-License-Identifier: MIT
"""The host tests: cmocka programs, fuzzers for a short time, models, and the reproducible build."""
import re
import shutil

from .row import ROOT, Failure, Row

TIMEOUT = 300
FUZZ_TIME = 20  # seconds
FUZZ_SEED = "-seed=1"  # the same walk each time, as far as the time goes; `make fuzz` takes another


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


def fuzz_body(name):
    """A fuzzer finds nothing in a short time, from its seeds; `make fuzz` runs it for as long as asked."""
    def body(run):
        program, corpus = run.build / "fuzz" / name, run.build / "fuzz" / "short" / name
        if not program.exists():
            raise Failure(f"{program} is missing: `make test` builds it with clang")
        shutil.rmtree(corpus, ignore_errors=True)
        corpus.mkdir(parents=True)
        status, text = run.command(
            [program, f"-max_total_time={FUZZ_TIME}", FUZZ_SEED,
             f"-artifact_prefix={run.build}/fuzz/{name}-", corpus, ROOT / "tests" / "fuzz" / "seeds" / name], TIMEOUT)
        if status != 0 or not re.search(r"^Done [1-9]\d* runs", text, re.M):
            found = re.search(r"^differs: .*$", text, re.M)
            raise Failure(f"the fuzzer ended with status {status}: {found[0] if found else 'see its log'}")
    return body


def model_body(run):
    """The models hold in their small configurations; `make model` takes the large ones."""
    status, text = run.command(
        [ROOT / "tools" / "model", "--small", run.build / "model" / "small",
         *sorted((ROOT / "tests" / "model").glob("*.pml"))], 2 * TIMEOUT)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", text, re.M)
    if not counts:
        raise Failure(f"no count, status {status}")
    return int(counts[1]), int(counts[2])


def names_of(folder):
    """The programs of a folder of tests."""
    return sorted(path.stem for path in (ROOT / "tests" / folder).glob("*.c"))


def rows():
    """One row for each program."""
    return [Row("reproducible", "reproducible build", reproducible_body),
            Row("proof", "models", model_body)] + [
        Row("proof", f"fuzz: {name}", fuzz_body(name)) for name in names_of("fuzz")] + [
        Row("unit", f"unit: {name}", unit_body(name)) for name in names_of("unit")]
