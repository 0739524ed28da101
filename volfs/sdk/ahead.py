"""Calls made by threads, some ahead, with their results in order. May import: nothing of volfs."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    threads: Executor, call: Callable[[T], R], items: Iterable[T], *, ahead: int, settle: bool = False
) -> Generator[R, None, None]:
    """What *call* gives for each item; up to *ahead* more are under way. *items* are taken as they are needed.

    Once closed no further call begins; with *settle* none runs any more either: what they use may be closed then.
    """
    tasks: deque[Future[R]] = deque()
    try:
        for item in items:
            tasks.append(threads.submit(call, item))
            if len(tasks) > ahead:
                yield tasks.popleft().result()
        while tasks:
            yield tasks.popleft().result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            if settle and not task.cancelled():
                task.exception()
