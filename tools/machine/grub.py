# SPDX-License-Identifier: MIT
"""Makes a bootable ISO image with GRUB: BIOS by El Torito, and UEFI when asked."""
import hashlib
import os
import pathlib
import shlex
import subprocess
import tempfile

MODULES = "iso9660 normal configfile multiboot multiboot2 linux serial terminal terminfo echo halt true search"
BIOS_MODULES = MODULES + " biosdisk vbe vga"
EFI_MODULES = MODULES + " part_gpt fat efi_gop efi_uga"
EARLY_CONFIG = "search --file --set=root /boot/rivet-grub.cfg\nconfigfile /boot/rivet-grub.cfg\n"


class ToolError(Exception):
    """A tool is missing or failed; the message is for the user."""


def cache_folder():
    """Where everything is kept that outlives a build folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(os.environ.get("RIVET_CACHE") or os.path.join(base, "rivet"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def call(*command):
    """Runs a tool quietly; what it printed appears only when it fails."""
    try:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError:
        raise ToolError(f"{command[0]} is not installed (try: make deps)") from None
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise ToolError(f"{command[0]} failed with status {done.returncode}:\n{text}")
    return text


def quote(word):
    """One word as GRUB's script language reads it: single quotes have no escapes inside."""
    return "'" + word.replace("'", "'\"'\"'") + "'"


def words(command_line):
    """A command line as typed by a person -> the same words quoted for grub.cfg.

    Shell quoting is understood; GRUB itself puts double quotes around a word with a space in it
    and a backslash before quotes and backslashes when it hands the line to the kernel.
    """
    try:
        return " ".join(quote(word) for word in shlex.split(command_line))
    except ValueError as error:
        raise ToolError(f"cannot read '{command_line}': {error}") from None


def config(loads):
    """grub.cfg that runs the load commands one after the other, then boots."""
    lines = ["serial --unit=0 --speed=115200", "terminfo serial dumb",
             "terminal_output serial"]
    for command in loads:
        shown = quote("grub: failed: " + command.replace("'", ""))
        lines += [f"if {command}; then true; else echo {shown}; halt; fi"]
    return "\n".join(lines + ["boot", ""])


def core_image(platform, modules):
    """GRUB's core for a platform, from the cache or made now."""
    key = hashlib.sha256("\0".join(
        [call("grub-mkimage", "--version"), platform, modules, EARLY_CONFIG]).encode())
    folder = cache_folder()
    image = folder / f"grub-{platform}-{key.hexdigest()[:16]}"
    if image.exists():
        return image
    if not os.path.isdir(f"/usr/lib/grub/{platform.removesuffix('-eltorito')}"):
        raise ToolError(f"GRUB for {platform} is not installed (try: make deps)")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        early = pathlib.Path(work) / "early.cfg"
        early.write_text(EARLY_CONFIG)
        made = pathlib.Path(work) / "core"
        call("grub-mkimage", "-O", platform, "-p", "/boot/grub", "-c", early, "-o", made,
             *modules.split())
        made.rename(image)
    return image


def efi_partition(work):
    """A FAT image that holds GRUB as the default UEFI application."""
    image = work / "efi.img"
    with open(image, "wb") as file:
        file.truncate(4 << 20)
    call("mformat", "-i", image, "-v", "EFI", "::")
    call("mmd", "-i", image, "::/EFI", "::/EFI/BOOT")
    call("mcopy", "-i", image, core_image("x86_64-efi", EFI_MODULES), "::/EFI/BOOT/BOOTX64.EFI")
    return image


def make_iso(work, loads, files, uefi):
    """Writes work/boot.iso: `files` maps a path in the image to a file, `loads` are GRUB commands."""
    for file in files.values():
        if not os.path.isfile(file):
            raise ToolError(f"no such file: {file}")
    (work / "grub.cfg").write_text(config(loads))
    files = dict(files)
    files["/boot/rivet-grub.cfg"] = work / "grub.cfg"
    files["/boot/core.img"] = core_image("i386-pc-eltorito", BIOS_MODULES)
    boot = ["-b", "boot/core.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    if uefi:
        files["/boot/efi.img"] = efi_partition(work)
        boot += ["-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot"]
    iso = work / "boot.iso"
    call("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "RIVET", "-o", iso, *boot,
         "-graft-points", *[f"{inside}={os.path.abspath(file)}" for inside, file in files.items()])
    return iso
