"""Which store a program uses, and what it keeps of it. May import: session, store. Thread-safe; fork-safe."""

import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from volfs.exception import ExecutionError
from volfs.format.names import check_environment
from volfs.sdk.session import Session
from volfs.store.options import options_from_env
from volfs.store.store import Store, default_store, normal_url, open_store
from volfs.store.volumes import Volume as VolumeRecord

_THREADS = 4  # reads and hashes of one operation that run beside each other


class Client:
    """A store and an environment of names. Every function of `Volume` takes one as `client=`.

    *store* is a directory or URL, by default `$VOLFS_STORE`, else the user's own; *environment* by default
    `$VOLFS_ENVIRONMENT`, else `main`. For a store that is not local, *timeout_s* bounds each request with its retries
    (0: for ever), *cache_dir* and *cache_size* ("20G") are those of the cache on local disk.

    Usable from many threads at once; after a fork, by the child, too, but for an object store that was used before it.
    Raises InvalidError for a bad URL, environment or size; the store itself is opened when it is first used.
    """

    _shared: ClassVar[dict[tuple[str, str], "Client"]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        *,
        environment: str | None = None,
        timeout_s: float | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_size: str | None = None,
    ) -> None:
        self.url, self.environment = _names(store, environment)
        directory = os.fspath(cache_dir) if cache_dir is not None else None
        self._options = options_from_env(timeout_s=timeout_s, cache_dir=directory, cache_size=cache_size)
        self._store: Store | None = None
        self._closed = False
        self._reset()
        _clients.add(self)

    def _reset(self) -> None:
        """Forgets what a forked child must not share: threads, locks that they may hold, claimed inode numbers."""
        self._mutex = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._pool: ThreadPoolExecutor | None = None

    @classmethod
    def from_env(cls) -> "Client":
        """The client of `$VOLFS_STORE` and `$VOLFS_ENVIRONMENT`, one and the same as long as these are."""
        return cls.shared()

    @classmethod
    def shared(cls, store: str | os.PathLike[str] | None = None, *, environment: str | None = None) -> "Client":
        """This process's one client of a store and environment, which are named as to `Client`."""
        key = _names(store, environment)
        with cls._lock:
            found = cls._shared.get(key)
            if found is None or found._closed:
                found = cls._shared[key] = cls(key[0], environment=key[1])
            return found

    def __repr__(self) -> str:
        return f"volfs.Client({self.url!r}, environment={self.environment!r})"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Ends its threads and closes its files; using it afterwards is an ExecutionError. Twice is fine."""
        with self._mutex:
            self._closed = True
            pool, self._pool = self._pool, None
            self._sessions.clear()
        if pool is not None:
            pool.shutdown()
        if self._store is not None:
            self._store.close()

    def store(self, *, create: bool = False) -> Store:
        """The opened store. Raises NotFoundError (there is none, and *create* is False), StoreError, ExecutionError."""
        if self._closed:
            raise ExecutionError("this volfs.Client is closed; make another one")
        if self._store is None:
            self._store = open_store(self.url, create=create, options=self._options)
        return self._store

    def session(self, volume: VolumeRecord) -> Session:
        """What this process keeps of one volume."""
        store = self.store()
        with self._mutex:
            found = self._sessions.get(volume.id)
            if found is None:
                found = self._sessions[volume.id] = Session(store, volume, self.threads)
            return found

    def threads(self) -> ThreadPoolExecutor:
        """For reads and hashes beside the caller's own."""
        with self._mutex:
            if self._closed:
                raise ExecutionError("this volfs.Client is closed; make another one")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="volfs")
            return self._pool


def _names(store: str | os.PathLike[str] | None, environment: str | None) -> tuple[str, str]:
    url = normal_url(os.fspath(store) if store is not None else default_store())
    return url, check_environment(environment or os.environ.get("VOLFS_ENVIRONMENT") or "main")


_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _after_fork() -> None:
    Client._lock = threading.Lock()
    for client in list(_clients):
        client._reset()


os.register_at_fork(after_in_child=_after_fork)
