"""Calls written once: blocking with an `.aio` twin to be awaited, or all to be awaited. May import: anyio. Must not
know: volumes.

`blocking` and `blocking_stream` (generators) make what `volfs.Volume` has, `awaited` and `awaited_stream` what
`volfs.aio.Volume` has. As a descriptor each binds a function of the logic class to the `_logic` of its instance (*own*:
to the instance); got from the class it is a plain function, so that `help` and `inspect` show what was written. The
async forms run in threads, under asyncio and trio.
"""

import functools
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import anyio
import anyio.to_thread

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

_BATCH = 256  # items of a stream fetched in one trip to a thread


class Blocking(Protocol[P, R_co]):
    """A call that blocks; `aio` is its twin."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...


class Awaited(Protocol[P, R_co]):
    """A call to be awaited; `aio` is the same."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...


class BlockingStream(Protocol[P, R_co]):
    """A call that gives an iterator; `aio` gives one for `async for`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R_co]: ...

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R_co]: ...


class AwaitedStream(Protocol[P, R_co]):
    """A call that gives an iterator for `async for`; `aio` is the same."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R_co]: ...

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R_co]: ...


def in_thread(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The same, to be awaited. Who is cancelled waits for its end: no commit is left half watched."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))

    return run


def stream_in_thread(function: Callable[P, Iterator[T]]) -> Callable[P, AsyncIterator[T]]:
    """The same for `async for`."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        items = function(*args, **kwargs)
        try:
            while batch := await anyio.to_thread.run_sync(_some, items):
                for item in batch:
                    yield item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(close)

    return run


def _some(items: Iterator[T]) -> list[T]:
    """The next few; one at a time where they are pieces of a file."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) >= _BATCH or isinstance(item, bytes):
            break
    return batch


def _warning(function: Callable[P, R]) -> Callable[P, R]:
    """The same; says once that it holds up the event loop in which it is called."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _Warned.done and _in_loop():
            _Warned.done = True
            name = function.__name__
            text = f"{name}() blocks the event loop it is called in; `await ...{name}.aio()` does not"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return function(*args, **kwargs)

    return run


class _Warned:
    done = False


def _in_loop() -> bool:
    """Whether this thread runs an event loop; imports none."""
    asyncio, trio = sys.modules.get("asyncio.events"), sys.modules.get("trio.lowlevel")
    return (asyncio is not None and asyncio._get_running_loop() is not None) or (
        trio is not None and trio.in_trio_task()
    )


def _with_aio(call: Any, aio: Any) -> Any:
    call.aio = aio
    return call


class blocking_call(Generic[P, R]):
    """A function of a class that belongs to no instance; in a staticmethod a checker of types would lose its `aio`."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._call: Blocking[P, R] = _with_aio(_warning(function), in_thread(function))

    def __get__(self, instance: object, owner: type) -> Blocking[P, R]:
        return self._call


class awaited_call(Generic[P, R]):
    def __init__(self, function: Callable[P, R]) -> None:
        self._call: Awaited[P, R] = _with_aio(in_thread(function), in_thread(function))

    def __get__(self, instance: object, owner: type) -> Awaited[P, R]:
        return self._call


class _Method(Generic[S, P, R]):
    """*awaited*: the call itself is async, too. *stream*: the function is a generator."""

    awaited = False
    stream = False

    def __init__(self, function: Callable[Concatenate[S, P], Any], *, own: bool = False) -> None:
        self._function = function
        self._own = own
        self._shown: Any = None

    def __set_name__(self, owner: type, name: str) -> None:
        function: Any = self._function
        if self._own:  # written under another name, as an annotation beside it needs this one
            function.__name__, function.__qualname__ = name, f"{owner.__qualname__}.{name}"

        @functools.wraps(self._function)
        def through_class(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self._bound(instance)(*args, **kwargs)

        def aio(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self._bound(instance).aio(*args, **kwargs)

        through_class.__name__, through_class.__qualname__ = name, f"{owner.__qualname__}.{name}"
        through_class.__module__ = owner.__module__
        self._shown = _with_aio(through_class, functools.wraps(through_class)(aio))

    def _bound(self, instance: Any) -> Any:
        method = MethodType(self._function, instance if self._own else instance._logic)
        wrap: Callable[[Any], Any] = stream_in_thread if self.stream else in_thread
        return _with_aio(wrap(method) if self.awaited else _warning(method), wrap(method))

    def _got(self, instance: Any) -> Any:
        return self._shown if instance is None else self._bound(instance)


class blocking(_Method[S, P, R]):
    def __init__(self, function: Callable[Concatenate[S, P], R], *, own: bool = False) -> None:
        super().__init__(function, own=own)

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[Any, P], R]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Blocking[P, R]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        return self._got(instance)


class awaited(_Method[S, P, R]):
    awaited = True

    def __init__(self, function: Callable[Concatenate[S, P], R], *, own: bool = False) -> None:
        super().__init__(function, own=own)

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Awaited[P, R]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        return self._got(instance)


class blocking_stream(_Method[S, P, R]):
    stream = True

    def __init__(self, function: Callable[Concatenate[S, P], Iterator[R]], *, own: bool = False) -> None:
        super().__init__(function, own=own)

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[Any, P], Iterator[R]]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> BlockingStream[P, R]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        return self._got(instance)


class awaited_stream(_Method[S, P, R]):
    awaited = stream = True

    def __init__(self, function: Callable[Concatenate[S, P], Iterator[R]], *, own: bool = False) -> None:
        super().__init__(function, own=own)

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[Concatenate[Any, P], AsyncIterator[R]]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> AwaitedStream[P, R]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        return self._got(instance)
