"""Opens a store by its URL. May import: local, packs, places, keys."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from volfs.exception import DamageError, InvalidError, NotFoundError, StoreError
from volfs.store import keys
from volfs.store.backend import Backend
from volfs.store.local import Local
from volfs.store.packs import LocalPacks, Packs
from volfs.store.places import work_dir

FORMAT = "volfs-store"
VERSION = 1


class _StoreFile(msgspec.Struct):
    format: str
    version: int


class Store:
    """An opened store. `work` is the local directory where segments grow until they are packs of it."""

    def __init__(self, backend: Backend, packs: Callable[[str], Packs]) -> None:
        self.backend = backend
        self.packs = packs
        self.work = work_dir(backend.url)

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
    return f"file://{_local_path(url)}"


def open_store(url: str, *, create: bool = True) -> Store:
    """Raises InvalidError, NotFoundError (and *create* is False), StoreError."""
    path = _local_path(url)
    backend = Local(path)
    store = Store(backend, lambda family: LocalPacks(backend, store.work, family))
    try:
        return _checked(store)
    except NotFoundError:
        if not create:
            raise NotFoundError(f"no volfs store at {path}; create a volume first, or check --store") from None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the store {path}: {error.strerror}") from error
    if any(entry.name != "tmp" for entry in path.iterdir()):
        raise StoreError(f"{path} is not a volfs store and not empty; name another directory with --store")
    backend.put_if_absent(keys.STORE, json.dumps({"format": FORMAT, "version": VERSION}).encode() + b"\n")
    return _checked(store)


def _checked(store: Store) -> Store:
    data = store.backend.get(keys.STORE)
    try:
        found = msgspec.json.decode(data, type=_StoreFile)
    except msgspec.DecodeError as error:
        raise DamageError(f"{store.url}/{keys.STORE} cannot be read: {error}") from error
    if found.format != FORMAT:
        raise StoreError(f"{store.url} is not a volfs store")
    if found.version != VERSION:
        raise StoreError(f"{store.url} has format version {found.version}; this volfs knows {VERSION}: upgrade it")
    return store


def _local_path(url: str) -> Path:
    if "://" in url:
        parts = urlsplit(url)
        if parts.scheme != "file":
            raise InvalidError(f"store {url!r}: '{parts.scheme}' is not supported; use file:///path")
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InvalidError(f"store {url!r}: a local store is named file:///absolute/path")
        url = unquote(parts.path)
    if not url:
        raise InvalidError("the store has an empty name; use file:///path")
    return Path(os.path.realpath(url))
