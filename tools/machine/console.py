# SPDX-License-Identifier: MIT
"""Runs an emulator and carries its serial ports: COM1 to the terminal, COM2 to a socket."""
import atexit
import ctypes
import os
import pathlib
import re
import selectors
import signal
import socket
import stat
import subprocess
import sys
import termios
import time
import tty

from .grub import ToolError
from .verdict import PANIC

ESCAPE = 1  # Ctrl-A: followed by x it ends the run, followed by itself it is sent
AFTER_PANIC = 10  # seconds that a panicked machine has to print and to power off


class Port:
    """One end of a serial line: a socket with a queue, so that writing never blocks."""

    def __init__(self, selector, sock, on_data, on_close):
        self.selector, self.sock, self.on_data, self.on_close = selector, sock, on_data, on_close
        self.queue = bytearray()
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, self.ready)

    def send(self, data):
        """Queues data; it leaves as fast as the other end takes it."""
        self.queue += data
        self.update()

    def update(self):
        """Asks for writability only while there is something to write."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.queue else 0)
        self.selector.modify(self.sock, events, self.ready)

    def ready(self, events):
        """Called by the loop."""
        try:
            if events & selectors.EVENT_WRITE:
                del self.queue[:self.sock.send(self.queue)]
                self.update()
            if events & selectors.EVENT_READ:
                data = self.sock.recv(65536)
                if not data:
                    self.close()
                else:
                    self.on_data(data)
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self):
        """Ends this side."""
        self.selector.unregister(self.sock)
        self.sock.close()
        self.on_close()


class Listener:
    """Waits for one peer at a time on a TCP or unix address."""

    def __init__(self, selector, family, address, on_peer):
        self.on_peer = on_peer
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.sock.bind(address)
        except OSError as error:
            raise ToolError(f"cannot listen on {address}: {error.strerror}") from None
        self.sock.listen(1)
        selector.register(self.sock, selectors.EVENT_READ, self.ready)

    def ready(self, _events):
        """Called by the loop."""
        self.on_peer(self.sock.accept()[0])

    def port(self):
        """The TCP port it got."""
        return self.sock.getsockname()[1]


class Sender:
    """Types into the console: each text when its pattern has appeared after the one before."""

    def __init__(self, steps):
        self.steps = [(re.compile(pattern.encode()), text) for pattern, text in steps]
        self.seen = b""

    def feed(self, data):
        """Takes console output, returns what is to be typed now."""
        self.seen = (self.seen + data)[-65536:]
        typed = b""
        while self.steps:
            match = self.steps[0][0].search(self.seen)
            if not match:
                break
            self.seen = self.seen[match.end():]
            typed += self.steps.pop(0)[1]
        return typed


class Com2:
    """Joins the machine's COM2 with whoever connects to the given address."""

    def __init__(self, selector, where):
        self.selector = selector
        self.machine = self.client = None
        kind, _, address = where.partition(":")
        if kind == "tcp" and address.isdigit():
            self.outside = Listener(selector, socket.AF_INET, ("127.0.0.1", int(address)),
                                    self.client_came)
        elif kind == "unix" and address:
            remove_stale(address)
            atexit.register(pathlib.Path(address).unlink, missing_ok=True)
            self.outside = Listener(selector, socket.AF_UNIX, address, self.client_came)
        else:
            raise ToolError(f"--com2 {where}: expected tcp:PORT or unix:PATH")
        self.inside = Listener(selector, socket.AF_INET, ("127.0.0.1", 0), self.machine_came)
        self.early = b""

    def machine_came(self, sock):
        """The emulator has connected."""
        self.machine = Port(self.selector, sock, self.from_machine, self.machine_left)
        self.machine.send(self.early)

    def client_came(self, sock):
        """A debugger has connected; a second one at the same time is turned away."""
        if self.client:
            sock.close()
            return
        self.client = Port(self.selector, sock, self.from_client, self.client_left)

    def from_machine(self, data):
        """What nobody listens to is lost, as on a wire."""
        if self.client:
            self.client.send(data)

    def from_client(self, data):
        """What comes before the machine exists waits for it."""
        if self.machine:
            self.machine.send(data)
        else:
            self.early += data

    def machine_left(self):
        """The emulator has gone."""
        self.machine = None

    def client_left(self):
        """The debugger has gone; another may come."""
        self.client = None


def remove_stale(path):
    """Removes a unix socket that nobody listens on any more."""
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) != 0:
                os.unlink(path)


class Console:
    """One run of a machine."""

    def __init__(self, verdict, sender, serial=None, com2=None):
        self.verdict, self.sender, self.serial = verdict, sender, serial
        self.selector = selectors.DefaultSelector()
        self.com1 = None
        self.escaped = self.stop = False
        self.interactive = sys.stdin.isatty()
        self.held = b""
        self.com1_listener = Listener(self.selector, socket.AF_INET, ("127.0.0.1", 0),
                                      self.machine_came)
        self.com2 = Com2(self.selector, com2) if com2 else None

    def ports(self):
        """The local TCP ports for COM1 and COM2 (None without COM2)."""
        return self.com1_listener.port(), self.com2.inside.port() if self.com2 else None

    def machine_came(self, sock):
        """The emulator has connected COM1."""
        self.com1 = Port(self.selector, sock, self.output, self.machine_left)

    def machine_left(self):
        """The emulator has closed COM1."""
        self.com1 = None

    def output(self, data):
        """The machine wrote to COM1."""
        data = self.held + data.replace(b"\r", b"")
        if not self.interactive:
            data, self.held = without_queries(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if self.serial:
            self.serial.write(data)
            self.serial.flush()
        self.verdict.feed(data)
        self.type(self.sender.feed(data))

    def end_line(self):
        """Ends the last line on the terminal: the machine may have gone in the middle of it."""
        if self.verdict.partial:
            print(flush=True)

    def type(self, data):
        """Sends to the machine's COM1."""
        if self.com1 and data:
            self.com1.send(data)

    def keyboard(self, _events):
        """The user typed: everything goes to the machine but Ctrl-A x."""
        for byte in os.read(0, 1024):
            if self.escaped and byte == ord("x"):
                self.stop = True
            elif byte == ESCAPE and not self.escaped:
                self.escaped = True
                continue
            else:
                self.type(bytes([byte]))
            self.escaped = False

    def run(self, command, timeout, output):
        """Runs the emulator to its end, its own words going to the file `output`.

        Returns its exit status, or None when it was ended from here.
        """
        saved = termios.tcgetattr(0) if self.interactive else None
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True,
                                 preexec_fn=die_with_parent)
        try:
            if self.interactive:
                raw_input_mode()
                self.selector.register(0, selectors.EVENT_READ, self.keyboard)
                print("boot: Ctrl-A x ends the machine", file=sys.stderr)
            return self.loop(child, time.monotonic() + timeout)
        finally:
            if saved:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def loop(self, child, deadline):
        """Serves the ports until the emulator has ended and all it wrote is read."""
        end = os.pidfd_open(child.pid)
        self.selector.register(end, selectors.EVENT_READ, lambda _events: None)
        panicked = False
        while not self.stop:
            exited = child.poll() is not None
            left = 0 if exited else deadline - time.monotonic()
            if left < 0:
                break
            ready = self.selector.select(left)
            for key, events in ready:
                key.data(events)
            if exited and all(key.fileobj == end for key, _ in ready):
                return child.returncode
            if self.verdict.said == PANIC and not panicked:
                panicked = True
                deadline = min(deadline, time.monotonic() + AFTER_PANIC)
        return None


def without_queries(data):
    """Drops a shell's question for the cursor, which nobody is there to answer.

    Returns what can be shown and a possible beginning of one that must wait for more.
    """
    data = data.replace(b"\x1b[6n", b"")
    start = re.search(rb"\x1b(\[6?)?$", data)
    cut = start.start() if start else len(data)
    return data[:cut], data[cut:]


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """In the child: the kernel kills it when this process dies, however that happens."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def raw_input_mode():
    """Keys go to the machine at once and unchanged; output is still translated."""
    tty.setcbreak(0)
    mode = termios.tcgetattr(0)
    mode[0] &= ~(termios.ICRNL | termios.IXON)
    mode[3] &= ~termios.ISIG
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
