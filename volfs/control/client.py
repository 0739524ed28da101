"""Asks a daemon through its socket. May import: protocol, exception. Blocks; imports neither trio nor pyfuse3."""

import os
import socket
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
) -> dict[str, Any]:
    """The daemon's answer; *progress* is given what it tells meanwhile.

    Raises what it tells, ExecutionError when it is not there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        directory = -1
        try:
            # A socket's address holds 107 bytes; through its directory's descriptor any path fits.
            directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError as error:
            raise ExecutionError(f"no volfs daemon answers at {path}: mount again to resume") from error
        finally:
            if directory >= 0:
                os.close(directory)
        connection.sendall(protocol.encode_request(verb, args or {}, progress=progress is not None))
        with connection.makefile("rb") as answers:
            line = answers.readline()
            while progress is not None and line and (told := protocol.decode_progress(line)) is not None:
                progress(told)
                line = answers.readline()
    if not line:
        raise ExecutionError("the daemon ended without an answer; see its log")
    return protocol.decode_answer(line)
