"""What a store asks of a place that keeps objects. May import: exception. Blocking and thread-safe."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from volfs.exception import DamageError

T = TypeVar("T")


@dataclass(slots=True)
class Sent:
    """What was asked of a store to bring something there, tries that failed among it: requests, none of a store that
    is local, and bytes."""

    requests: int = 0
    bytes: int = 0

    def add(self, requests: int, count: int) -> None:
        self.requests += requests
        self.bytes += count


class Backend(Protocol):
    """Objects by key: names joined by "/", without ".." or empty ones."""

    @property
    def url(self) -> str: ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """True: the object is there, durable, and ours. False: there was one already."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Writes or overwrites; durable when it returns."""
        ...

    def get(self, key: str) -> bytes:
        """Raises NotFoundError."""
        ...

    def get_range(self, key: str, offset: int, length: int) -> bytes | memoryview:
        """Up to *length* bytes from *offset* on, as they came: to copy megabytes costs more than to receive them.
        Raises NotFoundError."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes of an object; None when there is none."""
        ...

    def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """The sorted names directly below *prefix* ("a/b"), above *after*."""
        ...

    def first(self, prefix: str) -> str | None:
        """The first key, in order, anywhere below *prefix*; None when there is none."""
        ...

    def delete(self, key: str) -> None:
        """Absent is fine."""
        ...

    def adopt(self, path: Path, key: str, sent: Sent | None = None) -> None:
        """Makes a whole, synced local file an object. Idempotent for one and the same file.

        A store that is far adds to *sent* what that takes.
        """
        ...


def get_decoded(backend: Backend, key: str, decode: Callable[[bytes], T]) -> T:
    """What *decode* makes of an object; one that it refuses is got once more, as it may have been damaged on the way.

    Raises NotFoundError, and DamageError when the second one is no better.
    """
    try:
        return decode(backend.get(key))
    except DamageError:
        return decode(backend.get(key))
