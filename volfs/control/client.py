"""Asks a daemon through its socket. May import: protocol, exception. Blocks; imports neither trio nor pyfuse3."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from volfs.control import protocol
from volfs.exception import ExecutionError


def call(
    path: Path,
    verb: str,
    args: dict[str, Any] | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    *,
    timeout_s: int | None = None,
) -> dict[str, Any]:
    """The daemon's answer; *progress* is given what it tells meanwhile.

    Raises what it tells, ExecutionError when it is not there or says nothing for *timeout_s* (None: waits for ever).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        try:
            _connect(connection, path, timeout_s)
            connection.sendall(protocol.encode_request(verb, args or {}, progress=progress is not None))
            with connection.makefile("rb") as answers:
                line = answers.readline()
                while progress is not None and line and (told := protocol.decode_progress(line)) is not None:
                    progress(told)
                    line = answers.readline()
        except (TimeoutError, BlockingIOError) as error:
            raise ExecutionError(f"the volfs daemon at {path} has not answered for {timeout_s} s") from error
    if not line:
        raise ExecutionError("the daemon ended without an answer; see its log")
    return protocol.decode_answer(line)


def _connect(connection: socket.socket, path: Path, timeout_s: int | None) -> None:
    """Raises ExecutionError when nobody listens, BlockingIOError when nobody accepts for *timeout_s*."""
    directory = -1
    try:
        if timeout_s is not None:
            # Not Python's own timeout: with that a full queue is an error at once.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout_s, 0))
        # A socket's address holds 107 bytes; through its directory's descriptor any path fits.
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        connection.settimeout(timeout_s)
    except BlockingIOError:
        raise
    except OSError as error:
        raise ExecutionError(f"no volfs daemon answers at {path}: mount again to resume") from error
    finally:
        if directory >= 0:
            os.close(directory)
