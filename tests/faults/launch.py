"""Runs volfs, with or without a system-call filter, for requests that come by a socket. Started by `calls`.

Its segments are small, so that short runs fill, punch and compact them.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import struct
import sys
import traceback
import typing

# Numbers of x86-64: asm/unistd_64.h. Calls that change what is in a file system, or make it durable.
NUMBERS = {
    1: "write",
    18: "pwrite64",
    296: "pwritev",
    328: "pwritev2",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    285: "fallocate",
    40: "sendfile",
    326: "copy_file_range",
    2: "open",
    257: "openat",
    82: "rename",
    264: "renameat",
    316: "renameat2",
    86: "link",
    265: "linkat",
    87: "unlink",
    263: "unlinkat",
    83: "mkdir",
    258: "mkdirat",
    84: "rmdir",
    88: "symlink",
    90: "chmod",
    91: "fchmod",
    268: "fchmodat",
}
_FLAGS_AT = {2: 1, 257: 2}  # which argument has the flags: opens that cannot create are not stopped
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _SYS_SECCOMP = 36, 38, 317  # linux/prctl.h, asm/unistd_64.h
_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32  # linux/seccomp.h; without it a signal means EINTR
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD, _IF_EQUAL, _IF_GREATER, _IF_BITS, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # linux/filter.h
_COMMANDS = tuple(f"volfs_cli.{name}" for name in ("mount", "views", "volumes", "files", "transfer", "fsck"))
_ARGUMENTS = 16  # where they begin in struct seccomp_data, 8 bytes each


def _filter() -> bytes:
    code: list[tuple[int, int, int, int]] = []
    for number in NUMBERS:
        if number in _FLAGS_AT:
            code += [
                (_LOAD, 0, 0, 0),
                (_IF_EQUAL, 0, 3, number),
                (_LOAD, 0, 0, _ARGUMENTS + 8 * _FLAGS_AT[number]),
                (_IF_BITS, 0, 1, os.O_CREAT),
                (_RETURN, 0, 0, _NOTIFY),
            ]
        elif number == 1:
            code += [
                (_LOAD, 0, 0, 0),
                (_IF_EQUAL, 0, 3, number),
                (_LOAD, 0, 0, _ARGUMENTS),
                (_IF_GREATER, 0, 1, 2),  # not the standard descriptors
                (_RETURN, 0, 0, _NOTIFY),
            ]
        else:
            code += [(_LOAD, 0, 0, 0), (_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _NOTIFY)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *each) for each in code)


def install() -> int:
    """Filters this process and all that it starts; returns the listener."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(_filter())
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", (len(code) - 1) // 8, ctypes.addressof(code)))
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = int(libc.syscall(_SYS_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "no system-call filter")
    return listener


def _small() -> None:
    """As a run of a thousand times the size, with the true ones."""
    modules: typing.Any = sys.modules
    for name in ("volfs.view.segments", "volfs.view.staging", "volfs.view.packing"):
        modules[name].SEGMENT_BYTES = 60_000
    modules["volfs.view.staging"]._PUNCH_BYTES = 8_192
    modules["volfs.view.freeze"]._DOOMED_BYTES = 20_000
    modules["volfs.fuse.mount"]._HOUSEKEEPING_S = 0.02


def serve(requests: socket.socket) -> None:
    """Runs a command for each request, in a fork that has all imported: ten times as fast as an interpreter's start.

    A request is a JSON object (arguments, env) with the descriptors of stdout, stderr and, if calls are to be stopped,
    of a socket that is sent the listener. The answer is the exit code. Daemons left behind are ours, and end with us.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for name in ("volfs_cli.main", "volfs.fuse.daemon", "volfs.sdk.handle", *_COMMANDS):
        importlib.import_module(name)
    _small()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 3)
        if not message:
            break
        asked = json.loads(message)
        child = os.fork()
        if child == 0:
            requests.close()
            _command(asked["arguments"], asked["env"], *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    for thread in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{thread}/children") as children:
            for pid in children.read().split():
                os.kill(int(pid), signal.SIGKILL)


def _command(arguments: list[str], env: dict[str, str], out: int, err: int, reporter: int = -1) -> None:
    """Never returns."""
    code = 1
    try:
        os.environ.clear()
        os.environ.update(env)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.argv = ["volfs", *arguments]
        if reporter >= 0:
            listener = install()
            with socket.socket(fileno=reporter) as side:
                socket.send_fds(side, [b"listener"], [listener])
            os.close(listener)
        importlib.import_module("volfs_cli.main").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
