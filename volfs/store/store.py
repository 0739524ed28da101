"""Opens a store by its URL. May import: location, backends, packs, places, keys."""

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from volfs.exception import NotFoundError, StoreError
from volfs.format.note import decode_note, encode_note
from volfs.store import keys
from volfs.store.backend import Backend, get_decoded
from volfs.store.durable import make_directory
from volfs.store.local import Local
from volfs.store.location import Location, parse_url
from volfs.store.options import StoreOptions, options_from_env
from volfs.store.packs import LocalPacks, Packs
from volfs.store.places import default_cache_dir, work_dir

A = TypeVar("A")
B = TypeVar("B")

FORMAT = "volfs-store"
VERSION = 1


class _StoreFile(msgspec.Struct):
    format: str
    version: int


class Store:
    """An opened store. `work` is the local directory where segments grow until they are packs of it."""

    def __init__(
        self,
        backend: Backend,
        packs: Callable[[Path, str], Packs],
        close: Callable[[], None] = lambda: None,
        use: Callable[[], dict[str, Any]] = dict,
        cache_bytes: int = 0,
    ) -> None:
        self.backend = backend
        self.work = work_dir(backend.url)
        self._packs = packs
        self.close = close
        self.use = use  # requests made and what the cache did, for status
        self.cache_bytes = cache_bytes  # its bound; 0: there is no cache

    @property
    def is_local(self) -> bool:
        return isinstance(self.backend, Local)

    def beside(self, one: Callable[[], A], other: Callable[[], B]) -> tuple[A, B]:
        """The results of two calls that ask the store: made at once where it is far. Raises what they raise."""
        if self.is_local:
            return one(), other()
        with ThreadPoolExecutor(1, thread_name_prefix="volfs-beside") as thread:
            later = thread.submit(other)
            return one(), later.result()

    def packs(self, family: str) -> Packs:
        return self._packs(self.work, family)

    @property
    def url(self) -> str:
        return self.backend.url


def default_store() -> str:
    """$VOLFS_STORE, else /var/lib/volfs/store for root and $XDG_DATA_HOME/volfs/store for others."""
    given = os.environ.get("VOLFS_STORE")
    if given:
        return given
    if os.geteuid() == 0:
        return "/var/lib/volfs/store"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(data, "volfs", "store")


def normal_url(url: str) -> str:
    """The one form of a store's URL. Raises InvalidError for what is none."""
    return parse_url(url).url


def open_store(url: str, *, create: bool = True, options: StoreOptions | None = None) -> Store:
    """Raises InvalidError, NotFoundError (and *create* is False), StoreError, ServiceError."""
    store = connect(url, options)
    backend = store.backend
    try:
        return checked(store)
    except NotFoundError:
        if not create:
            raise NotFoundError(f"no volfs store at {store.url}; create a volume first, or check --store") from None
    if isinstance(backend, Local):
        _make_directory(backend.root)
    if not store.is_local:
        _check_exclusive(backend)
    backend.put_if_absent(keys.STORE, encode_note(_StoreFile(FORMAT, VERSION)))
    return checked(store)


def _check_exclusive(backend: Backend) -> None:
    """Raises StoreError where a put overwrites what should be absent. Before there is a store: it would be used by
    whoever comes next."""
    key = f"doctor/{os.urandom(8).hex()}"
    backend.put_if_absent(key, b"")
    overwritten = backend.put_if_absent(key, b"")
    backend.delete(key)
    if overwritten:
        raise StoreError(
            f"the store {backend.url} cannot put an object only if it is absent (If-None-Match); commits need that: use"
            " a store, or a newer version of this one, that can"
        )


def connect(url: str, options: StoreOptions | None = None) -> Store:
    """Without asking whether there is a store. Raises InvalidError."""
    location = parse_url(url)
    if location.scheme == "file":
        return _local(Path(location.path))
    return _remote(location, options or options_from_env())


def _local(path: Path) -> Store:
    backend = Local(path)
    return Store(backend, lambda work, family: LocalPacks(backend, work, family))


def _remote(location: Location, options: StoreOptions) -> Store:
    # Not imported for a local store: obstore costs 55 ms of each start.
    remote = importlib.import_module("volfs.store.remote")
    packs = importlib.import_module("volfs.store.remote_packs")
    caching = importlib.import_module("volfs.store.cache")
    backend = remote.Remote(location, options.timeout_s)
    directory = options.cache_dir or default_cache_dir()
    cache = caching.Cache(directory, options.cache_bytes or caching.default_limit(directory))
    fetches = packs.Fetches()

    def close() -> None:
        backend.close()
        fetches.close()

    def use() -> dict[str, Any]:
        return {**msgspec.to_builtins(backend.patience.traffic()), "cache": msgspec.to_builtins(cache.use())}

    def far(work: Path, family: str) -> Packs:
        found: Packs = packs.RemotePacks(backend, cache, fetches, work, family)
        return found

    return Store(backend, far, close, use, cache.limit_bytes)


def _make_directory(path: Path) -> None:
    try:
        make_directory(path)
    except OSError as error:
        raise StoreError(f"cannot make the store {path}: {error.strerror}") from error
    # Looked for last: where another program has just made the store, it is there before anything else.
    if any(entry.name != "tmp" for entry in path.iterdir()) and not (path / keys.STORE).exists():
        raise StoreError(f"{path} is not a volfs store and not empty; name another directory with --store")


def checked(store: Store) -> Store:
    """It, if a store of ours is there. Raises NotFoundError, StoreError, DamageError, ServiceError."""
    found = get_decoded(
        store.backend, keys.STORE, lambda data: decode_note(data, _StoreFile, f"{store.url}/{keys.STORE}")
    )
    if found.format != FORMAT:
        raise StoreError(f"{store.url} is not a volfs store")
    if found.version != VERSION:
        raise StoreError(f"{store.url} has format version {found.version}; this volfs knows {VERSION}: upgrade it")
    return store
