# SPDX-License-Identifier: MIT
"""The command lines of the emulators, and how each one tells that the machine powered off."""
import os
import pathlib
import shutil
import subprocess

from .grub import ToolError

BOCHS_CPU = "corei7_skylake_x"
BOCHS_CONFIG = """\
display_library: nogui
cpu: model={model}{without}, count=1:{cpus}:1, ips={ips}, quantum=16, reset_on_triple_fault=0, \
ignore_bad_msrs=1
memory: guest={mem}, host={mem}
romimage: file={folder}/BIOS-bochs-latest, options=fastboot
vgaromimage: file={folder}/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
com1: enabled=1, mode=socket-client, dev=localhost:{com1}
{com2_line}
port_e9_hack: enabled=1
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
clock: sync=none, time0=946681200
plugin_ctrl: speaker=0, parallel=0
"""


class Bochs:
    """Bochs 3.0 with our patches, from tools/bochs/build or a given folder."""

    def __init__(self, options, work):
        if options.mem > 2048:
            raise ToolError("Bochs has at most 2048 MiB of memory")
        if options.uefi:
            raise ToolError("Bochs has no UEFI firmware: use --emulator qemu")
        self.options = options
        self.work = work
        self.log = work / "bochs.log"

    def folder(self):
        """Where bochs and its ROMs are, built first when they are not there yet."""
        if self.options.bochs:
            return pathlib.Path(self.options.bochs)
        build = pathlib.Path(__file__).parents[1] / "bochs" / "build"
        done = subprocess.run([build], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              check=False)
        if done.returncode != 0:
            raise ToolError("tools/bochs/build failed")
        return pathlib.Path(done.stdout.decode().splitlines()[-1])

    def command(self, iso, com1, com2):
        """Writes the configuration; `com1`, `com2` are local TCP ports to connect to (or None)."""
        options = self.options
        folder = self.folder()
        com2_line = f"com2: enabled=1, mode=socket-client, dev=localhost:{com2}" if com2 else ""
        without = f', exclude_features="{options.cpu_without}"' if options.cpu_without else ""
        file = self.work / "bochsrc"
        file.write_text(BOCHS_CONFIG.format(
            model=options.cpu_model or BOCHS_CPU, without=without, cpus=options.cpus,
            ips=options.ips, mem=options.mem, folder=folder, iso=iso, com1=com1,
            com2_line=com2_line, log=self.log))
        return [str(folder / "bochs"), "-q", "-f", str(file)]

    def powered_off(self, _status):
        """Bochs exits with 1 whatever the guest did: its log tells."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "soft power off" in text or "shutdown requested" in text

    def explain(self):
        """Why the emulator stopped, for a person."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-60:])


class Qemu:
    """QEMU's PC, emulated (TCG: no VMX) or on KVM."""

    def __init__(self, options, work):
        if options.cpu_without:
            raise ToolError("--cpu-without is for Bochs: for QEMU, --cpu-model MODEL,-FEATURE")
        self.options = options
        self.work = work

    def firmware(self):
        """Arguments for UEFI: OVMF's code, and a copy of its variables for this run."""
        for code, variables in (("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
                                ("OVMF_CODE.fd", "OVMF_VARS.fd")):
            folder = pathlib.Path("/usr/share/OVMF")
            if (folder / code).exists():
                shutil.copy(folder / variables, self.work / "vars.fd")
                return ["-drive", f"if=pflash,format=raw,readonly=on,file={folder / code}",
                        "-drive", f"if=pflash,format=raw,file={self.work / 'vars.fd'}"]
        raise ToolError("OVMF is not installed (try: make deps)")

    def command(self, iso, com1, com2):
        """`com1`, `com2` are local TCP ports to connect to (or None)."""
        options = self.options
        kvm = options.emulator == "qemu-kvm"
        if kvm and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise ToolError("qemu-kvm: no access to /dev/kvm")
        serial = ["-serial", f"tcp:127.0.0.1:{com1}"]
        if com2:
            serial += ["-serial", f"tcp:127.0.0.1:{com2}"]
        return ["qemu-system-x86_64", "-machine", "q35", "-accel", "kvm" if kvm else "tcg",
                "-cpu", options.cpu_model or ("host" if kvm else "max"),
                "-smp", str(options.cpus), "-m", str(options.mem), "-cdrom", str(iso),
                "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", *serial,
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                *(self.firmware() if options.uefi else [])]

    def powered_off(self, status):
        """Exit status 0 is ACPI power off; an odd one is the guest's write to isa-debug-exit."""
        return status == 0 or (status > 0 and status % 2 == 1)

    def explain(self):
        """QEMU has no log beside its output."""
        return ""


def emulator(options, work):
    """The emulator that the options name."""
    if options.emulator == "bochs":
        return Bochs(options, work)
    if not shutil.which("qemu-system-x86_64"):
        raise ToolError("qemu-system-x86_64 is not installed (try: make deps)")
    return Qemu(options, work)
