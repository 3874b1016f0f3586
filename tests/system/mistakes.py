# SPDX-License-Identifier: MIT
"""Mistakes in GRUB's configuration: one clear line each, other VMs unaffected, power off."""
import re

from .linux import guest_files
from .row import Failure, Row, expect

VM_FAILED = 3


def boot(run, modules, message, end, must=(), words=()):
    """Boots with these module lines: one complaint, and the machine powers off."""
    status, text = run.boot(*words, *[word for module in modules for word in ("--module", module)])
    expect(status, text, want_status=VM_FAILED, must=[*must, rf"^rivet: end: failed: {end}$"],
           must_not=[r"rivet: (panic|fatal)"])
    lines = re.findall(r"^rivet: (?:error|warning): (.*)$", text, re.M)
    if len(lines) != 1 or not re.fullmatch(message, lines[0]):
        raise Failure(f"not one line '{message}' but: {lines}")


def mistake(name, make_modules, message):
    """A VM with a mistake beside a healthy one, which must run to its end."""
    def body(run):
        healthy = f"{run.build / 'guests' / 'hello.elf'} kernel vm=healthy mem=16M testdev"
        boot(run, [*make_modules(run), healthy], message, "1 of 2 VMs",
             must=[r"^SUMMARY: 1 tests, 0 failed$", r"^rivet: vm healthy: ended: debug-exit code 0$"])
    return Row("system", f"mistake: {name}", body)


def no_module(run):
    """Nothing but Rivet."""
    boot(run, [], r"no modules: expected 'module2 FILE kernel vm=NAME \.\.\.' in the boot menu entry",
         "no VM")


def truncated(run):
    """The first 100 000 bytes of a kernel."""
    kernel, initrd = guest_files(run)
    cut = run.build / "truncated-vmlinuz"
    cut.write_bytes(kernel.read_bytes()[:100000])
    return [f"{cut} kernel vm=debian", f"{initrd} initrd vm=debian"]


def two_kernels(run):
    """Two kernel lines with one name."""
    kernel, initrd = guest_files(run)
    return [f"{kernel} kernel vm=debian", f"{kernel} kernel vm=debian",
            f"{initrd} initrd vm=debian"]


def with_words(words):
    """A kernel whose line has these words."""
    def make(run):
        kernel, initrd = guest_files(run)
        return [f"{kernel} kernel vm=debian {words}", f"{initrd} initrd vm=debian"]
    return make


def no_initrd(run):
    """A Linux kernel alone."""
    return [f"{guest_files(run)[0]} kernel vm=debian -- console=ttyS0"]


def rows():
    """The mistakes that people make."""
    return [
        mistake("truncated bzImage", truncated,
                r"module 1 \(kernel vm=debian\): truncated bzImage: its header promises \d+ bytes, "
                r"it has 100000"),
        mistake("missing initrd", no_initrd,
                r"module 1 \(kernel vm=debian\): no initrd: expected an 'initrd vm=debian' line, "
                r"or the word noinitrd"),
        mistake("4 GiB of 512 MiB", with_words("mem=4G"),
                r"module 1 \(kernel vm=debian mem=4G\): mem=4096M: this machine has \d+ MiB free "
                r"for guests"),
        mistake("unknown word", with_words("vcpu=2"),
                r"module 1 \(kernel vm=debian vcpu=2\): unknown word 'vcpu=2': expected vm=, .*"),
        mistake("two kernels for one VM", two_kernels,
                r"module 2 \(kernel vm=debian\): vm=debian has a kernel already, module 1: "
                r"expected one kernel for each VM"),
        Row("system", "mistake: no module", no_module),
    ]
