# SPDX-License-Identifier: MIT
"""Debian Linux as a guest: the same boot with every shape of APIC virtualization and of CPUs."""
import re
import threading

from .row import ROOT, Failure, Row, expect

GROUP = "system"
TIMEOUT = 600  # seconds; a boot takes 30 on an idle machine
# What the demo of tools/debian-guest must show, one VM's console.
MUST = (
    r"^debian# uname -a\nLinux debian ",
    r"Hypervisor detected: KVM",
    r"x2apic( enabled|: enabled by BIOS, switching to x2apic ops)$",
    r"Switched APIC routing to:? (physical|cluster) x2apic",
    r"current_clocksource\ntsc$",
    r"^bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8  -$",  # 4 MiB of zeros
    r"^ *LOC: +[1-9]",
    r"reboot: Power down$",
)
MUST_NOT = (
    r"Firmware Bug", r"soft lockup", r"rcu: INFO", r"hung task", r"Call Trace", r"BUG:", r"unchecked MSR",
    r"Marking (TSC|clocksource .*) unstable",
)
# Levels 0 to 4: emergency, alert, critical, error, warning.
COMPLAINT = re.compile(r"^<[0-4]>\[ *[\d.]+\] (.*)$", re.M)


def guest_files(run):
    """The kernel and initramfs that tools/debian made."""
    folder = run.build / "debian"
    if not (folder / "initrd").exists() or not (folder / "vmlinuz").exists():
        raise Failure(f"{folder} is missing: run tools/debian {folder}")
    return folder / "vmlinuz", folder / "initrd"


def modules(run, vm="debian", words="mem=256M", kernel_words=""):
    """The two modules of a Debian VM that runs the demo script and powers off."""
    kernel, initrd = guest_files(run)
    return ["--module", f"{kernel} kernel vm={vm} {words} -- console=ttyS0 demo {kernel_words}",
            "--module", f"{initrd} initrd vm={vm}"]


class Bare:
    """What the same kernel complains of on the emulator alone; booted once, when first asked for."""

    lock = threading.Lock()
    complaints = None

    @classmethod
    def known(cls, run):
        """The set of its complaints."""
        with cls.lock:
            if cls.complaints is None:
                kernel, initrd = guest_files(run)
                status, text = run.boot("--bare", kernel, "--module", initrd, "--cmdline",
                                        "console=ttyS0 demo", timeout=TIMEOUT)
                expect(status, text, must=[r"^debian# uptime", r"^<[34]>"])
                cls.complaints = set(COMPLAINT.findall(text))
            return cls.complaints


def check(run, text, cpus, kernel_log):
    """One VM's console: it worked, and complained of nothing that it does not complain of bare."""
    expect(0, text, must=(*MUST, rf"^debian# nproc\n{cpus}$", *kernel_log), must_not=MUST_NOT)
    new = set(COMPLAINT.findall(text)) - Bare.known(run)
    if new:
        raise Failure(f"complaints only in the guest: {'; '.join(sorted(new))}")


def boot_debian(run, *words, vcpus=1, log=(), kernel_log=(), kernel_words="", vm_words=""):
    """A boot to the demo's end. `log` are further patterns of Rivet's own log, `kernel_log` of
    Linux's; `vm_words` are further words of the kernel line. Returns the output."""
    given = modules(run, words=f"mem=256M vcpus={vcpus} {vm_words}", kernel_words=kernel_words)
    status, text = run.boot(*words, *given, timeout=TIMEOUT)
    expect(status, text, must=(
        rf"^rivet: vm debian: Linux, {vcpus} vCPU", r"^rivet: vm debian: powered off$",
        rf"^rivet: exits of vm debian, vcpu {vcpus - 1}:\n(rivet: +\d+  .+\n)+"
        r"rivet: +[1-9]\d*  exits in all$", r"^rivet: end: ok$", *log),
        must_not=[r"rivet: (panic|fatal|warning|error)"])
    check(run, text, vcpus, kernel_log)
    return text


def debian(name, *words, **expected):
    """A row of one boot (see boot_debian)."""
    def body(run):
        boot_debian(run, *words, **expected)
    return Row(expected.pop("group", GROUP), f"debian: {name}", body)


def two_on_one(run):
    """Two VMs share the only CPU: both get through, each line of the console says whose it is."""
    names = ("first", "second")
    given = [word for name in names for word in modules(run, vm=name)]
    status, text = run.boot("--mem", 768, *given, timeout=TIMEOUT)
    expect(status, text, must=[r"^rivet: end: ok$"], must_not=[r"rivet: (panic|fatal|warning|error)"])
    for name in names:
        lines = re.findall(rf"^{name}\| (.*)$", text, re.M)
        check(run, "\n".join(lines), 1, ())


def make_run(run):
    """The end of `make run`: commands typed at the guest's shell prompt."""
    status, text = run.command([ROOT / "tools" / "run-debian"], TIMEOUT)
    expect(status, text, must=[
        r"^debian# uname -a\nLinux debian ", r"^debian# cat /proc/interrupts\n +CPU0",
        r"^debian# cat /sys.*/current_clocksource\ntsc$",
        r"^bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8  -\nreal\t",
        r"^debian# poweroff -f", r"^rivet: +[1-9]\d*  exits in all$", r"^rivet: end: ok$"],
        must_not=[*MUST_NOT, r"rivet: (panic|fatal|warning|error)"])


def rows():
    """APICv whole, switched off, without posting, without virtual-interrupt delivery; CPUs."""
    no_posting = r"^rivet: .*optional controls missing: .*posted interrupts"
    no_delivery = r"^rivet: .*optional controls missing: .*virtual-interrupt delivery"
    return [
        debian("4 vCPUs on 4 CPUs", "--cpus", "4", vcpus=4),
        Row(GROUP, "debian: two VMs on one CPU", two_on_one),
        debian("2 vCPUs on 2 CPUs", "--cpus", "2", vcpus=2),
        debian("1 vCPU on 4 CPUs", "--cpus", "4", log=[r"^rivet: CPUs: 4 of 4 started"],
               kernel_words="demo_word='two words'",
               kernel_log=[r'Command line: console=ttyS0 demo "demo_word=two words"$']),
        debian("APICv", log=[r"^rivet: .*optional controls missing: none$",
                             r"^rivet: +interrupts: 0 injected"]),
        debian("apicv=off", "--options", "apicv=off", log=[
            r"^rivet: +interrupts: [1-9]\d* injected"]),
        debian("state=cycle, 2 vCPUs on 2 CPUs", "--cpus", "2", "--options", "state=cycle", vcpus=2,
               group="long", log=[r"^rivet: local APICs of vm debian were saved and restored [1-9]\d* times$"]),
        debian("no posted interrupts (haswell)", "--cpu-model", "corei7_haswell_4770",
               log=[no_posting]),
        debian("no virtual-interrupt delivery (corei3_cnl)", "--cpu-model", "corei3_cnl",
               log=[no_delivery, r"^rivet: +interrupts: [1-9]\d* injected"]),
        Row(GROUP, "debian: commands typed at the shell", make_run),
        debian("2 vCPUs on one CPU", vcpus=2, group="long"),
        debian("2 vCPUs on 2 CPUs, apicv=off", "--cpus", "2", "--options", "apicv=off", vcpus=2,
               group="long"),
        debian("icelake_u", "--cpu-model", "corei7_icelake_u", group="long"),
    ]
