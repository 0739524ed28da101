"""Control from inside a container: reading `user.volfs.*` of the mount's root. May import: control, view, pyfuse3.

Tools ask twice, for the size and then for the value, and the two cannot be told apart: each request does its work, and
where nothing has changed since the same caller's last answer, that answer is repeated. Who asks once, with a buffer
that is large enough, leaves that answer behind: it is void when the view stands on another commit than it names.
"""

import errno
from typing import Any

import msgspec
from pyfuse3 import FUSEError, RequestContext

from volfs.control.verbs import Verbs
from volfs.fuse.callers import groups_of
from volfs.view.view import View

PREFIX = b"user.volfs."
MAX_ANSWER_BYTES = 60 * 1024
_KEPT_LINES = 100


class InBand:
    def __init__(self, view: View, verbs: Verbs) -> None:
        self._view = view
        self._verbs = verbs
        self._last: dict[tuple[int, bytes], tuple[int, bytes]] = {}  # (commit that it names, answer) by (pid, name)

    async def __call__(self, name: bytes, ctx: RequestContext) -> bytes:
        """The answer's JSON. Raises FUSEError (ENODATA for an unknown name, EACCES), and what the verb raises."""
        verb, args = _parse(name[len(PREFIX) :])
        if verb != "status":
            self._check(ctx, write=not (verb == "reload" and self._view.core.read_only))
        answer = await self._verbs.run(verb, args)
        encoded = _short(answer)
        if verb == "status":
            return encoded
        nothing = answer["seq"] is None if verb == "commit" else _changed_nothing(answer)
        key = (ctx.pid, name)
        seq, last = self._last.pop(key, (0, b""))
        if nothing:
            return last if last and seq == self._view.base.seq else encoded
        if len(self._last) > 1000:
            self._last.clear()
        self._last[key] = answer["seq" if verb == "commit" else "new"], encoded
        return encoded

    def _check(self, ctx: RequestContext, *, write: bool) -> None:
        """Raises EACCES unless the caller may write (or read) the root directory."""
        root = self._view.names.getattr(self._view.root_ino)
        bit = 2 if write else 4
        if ctx.uid == 0:
            return
        in_group = ctx.gid == root.gid or root.gid in groups_of(ctx.pid)
        shift = 6 if ctx.uid == root.uid else 3 if in_group else 0
        if not root.mode >> shift & bit:
            may = "write" if write else "read"
            self._verbs.last_error = f"user {ctx.uid} (pid {ctx.pid}) may not {may} the volume's root"
            raise FUSEError(errno.EACCES)


def _changed_nothing(answer: dict[str, Any]) -> bool:
    return answer["old"] == answer["new"] and not (
        answer["changed"] or answer["committed"] is not None or answer["discarded_files"]
    )


def _parse(name: bytes) -> tuple[str, dict[str, Any]]:
    if name == b"status":
        return "status", {}
    if name == b"commit":
        return "commit", {}
    if name.startswith(b"commit.m."):
        return "commit", {"message": name[9:].decode("utf-8", "backslashreplace")}
    if name == b"reload":
        return "reload", {}
    if name == b"reload.discard":
        return "reload", {"discard": True}
    raise FUSEError(errno.ENODATA)


def _short(answer: dict[str, Any]) -> bytes:
    """Under 60 KiB (more is E2BIG to the caller): lists are cut, and counted."""
    encoded = msgspec.json.encode(answer)
    kept = _KEPT_LINES
    while len(encoded) > MAX_ANSWER_BYTES and kept:
        cut: dict[str, Any] = {}
        for key, value in answer.items():
            cut[key] = value
            if isinstance(value, list | tuple) and len(value) > kept:
                cut[key] = value[:kept]
                cut[f"{key}_count"] = len(value)
        encoded = msgspec.json.encode(cut)
        kept //= 2
    return encoded
