# SPDX-License-Identifier: MIT
"""Guests that do what cannot go on: the VM ends with one line, its neighbour on the CPU stays well."""
import re

from .row import Failure, Row, expect

GROUP = "system"
VM_FAILED = 3
# fault= of tests/guests/faults.c, and what Rivet says why it ended the VM
FAULTS = (
    ("triple-fault", r"vCPU 0: triple fault at RIP \w+"),
    ("fetch-local-apic", r"vCPU 0: instruction fetch from a device at RIP fee00000"),
    ("stack-in-device", r"vCPU 0: event delivery through memory that is not RAM"),
    ("page-tables-nowhere", r"vCPU 0: event delivery: the page walk for linear address \w+ needs an "
                            r"entry of level 4 outside RAM at RIP \w+, physical address c0000000$"),
    ("page-table-nowhere", r"vCPU 0: event delivery: the page walk for linear address (\w+) needs an "
                           r"entry of level 1 outside RAM at RIP \w+, physical address c0000\w+$"),
    ("pae-table-nowhere", r"vCPU 0: page-directory-pointer table outside RAM at RIP \w+, physical "
                          r"address c0000000$"),
    ("odd-access", r"vCPU 0: instruction that Rivet cannot emulate at RIP \w+, .*bytes 0f ae"),
)


def boot_beside_healthy(run, bad):
    """A VM `bad` and a healthy one; returns the output. The healthy one must not notice."""
    healthy = f"{run.build / 'guests' / 'hello.elf'} kernel vm=healthy mem=32M testdev"
    module = f"{run.build / 'guests' / 'faults.elf'} kernel vm=bad mem=32M testdev -- {bad}"
    status, text = run.boot("--mem", 192, "--module", module, "--module", healthy)
    expect(status, text, want_status=VM_FAILED, must=[
        r"^healthy\| SUMMARY: 1 tests, 0 failed", r"^rivet: vm healthy: ended: debug-exit code 0$",
        r"^rivet: exits of vm bad, vcpu 0:$", r"^rivet: end: failed: 1 of 2 VMs$"],
        must_not=[r"rivet: (panic|fatal)", r"the machine is gone"])
    return text


def kill_row(fault, why):
    """One fault."""
    def body(run):
        text = boot_beside_healthy(run, f"fault={fault}")
        lines = re.findall(r"^rivet: (?:warning|error): .*$", text, re.M)
        if len(lines) != 1 or not re.search(rf"VM bad is ended: (?:{why})", lines[0]):
            raise Failure(f"not one line with '{why}' but: {lines}")
    return Row(GROUP, f"kill: {fault}", body)


def fetch_from_nothing(run):
    """Where nothing is, every byte reads FFH: that is #UD, which the guest handles itself."""
    text = boot_beside_healthy(run, "fault=fetch-nowhere")
    expect(0, text, must=[r"^bad\| FAIL: unexpected vector 6,.* at 0xc0000000"],
           must_not=[r"VM bad is ended"])


def walk_through_nothing(run):
    """A page table where nothing is has reserved bits set: that is #PF, which the guest handles itself."""
    text = boot_beside_healthy(run, "fault=page-table-of-data-nowhere")
    expect(0, text, must=[r"^bad\| FAIL: unexpected vector 14, error code 0x9, at ",
                          r"^rivet: vm bad: vcpu 0: page walk of c0000000, where nothing is "],
           must_not=[r"VM bad is ended"])


def rows():
    """One row for each fault."""
    return [kill_row(*fault) for fault in FAULTS] + [
        Row(GROUP, "fault of the guest's own: fetch where nothing is", fetch_from_nothing),
        Row(GROUP, "fault of the guest's own: a page table where nothing is", walk_through_nothing)]
