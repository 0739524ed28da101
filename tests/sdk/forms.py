"""The ways in which a program may call the API; a test written once runs in each.

`form(vol.listdir, "/")` calls, `form.items(vol.iterdir, "/")` iterates, `with form.block(vol.batch_upload()) as batch`
enters. The awaited forms run in an event loop of their own, in another thread.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

import volfs
import volfs.aio

Handle = Any  # volfs.Volume or volfs.aio.Volume: a checker of types has programs of its own

FORMS = ["blocking", ".aio asyncio", ".aio trio", "volfs.aio asyncio", "volfs.aio trio"]


class Form:
    """*portal* None: blocking. *twin*: the `.aio` of the blocking class, else the class that is all async."""

    def __init__(self, portal: BlockingPortal | None, *, twin: bool) -> None:
        self._portal = portal
        self._twin = twin
        self.Volume: Any = volfs.Volume if portal is None or twin else volfs.aio.Volume

    def __call__(self, function: Any, *arguments: Any, **named: Any) -> Any:
        if self._portal is None:
            return function(*arguments, **named)
        called = function.aio if self._twin else function
        return self._portal.call(lambda: called(*arguments, **named))

    def items(self, function: Any, *arguments: Any, **named: Any) -> list[Any]:
        if self._portal is None:
            return list(function(*arguments, **named))
        called = function.aio if self._twin else function
        return self._portal.call(_gathered, lambda: called(*arguments, **named))

    def block(self, manager: Any) -> AbstractContextManager[Any]:
        if self._portal is None:
            entered: AbstractContextManager[Any] = manager
            return entered
        return self._portal.wrap_async_context_manager(manager)


async def _gathered(start: Callable[[], AsyncIterator[Any]]) -> list[Any]:
    return [item async for item in start()]


@contextlib.contextmanager
def opened(name: str) -> Iterator[Form]:
    """*name* is one of FORMS."""
    kind, _, backend = name.partition(" ")
    if not backend:
        yield Form(None, twin=False)
        return
    with start_blocking_portal(backend) as portal:
        yield Form(portal, twin=kind == ".aio")
