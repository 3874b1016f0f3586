# SPDX-License-Identifier: MIT
"""Mistakes in GRUB's configuration: one clear line each, other VMs unaffected, power off."""
from .linux import guest_files
from .row import boot_row

VM_FAILED = 3


def mistake(name, make_modules, message):
    """A VM with a mistake beside a healthy one, which must run to its end."""
    def words(run):
        healthy = f"{run.build / 'guests' / 'hello.elf'} kernel vm=healthy mem=16M testdev"
        given = [*make_modules(run), healthy]
        return [word for module in given for word in ("--module", module)]

    return boot_row(
        "system", f"mistake: {name}", words, want_status=VM_FAILED,
        must=[rf"^rivet: error: {message}", r"^(healthy\| )?SUMMARY: \d+ tests, 0 failed",
              r"^rivet: end: failed: 1 of 2 VMs"],
        must_not=[r"rivet: panic"])


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
        mistake("truncated bzImage", truncated, r"module 1 \(kernel vm=debian\): truncated bzImage"),
        mistake("missing initrd", no_initrd, r"module 1 \(kernel vm=debian\): .*initrd"),
        mistake("4 GiB of 512 MiB", with_words("mem=4G"),
                r"module 1 \(kernel vm=debian mem=4G\): .*4096"),
        mistake("unknown word", with_words("vcpu=2"),
                r"module 1 \(kernel vm=debian vcpu=2\): unknown word 'vcpu=2': expected vm=, "),
        mistake("two kernels for one VM", two_kernels,
                r"module 2 \(kernel vm=debian\): vm=debian has a kernel already, module 1"),
        boot_row("system", "mistake: no module", [], want_status=VM_FAILED,
                 must=[r"^rivet: error: no module"], must_not=[r"rivet: panic"]),
    ]
