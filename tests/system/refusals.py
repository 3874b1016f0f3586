# SPDX-License-Identifier: MIT
"""Machines that cannot run Rivet: one line that says why, then power off, never a hang. And machines
that are poor but good enough."""
import pathlib
import shutil
import subprocess

from .row import ROOT, Row, expect

GROUP = "system"
FATAL = 7
NO_VMX = r'CPU 0: CPUID\.01H:ECX bit 5: "VMX" is missing; '
NO_LONG_MODE = r"this CPU has no 64-bit mode with execute-disable \(CPUID\.80000001H:EDX bits 29, 20\)"
LOCKED = (r'CPU {cpu}: IA32_FEATURE_CONTROL \(3AH\) bit 2: "enable VMX outside SMX operation" is clear'
          r" and the register is locked; ")
# name, the machine, what Rivet says
MACHINES = (
    ("no VMX: QEMU, BIOS", ["--emulator", "qemu"], NO_VMX),
    ("no VMX: QEMU, UEFI", ["--emulator", "qemu", "--uefi"], NO_VMX),
    ("no VMX: QEMU, 4 CPUs", ["--emulator", "qemu", "--cpus", "4"], NO_VMX),
    ("no VMX: an AMD CPU", ["--cpu-model", "ryzen"], NO_VMX),
    ("no 64-bit mode", ["--cpu-model", "p4_willamette"], NO_LONG_MODE),
    ("no preemption timer", ["--cpu-model", "core2_penryn_t9600"],
     r'CPU 0: IA32_VMX_TRUE_PINBASED_CTLS \(48DH\) bit 38: "activate VMX-preemption timer" is missing'),
    ("no unrestricted guest", ["--cpu-model", "corei5_lynnfield_750"],
     r'CPU 0: IA32_VMX_PROCBASED_CTLS2 \(48BH\) bit 39: "unrestricted guest" is missing'),
    ("no XSAVE", ["--cpu-model", "corei5_arrandale_m520"],
     r"this CPU has no XSAVE \(CPUID\.01H:ECX bit 26\)"),
)
# Where Bochs' BIOS sets IA32_FEATURE_CONTROL: OR EAX, 5; WRMSR. First for the APs, then for the BSP.
BIOS_SETS_VMX = b"\x83\xc8\x05\x0f\x30"
LEFT_OPEN, LOCKED_OFF, LOCKED_ON = 0, 1, 5


def hello(run):
    """A VM for machines that are good enough."""
    return ["--module", f"{run.build / 'guests' / 'hello.elf'} kernel vm=hello mem=32M testdev"]


def refuse(run, words, why):
    """Boots; Rivet must say why in its last line, and the machine must power off."""
    status, text = run.boot("--mem", 192, *words, *hello(run))
    expect(status, text, want_status=FATAL, must=[
        rf"^rivet: fatal: {why}.*\nboot: Rivet refused to start\n\Z"],
        must_not=[r"rivet: (panic|error|warning)", r"SUMMARY"])


def refusal_row(name, words, why):
    """A row for such a machine."""
    def body(run):
        refuse(run, words, why)
    return Row(GROUP, f"refusal: {name}", body)


def emulator_with_bios(run, name, aps, bsp):
    """A folder for --bochs whose BIOS leaves IA32_FEATURE_CONTROL with these bits."""
    done = subprocess.run([ROOT / "tools" / "bochs" / "build"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True)
    original = pathlib.Path(done.stdout.decode().splitlines()[-1])
    first, between, last = (original / "BIOS-bochs-latest").read_bytes().split(BIOS_SETS_VMX)
    folder = run.build / f"bochs-{name}"
    shutil.copytree(original, folder, dirs_exist_ok=True)
    patched = [BIOS_SETS_VMX.replace(b"\x05", bytes([value])) for value in (aps, bsp)]
    (folder / "BIOS-bochs-latest").write_bytes(first + patched[0] + between + patched[1] + last)
    return folder


def locked_row(name, aps, bsp, cpu):
    """Firmware that locked VMX off, on that CPU or before it on all."""
    def body(run):
        folder = emulator_with_bios(run, f"locked-{cpu}", aps, bsp)
        refuse(run, ["--bochs", folder, "--cpus", 2], LOCKED.format(cpu=cpu))
    return Row(GROUP, f"refusal: VMX locked off by firmware, {name}", body)


def left_open(run):
    """Firmware that never touched IA32_FEATURE_CONTROL: Rivet turns VMX on itself."""
    folder = emulator_with_bios(run, "open", LEFT_OPEN, LEFT_OPEN)
    status, text = run.boot("--bochs", folder, "--cpus", 2, "--mem", 192, *hello(run))
    expect(status, text, must=[r"^SUMMARY: 1 tests, 0 failed", r"^rivet: end: ok$"])


def poor_machine(model, *missing):
    """A CPU without these optional controls: Rivet names them and runs."""
    def body(run):
        status, text = run.boot("--cpu-model", model, "--mem", 192, *hello(run))
        expect(status, text, must=[r"^SUMMARY: 1 tests, 0 failed", r"^rivet: end: ok$"] + [
            rf"^rivet: VMX revision .*; optional controls missing: (.*, )?{name}(,|$)"
            for name in missing])
    return Row(GROUP, f"optional controls missing: {model}", body)


def rows():
    """One row for each machine."""
    return [refusal_row(*machine) for machine in MACHINES] + [
        locked_row("all CPUs", LOCKED_OFF, LOCKED_OFF, cpu=0),
        locked_row("CPU 1 only", LOCKED_OFF, LOCKED_ON, cpu=1),
        Row(GROUP, "VMX left open by firmware", left_open),
        poor_machine("corei7_sandy_bridge_2600k", "process posted interrupts",
                     "virtualize x2APIC mode", "APIC-register virtualization",
                     "virtual-interrupt delivery", "enable INVPCID"),
        poor_machine("broadwell_ult", "process posted interrupts"),
    ]
