"""The verbs of a mount: socket and in-band attributes end here. May import: protocol, view, exception.

Arguments come from outside and are checked; answers are plain objects for JSON.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import trio

from volfs.control.protocol import failure_of
from volfs.exception import InvalidError
from volfs.view.reports import CommitReport, Progress, ReloadReport

MAX_MESSAGE = 4096


class Target(Protocol):
    """What a mount can be asked. All raise Error or OSError."""

    @property
    def progress(self) -> Progress | None: ...

    async def status(self) -> dict[str, Any]: ...

    async def commit(self, message: str) -> CommitReport: ...

    async def reload(self, *, discard: bool, asker: int) -> ReloadReport: ...

    async def unmount(self, action: str, *, lazy: bool) -> CommitReport | None: ...


class Verbs:
    """`last_error` is what the last failed verb said."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.last_error: str | None = None
        self._running = 0
        self._idle = trio.Event()
        self._verbs: dict[str, Callable[[dict[str, Any], int], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "commit": self._commit,
            "reload": self._reload,
            "unmount": self._unmount,
        }

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Around a verb and the sending of its answer."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._idle.set()

    async def wait_idle(self) -> None:
        """Returns when no answer is under way."""
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()

    async def run(self, verb: str, args: dict[str, Any], asker: int = 0) -> dict[str, Any]:
        """*asker* is the pid of a command that asks for somebody else, 0 for none.

        Raises InvalidError for an unknown verb or argument, and what the verb raises."""
        function = self._verbs.get(verb)
        if function is None:
            raise InvalidError(f"unknown verb {verb!r}; known are {', '.join(self._verbs)}")
        try:
            answer = await function(args, asker)
        except Exception as error:
            self.last_error = failure_of(error).message
            raise
        if verb != "status":
            self.last_error = None
        return answer

    def progress(self) -> dict[str, Any] | None:
        """How far the commit under way is; None when there is none."""
        now = self._target.progress
        return None if now is None else _plain(now)

    async def _status(self, args: dict[str, Any], asker: int) -> dict[str, Any]:
        return {**await self._target.status(), "progress": self.progress(), "last_error": self.last_error}

    async def _commit(self, args: dict[str, Any], asker: int) -> dict[str, Any]:
        message = _argument(args, "message", "")
        if len(message) > MAX_MESSAGE:
            raise InvalidError(f"a commit message has at most {MAX_MESSAGE} characters")
        return _plain(await self._target.commit(message))

    async def _reload(self, args: dict[str, Any], asker: int) -> dict[str, Any]:
        return _plain(await self._target.reload(discard=_argument(args, "discard", False), asker=asker))

    async def _unmount(self, args: dict[str, Any], asker: int) -> dict[str, Any]:
        action = _argument(args, "action", "")
        if action not in ("", "keep", "commit", "discard"):
            raise InvalidError(f"action {action!r}: one of keep, commit, discard")
        report = await self._target.unmount(action, lazy=_argument(args, "lazy", False))
        return {"commit": _plain(report) if report is not None else None}


def _argument(args: dict[str, Any], name: str, default: Any) -> Any:
    value = args.get(name, default)
    if type(value) is not type(default):
        raise InvalidError(f"argument {name!r} has the wrong type")
    return value


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
