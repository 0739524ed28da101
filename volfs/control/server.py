"""The control socket of one mount. May import: protocol, verbs, exception, trio. Bad input never harms the daemon."""

import logging
import os
import socket
import struct
from pathlib import Path

import trio

from volfs.control import protocol
from volfs.control.verbs import Verbs
from volfs.exception import Error, InvalidError

_log = logging.getLogger("volfs")
_TELL_S = 0.2
_PAUSE_S = 1.0


async def serve(path: Path, verbs: Verbs) -> None:
    """Answers until cancelled. Raises OSError when the socket cannot be made."""
    path.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        old = os.umask(0o177)
        try:
            await listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.umask(old)
        listener.listen(16)
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    connection, _ = await listener.accept()
                except OSError as error:  # no descriptor is left: the mount goes on, and who asks waits
                    _log.warning("control socket: %s", error)
                    await trio.sleep(_PAUSE_S)
                    continue
                nursery.start_soon(_answer, trio.SocketStream(connection), verbs)
    finally:
        os.close(directory)
        listener.close()
        path.unlink(missing_ok=True)


async def _answer(stream: trio.SocketStream, verbs: Verbs) -> None:
    async with stream:
        with verbs.answering():
            await _answer_one(stream, verbs)


async def _answer_one(stream: trio.SocketStream, verbs: Verbs) -> None:
    try:
        asker = _checked_peer(stream)
        line = await _line(stream)
        if line:
            request = protocol.decode_request(line)
            answer = await _run(stream, verbs, request, asker)
        else:
            return
    except (Error, OSError) as error:
        answer = protocol.encode_error(error)
    try:
        await stream.send_all(answer)
    except trio.BrokenResourceError:
        return  # hung up


async def _run(stream: trio.SocketStream, verbs: Verbs, request: protocol.Request, asker: int) -> bytes:
    """The answer; progress is sent while it is waited for. Nobody who reads slowly, or not at all, holds up a verb."""
    async with trio.open_nursery() as nursery:
        if request.progress:
            nursery.start_soon(_tell_progress, stream, verbs)
        try:
            return protocol.encode_answer(await verbs.run(request.verb, request.args, asker))
        except (Error, OSError) as error:
            return protocol.encode_error(error)
        except Exception as error:  # noqa: BLE001 - a bug in one verb must not end the mount
            _log.exception("a control request failed")
            return protocol.encode_error(error)
        finally:
            nursery.cancel_scope.cancel()


async def _tell_progress(stream: trio.SocketStream, verbs: Verbs) -> None:
    told = None
    while True:
        await trio.sleep(_TELL_S)
        now = verbs.progress()
        if now is not None and now != told:
            told = now
            try:
                await stream.send_all(protocol.encode_progress(now))
            except trio.BrokenResourceError:
                return  # hung up: the verb goes on


async def _line(stream: trio.SocketStream) -> bytes:
    """The first line, b"" when the peer hangs up before its end. Raises InvalidError when it is too long."""
    data = b""
    with trio.move_on_after(30):
        while b"\n" not in data:
            try:
                part = await stream.receive_some(4096)
            except trio.BrokenResourceError:
                return b""
            if not part:
                return b""
            data += part
            if len(data) > protocol.MAX_LINE_BYTES:
                raise InvalidError(f"a request is at most {protocol.MAX_LINE_BYTES} bytes long")
    return data.partition(b"\n")[0] if b"\n" in data else b""


def _checked_peer(stream: trio.SocketStream) -> int:
    """The asker's pid. Only the daemon's user and root may ask, whatever the socket's mode has become."""
    pid, uid, _ = struct.unpack("3i", stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        raise InvalidError("only the owner of a mount may control it")
    return int(pid)
