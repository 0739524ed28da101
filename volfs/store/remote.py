"""Objects in S3, Google Cloud Storage or Azure, through obstore.

May import: backend, location, slots, retry, exception.

Blocking and thread-safe: obstore's async calls need asyncio. Does not survive a fork: a request in the child of a
process that has made one hangs for ever.
"""

import itertools
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError as ObjectExists
from obstore.store import from_url

from volfs.exception import ExecutionError, InvalidError
from volfs.store.backend import Sent
from volfs.store.location import Location
from volfs.store.retry import Patience
from volfs.store.slots import Slots

_PART_BYTES = 8 << 20  # of a multipart upload: one request
_PARTS_AT_ONCE = 4  # a bound of memory, too: parts are read whole; one after the other when that had failed
_UPLOADS_AT_ONCE = 4  # of whole packs, by a commit and in the background together
# A range that begins behind the object's end. The number alone is not enough: the text has the URL and the time taken.
_BEHIND = re.compile(r"status code: 416\b")
_ATTEMPT_S = 20.0  # one request; the limit of --store-timeout is for all its attempts


class _Process:
    """The process that has made requests. obstore's threads do not survive a fork, and with them no store does."""

    used_by = 0

    @classmethod
    def check(cls, url: str) -> None:
        """Raises ExecutionError in a forked child, where a request would hang for ever."""
        cls.used_by = cls.used_by or os.getpid()
        if cls.used_by != os.getpid():
            raise ExecutionError(
                f"{url}: an object store was used before this process was forked, and none can be used in the child;"
                ' start children with multiprocessing.get_context("spawn")'
            )


class Remote:
    """A backend. *limit_s* bounds a call with its retries; 0 waits for ever.

    Raises ServiceError after that, StoreError where the store refuses.
    """

    def __init__(self, location: Location, limit_s: float = 60.0) -> None:
        self._url = location.url
        self.patience = Patience(self._url, limit_s, lambda: _Process.check(self._url))
        self._uploads = Slots(_UPLOADS_AT_ONCE)
        options = dict(location.options)
        allow_http = options.pop("allow_http", "false") == "true"
        attempt = timedelta(seconds=min(_ATTEMPT_S, limit_s / 2) if limit_s else _ATTEMPT_S)
        base = f"{location.scheme}://{location.bucket}/{location.path}"
        config: dict[str, Any] = {_NAMES.get(name, name): value for name, value in options.items()}
        _Process.check(self._url)
        make: Any = from_url  # typed by cloud; the scheme says which
        try:
            self._store: Any = make(
                base,
                config=config,
                client_options={
                    "allow_http": allow_http,
                    "timeout": attempt,
                    "connect_timeout": timedelta(seconds=5),
                    "user_agent": "volfs",
                },
                # Short hiccups within a multipart upload; the rest is Patience's, which knows what may be repeated.
                retry_config={"max_retries": 3, "retry_timeout": attempt},
            )
        except Exception as error:
            raise InvalidError(f"store {self._url} cannot be used: {error}") from error

    @property
    def url(self) -> str:
        return self._url

    def put_if_absent(self, key: str, data: bytes) -> bool:
        def put() -> bool:
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except ObjectExists:
                return False
            return True

        return self.patience.run("put", key, put, sent=len(data))

    def put(self, key: str, data: bytes) -> None:
        self.patience.run("put", key, lambda: obstore.put(self._store, key, data, use_multipart=False), sent=len(data))

    def get(self, key: str) -> bytes:
        data = self.patience.run("get", key, lambda: bytes(obstore.get(self._store, key).bytes()))
        self.patience.received(len(data))
        return data

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        def get() -> memoryview:
            try:
                return memoryview(obstore.get_range(self._store, key, start=offset, length=length))
            except Exception as error:
                if _BEHIND.search(str(error)):
                    return memoryview(b"")
                raise

        data = self.patience.run("get", key, get)
        self.patience.received(len(data))
        return data

    def size(self, key: str) -> int | None:
        return self.patience.run("head", key, lambda: self._size(key))

    def children(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        def listed() -> list[str]:
            if limit is None and not after:
                found = obstore.list_with_delimiter(self._store, prefix)
                paths = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
                return sorted({_below(path, prefix) for path in paths})
            names = dict.fromkeys(_below(path, prefix) for path in self._keys(prefix, after))
            return list(itertools.islice((name for name in names if name > after), limit))

        return self.patience.run("list", prefix, listed)

    def first(self, prefix: str) -> str | None:
        return self.patience.run("list", prefix, lambda: next(self._keys(prefix, ""), None))

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        """All keys below, in order, a page at a time."""
        offset = f"{prefix}/{after}" if after else None
        for page in obstore.list(self._store, prefix, offset=offset, chunk_size=1000):
            yield from (item["path"] for item in page)

    def modified(self, key: str) -> float:
        """When it was put by the store's clock: seconds since 1970, often whole ones. Raises NotFoundError."""
        return self.patience.run("head", key, lambda: obstore.head(self._store, key)["last_modified"].timestamp())

    def delete(self, key: str) -> None:
        def delete() -> None:
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                return

        self.patience.run("delete", key, delete)

    def adopt(self, path: Path, key: str, sent: Sent | None = None) -> None:
        size = path.stat().st_size
        parts = -(-size // _PART_BYTES)

        def count(requests: int, sent_bytes: int) -> None:
            self.patience.count(requests, sent_bytes)
            if sent is not None:
                sent.add(requests, sent_bytes)

        def upload(*, again: bool) -> None:
            if again or parts > 1:
                count(1, 0)
                if self._size(key) == size:
                    return  # it had arrived before: its answer had not, or the commit that sent it failed
            count(parts + 2 if parts > 1 else 1, size)  # an upload in parts is begun and completed
            try:
                obstore.put(
                    self._store,
                    key,
                    path,
                    use_multipart=parts > 1,
                    chunk_size=_PART_BYTES,
                    max_concurrency=1 if again else _PARTS_AT_ONCE,
                )
            except FileNotFoundError as error:
                if not path.exists():
                    raise
                # The upload is no longer known: it was completed, and the answer to that lost.
                raise ConnectionError(str(error)) from error

        def upload_in_turn(*, again: bool) -> None:
            with self._uploads.one():
                upload(again=again)

        self.patience.run_again("put", key, upload_in_turn, requests=0)

    def _size(self, key: str) -> int | None:
        try:
            return int(obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Ends waiting for a store that is away: what waits raises ServiceError."""
        self.patience.end()


_NAMES = {"virtual_hosted_style": "virtual_hosted_style_request"}


def _below(path: str, prefix: str) -> str:
    """The name directly below a prefix."""
    return path[len(prefix) + 1 :].partition("/")[0]


