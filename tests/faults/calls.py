"""Stops volfs at each system call that changes a file system, and says what becomes of it: it is made, fails, or its
process is killed. May import: launch.

Real processes under seccomp's user notifications: the kernel holds the calling thread until the call is answered, one
call after the other over all threads, so that "the n-th call" is a place in one order. Root on x86-64.
"""

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.launch import NUMBERS

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND: linux/seccomp.h
_CONTINUE = 1
_AT_FDCWD = -100
_PATH_BYTES = 4096
KILL = -1  # instead of an errno
LAUNCH = Path(__file__).with_name("launch.py")
ROOT = str(LAUNCH.parents[2])
QUIET = ("log", "socket", "lock")  # files of the state directory that hold nothing


@dataclass(slots=True, frozen=True)
class Call:
    """*path* is the file that is changed, made, or gets its name changed to *target*; *at* and *data* of writes (only
    if they are recorded), *length* of those and of truncates and punches."""

    number: int
    name: str
    pid: int
    path: str
    target: str = ""
    at: int = 0
    length: int = 0
    data: bytes = b""
    inode: int = 0
    flags: int = 0

    def __str__(self) -> str:
        more = f" -> {os.path.basename(self.target)}" if self.target else ""
        return f"{self.number}: {self.name} {'/'.join(self.path.split('/')[-3:])}{more}"


Decide = Callable[[Call], int]


def go_on(call: Call) -> int:
    return 0


class Launcher:
    """Runs volfs. What it has started ends with it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, str(LAUNCH), str(theirs.fileno())]
            env = {**os.environ, "PYTHONPATH": ROOT}
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env)

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.wait(timeout=60)

    def kill(self) -> None:
        """kill -9 of all that it has started."""
        for pid in _descendants(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(
        self, arguments: Sequence[str], env: dict[str, str], calls: "Calls | None" = None
    ) -> subprocess.CompletedProcess[str]:
        """`volfs ARGUMENTS`, with its daemon stopped at their calls if *calls* are given."""
        request = json.dumps({"arguments": list(arguments), "env": env}).encode()
        with contextlib.ExitStack() as stack:
            out, err = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2))
            descriptors = [out.fileno(), err.fileno()]
            if calls is not None:
                descriptors.append(stack.enter_context(calls.side()).fileno())
            socket.send_fds(self._socket, [request], descriptors)
            code = int(self._socket.recv(64))
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


class Calls:
    """Sees the calls of all that it starts, below *roots*: once it is `armed`, `decide` is called in a thread for each,
    before it is made."""

    def __init__(self, roots: Sequence[Path], decide: Decide = go_on, *, data: bool = False) -> None:
        self.roots = tuple(f"{root}/" for root in roots)
        self.decide = decide
        self.armed = False
        self.count = 0
        self.killed: Call | None = None
        self._data = data
        self._poll = select.epoll()
        self._sides: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        self._stop_reader, self._stop_writer = os.pipe2(os.O_CLOEXEC)
        self._poll.register(self._stop_reader, select.EPOLLIN)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        """After the last process has ended: a call that nobody answers fails with ENOSYS."""
        os.write(self._stop_writer, b"x")
        self._thread.join()
        for fd in (self._stop_reader, self._stop_writer):
            os.close(fd)
        self._poll.close()

    def side(self) -> socket.socket:
        """The end that a process is given, for its listener."""
        ours, theirs = socket.socketpair()
        with self._lock:
            self._sides[ours.fileno()] = ours
        self._poll.register(ours.fileno(), select.EPOLLIN)
        return theirs

    # --- the thread

    def _serve(self) -> None:
        while True:
            for fd, event in self._poll.poll():
                if fd == self._stop_reader:
                    return
                if fd in self._sides:
                    self._met(fd)
                elif event & select.EPOLLIN:
                    self._call(fd)
                else:
                    self._poll.unregister(fd)
                    os.close(fd)

    def _met(self, fd: int) -> None:
        """A process sends its listener, or ends without."""
        with self._lock:
            side = self._sides.pop(fd)
        self._poll.unregister(fd)
        with side:
            _, listeners, _, _ = socket.recv_fds(side, 16, 1)
        for listener in listeners:
            self._poll.register(listener, select.EPOLLIN)

    def _call(self, listener: int) -> None:
        buffer = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, buffer)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return  # killed meanwhile
            raise
        identity, thread, _, number = struct.unpack_from("QIIi", buffer)
        arguments = struct.unpack_from("6Q", buffer, 32)
        verdict = 0
        try:
            call = self._told(thread, NUMBERS[number], arguments) if self.armed else None
            if call is not None:
                self.count += 1
                verdict = self.decide(call)
                if verdict == KILL:
                    self.killed = call
                    os.kill(call.pid, signal.SIGKILL)
                    return
        except (FileNotFoundError, ProcessLookupError):
            pass  # the process is gone
        answer = struct.pack("QqiI", identity, 0, -verdict, 0 if verdict else _CONTINUE)
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(listener, _SEND, bytearray(answer))

    def _told(self, thread: int, name: str, a: tuple[int, ...]) -> Call | None:
        """None for what is none of our files."""
        proc = f"/proc/{thread}"
        target, at, length, data, flags = "", 0, 0, b"", 0
        match name:
            case "rename" | "link":
                path, target = _path(proc, _AT_FDCWD, a[0]), _path(proc, _AT_FDCWD, a[1])
            case "renameat" | "renameat2" | "linkat":
                path, target = _path(proc, a[0], a[1]), _path(proc, a[2], a[3])
            case "symlink":
                path = _path(proc, _AT_FDCWD, a[1])
            case "unlink" | "rmdir" | "mkdir" | "chmod" | "truncate" | "open":
                path = _path(proc, _AT_FDCWD, a[0])
                length, flags = a[1], a[1]
            case "unlinkat" | "mkdirat" | "fchmodat" | "openat":
                path = _path(proc, a[0], a[1])
                flags = a[2]
            case _:
                path = _file(proc, a[0])
                if name == "ftruncate":
                    length = a[1]
                elif name == "fallocate":
                    flags, at, length = a[1], a[2], a[3]
        if not f"{path}/".startswith(self.roots) or (os.path.basename(path) in QUIET):
            return None
        inode = 0
        if self._data:
            if "write" in name:
                data = _written(proc, name, a)
                at = a[3] if name != "write" else _position(proc, a[0])
            if name in ("rename", "renameat", "renameat2", "link", "linkat", "truncate"):
                inode = os.stat(path).st_ino
            elif "at" not in name[-2:] and name not in ("open", "unlink", "rmdir", "mkdir", "chmod"):
                inode = os.stat(f"{proc}/fd/{a[0]}").st_ino
        pid = _process(proc)
        return Call(self.count + 1, name, pid, path, target, at, length, data, inode, flags)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            with contextlib.suppress(OSError):
                found += [int(child), *_descendants(int(child))]
    return found


def _process(proc: str) -> int:
    for line in Path(f"{proc}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError


def _file(proc: str, fd: int) -> str:
    return os.readlink(f"{proc}/fd/{fd}")


def _path(proc: str, directory: int, address: int) -> str:
    text = os.fsdecode(_memory(proc, address, _PATH_BYTES, b"\0").split(b"\0", 1)[0])
    if text.startswith("/"):
        return os.path.normpath(text)
    fd = directory - (1 << 32) if directory & (1 << 31) else directory
    here = os.readlink(f"{proc}/cwd" if fd in (_AT_FDCWD, _AT_FDCWD + (1 << 32)) else f"{proc}/fd/{fd}")
    return os.path.normpath(f"{here}/{text}")


def _memory(proc: str, address: int, length: int, end: bytes = b"") -> bytes:
    """As much of it as is there, up to *end*."""
    found = b""
    with open(f"{proc}/mem", "rb", buffering=0) as memory:
        while len(found) < length:
            count = min(length - len(found), 4096 - (address + len(found)) % 4096)
            try:
                memory.seek(address + len(found))
                part = memory.read(count)
            except OSError:
                break
            found += part
            if end and end in part:
                break
    return found


def _written(proc: str, name: str, a: tuple[int, ...]) -> bytes:
    if name in ("write", "pwrite64"):
        return _memory(proc, a[1], a[2])
    vectors = _memory(proc, a[1], 16 * a[2])
    return b"".join(_memory(proc, *struct.unpack_from("QQ", vectors, i * 16)) for i in range(a[2]))


def _position(proc: str, fd: int) -> int:
    return int(Path(f"{proc}/fdinfo/{fd}").read_text().split()[1])


def kill_at(n: int) -> Decide:
    """Kills the process that makes the *n*-th call, before it is made."""
    return lambda call: KILL if call.number == n else 0


def fail_at(n: int, error: int, *names: str) -> Decide:
    """The *n*-th of the calls with these names fails; all others are made."""
    seen = iter(range(1, 1 << 30))
    return lambda call: error if call.name in names and next(seen) == n else 0
