# SPDX-License-Identifier: MIT
"""Debian Linux as a guest: the same boot with every shape of APIC virtualization."""
import re

from .row import ROOT, Failure, Row, expect

GROUP = "system"
MUST = (
    r"^debian# uname -a\nLinux debian ",
    r"x2apic enabled|Switched APIC routing to (physical|cluster) x2apic",
    r"current_clocksource\ntsc$",
    r"^080acf35a507ac9849cfcba47dc2ad83e01b75663a516279c8b9d243b719643e  -$",  # 16 MiB of zeros
    r"^ *LOC: +[1-9]",
    r"^rivet: end: ok$",
)
MUST_NOT = (
    r"Firmware Bug", r"soft lockup", r"Call Trace", r"unchecked MSR", r"rivet: panic",
    r"rivet: warning",
)
ERROR = re.compile(r"^<[0-3]>\[ *[\d.]+\] (.*)$", re.M)


def guest_files(run):
    """Builds kernel and initramfs once for each build folder; returns them."""
    folder = run.build / "debian"
    if not (folder / "initrd").exists() or not (folder / "vmlinuz").exists():
        raise Failure(f"{folder} is missing: run tools/debian {folder}")
    return folder / "vmlinuz", folder / "initrd"


def modules(run, line="mem=256M"):
    """The two modules of a Debian VM that runs the demo script and powers off."""
    kernel, initrd = guest_files(run)
    return ["--module", f"{kernel} kernel vm=debian {line} -- console=ttyS0 demo",
            "--module", f"{initrd} initrd vm=debian"]


def debian(name, *words, log=(), line="mem=256M"):
    """A boot to the demo's end; `log` are further patterns of Rivet's own log."""
    def body(run):
        expect(*run.boot(*words, *modules(run, line), timeout=180), must=MUST + tuple(log),
               must_not=MUST_NOT)
    return Row(GROUP, f"debian: {name}", body)


def clean_dmesg(run):
    """No kernel message of level error in the guest that a bare boot does not have."""
    kernel, initrd = guest_files(run)
    status, bare = run.boot("--bare", kernel, "--module", initrd, "--cmdline",
                            "console=ttyS0 demo", timeout=180)
    expect(status, bare, must=[r"^debian# uptime"])
    status, guest = run.boot(*modules(run), timeout=180)
    expect(status, guest, must=[r"^debian# uptime"])
    new = set(ERROR.findall(guest)) - set(ERROR.findall(bare))
    if new:
        raise Failure(f"errors only in the guest: {'; '.join(sorted(new))}")


def make_run(run):
    """What `make run` does at its end: commands typed at the guest's shell prompt."""
    status, text = run.command([ROOT / "tools" / "run-debian"], 240)
    expect(status, text, must=[
        r"^debian# uname -a\nLinux debian ", r"^debian# cat /proc/interrupts\n +CPU0",
        r"^debian# poweroff -f", r"^rivet: end: ok$"])


def rows():
    """APICv whole, switched off, without posting, without virtual-interrupt delivery; CPUs."""
    return [
        debian("APICv"),
        debian("apicv=off", "--options", "apicv=off"),
        debian("no posted interrupts (haswell)", "--cpu-model", "corei7_haswell_4770"),
        debian("no virtual-interrupt delivery (corei3_cnl)", "--cpu-model", "corei3_cnl"),
        debian("4 CPUs", "--cpus", "4"),
        Row(GROUP, "debian: dmesg as clean as bare", clean_dmesg),
        Row(GROUP, "debian: commands typed at the shell", make_run),
    ]
