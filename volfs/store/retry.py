"""How long a store is tried, and what its errors mean. May import: exception. Thread-safe.

Every request of volfs may be repeated: objects are put whole and never change, and a put-if-absent that finds its own
object, whose answer was lost, is told apart by who made it.
"""

import random
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct
from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from volfs.exception import NotFoundError, ServiceError, StoreError

T = TypeVar("T")
_FIRST_S, _MOST_S = 0.1, 5.0  # pauses between attempts, doubled each time, with jitter
# Answers that no repetition changes, but for those of damage on the way. 404 of a bucket comes as "not found".
_PASSING = re.compile(r"XAmzContentSHA256Mismatch|BadDigest|IncompleteBody|RequestTimeout")
_FINAL = re.compile(r"status code: (400|401|403|405|411|413|501)|\b(InvalidBucketName|NoSuchBucket|AccessDenied)\b")
_SIGNS = re.compile(r"(?i)([?&](?:sig|[\w-]*signature|[\w-]*token|[\w-]*credential))=[^&\s\"')]+")


class Traffic(Struct, frozen=True):
    """Requests made, retries among them, and bytes of objects sent and received."""

    requests: int = 0
    retries: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


class Patience:
    def __init__(self, url: str, limit_s: float, check: Callable[[], None]) -> None:
        self._url = url
        self._limit_s = limit_s
        self._check = check  # whether a request may be made at all
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._requests = self._retries = self._sent = self._received = 0

    def run(self, verb: str, key: str, call: Callable[[], T], *, sent: int = 0) -> T:
        """What *call* returns. Raises NotFoundError, StoreError, ServiceError."""
        return self.run_again(verb, key, lambda again: call(), sent=sent)

    def run_again(self, verb: str, key: str, call: Callable[..., T], *, requests: int = 1, sent: int = 0) -> T:
        """The same; *call* is told by `again` whether it was tried before. *requests* and *sent* (bytes) are those of
        each try; what *call* finds out itself it tells to `count`."""
        self._check()
        start = time.monotonic()
        pause = _FIRST_S
        again = False
        while True:
            with self._lock:
                self._requests += requests
                self._retries += again
                self._sent += sent
            try:
                return call(again=again)
            except FileNotFoundError as error:
                raise NotFoundError(f"no object {key} in {self._url}") from error
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise StoreError(f"the store {self._url} refuses access: {_short(error)}") from error
            except Exception as error:
                if isinstance(error, NotFoundError | StoreError):
                    raise
                if _FINAL.search(str(error)) and not _PASSING.search(str(error)):
                    raise StoreError(f"the store {self._url} refuses {verb} of {key}: {_short(error)}") from error
                waited = time.monotonic() - start
                if self._ended.is_set() or (self._limit_s and waited + pause > self._limit_s):
                    raise ServiceError(
                        f"the store {self._url} is away: {verb} of {key} failed for {waited:.0f} s: {_short(error)}"
                    ) from error
            self._ended.wait(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _MOST_S)
            again = True

    def count(self, requests: int, sent: int) -> None:
        with self._lock:
            self._requests += requests
            self._sent += sent

    def received(self, count: int) -> None:
        with self._lock:
            self._received += count

    def traffic(self) -> Traffic:
        with self._lock:
            return Traffic(self._requests, self._retries, self._sent, self._received)

    def end(self) -> None:
        self._ended.set()


def _short(error: Exception) -> str:
    """An error's text in one line, without the answer's body, and without what signs a request in its URL."""
    text = " ".join(str(error).split()).partition(" Debug source:")[0]
    text = re.sub(r"<\?xml.*?<Message>(.*?)</Message>.*", r"\1", text)
    return _SIGNS.sub(r"\1=...", text)[:300]
