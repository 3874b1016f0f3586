# SPDX-License-Identifier: MIT
"""Protected VMs: what is different for the guest, what a touch of their pages comes to, who cannot have them."""
from .linux import debian
from .mistakes import boot, mistake, with_words
from .row import Row, expect

GROUP = "system"
PANIC = 4
NEEDS = r"module 1 \(kernel vm=guest testdev protected mem=32M\): protected: "


def hello(run, words="testdev protected mem=32M"):
    """The smallest guest as a protected VM."""
    return f"{run.build / 'guests' / 'hello.elf'} kernel vm=guest {words}"


def own_guest(run):
    """tests/guests/protected.c, across its reset, each vCPU on a CPU and both on one."""
    elf = run.build / "guests" / "protected.elf"
    for cpus in (2, 1):
        status, text = run.boot("--cpus", cpus, "--mem", 192, "--module",
                                f"{elf} kernel vm=guest testdev protected mem=32M vcpus=2")
        expect(status, text, must=[r"^PASS: another CPU: every other one is #GP$", r"^rivet: vm guest: reset$",
                                   r"^SUMMARY: 4 tests, 0 failed$", r"^rivet: end: ok$"],
               must_not=[r"^FAIL", r"rivet: (panic|fatal|warning|error)"])


def stray_access(run):
    """fault=apic-page: Rivet reads a virtual-APIC page, which is a panic only where it is protected."""
    words = ["--cpus", 2, "--mem", 192, "--options", "fault=apic-page"]
    status, text = run.boot(*words, "--module", hello(run, "testdev protected mem=32M cpus=1"))
    expect(status, text, want_status=PANIC, must=[
        r"^SUMMARY: 1 tests, 0 failed$",
        r"^rivet: panic: exception #PF \(vector 14, error code 0x0\) on CPU 1 at ",
        r"^rivet: panic: that is in the protected virtual-APIC page of VM guest, vCPU 0$",
        r"^rivet:   \[\w+\] on_end\+"], must_not=[r"rivet: fault:"])
    status, text = run.boot(*words, "--module", hello(run, "testdev mem=32M"))
    expect(status, text, must=[r"^rivet: fault: the virtual-APIC page of VM guest begins with 0$",
                               r"^rivet: end: ok$"], must_not=[r"rivet: panic"])


def refused(name, words, why):
    """A machine or an option with which the VM does not start; Rivet says why."""
    def body(run):
        boot(run, [hello(run)], NEEDS + why, "1 of 1 VMs", words=["--mem", 192, *words])
    return Row(GROUP, f"protected: {name}", body)


def rows():
    """Refusals, the guest of its own, the stray access, and Linux."""
    return [
        debian("protected, 4 vCPUs on 4 CPUs", "--cpus", "4", vcpus=4, vm_words="protected", log=[
            r"^rivet: +interrupts: 0 injected"], kernel_log=[r"x2apic: enabled by BIOS"]),
        Row(GROUP, "protected: base, reset, what is not offered", own_guest),
        Row(GROUP, "protected: a stray access is a panic", stray_access),
        refused("no posted interrupts", ["--cpu-model", "corei7_haswell_4770"],
                r'this machine has no "process posted interrupts"'),
        refused("no APIC virtualization", ["--cpu-model", "corei7_sandy_bridge_2600k"],
                r'this machine has no "process posted interrupts"'),
        refused("apicv=off", ["--options", "apicv=off"], r"the option apicv=off takes APICv away, .*"),
        refused("apicv=toggle", ["--options", "apicv=toggle"],
                r"the option apicv=toggle takes APICv away, .*"),
        mistake("protected and pic", with_words("protected pic"),
                r"module 1 \(kernel vm=debian protected pic\): protected and pic: "
                r"expected only one of the two"),
    ]
