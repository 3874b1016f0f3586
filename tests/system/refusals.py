# SPDX-License-Identifier: MIT
"""Machines that cannot run Rivet: one line that says why, then power off, never a hang."""
from .row import boot_row

NO_VMX = r"^rivet: fatal: CPU 0: CPUID\.01H:ECX bit 5: \"VMX\" is missing"
FATAL = 7


def rows():
    """QEMU without KVM has no VMX."""
    return [
        boot_row("system", "refusal: no VMX, BIOS", ["--emulator", "qemu"],
                 want_status=FATAL, must=[NO_VMX]),
        boot_row("system", "refusal: no VMX, UEFI", ["--emulator", "qemu", "--uefi"],
                 want_status=FATAL, must=[NO_VMX]),
        boot_row("system", "refusal: no VMX, 4 CPUs", ["--emulator", "qemu", "--cpus", "4"],
                 want_status=FATAL, must=[NO_VMX]),
    ]
