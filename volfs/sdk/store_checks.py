"""Whether a store does what volfs needs of one, tried on objects of our own. May import: findings, store. Blocks.

They lie below `doctor/<random>/`, which nothing else uses, and are gone afterwards.
"""

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec.structs import replace

from volfs.exception import Error, NotFoundError, ServiceError
from volfs.sdk.findings import Finding, failed, ok, plain, tried, warning
from volfs.store import keys
from volfs.store.backend import Backend
from volfs.store.local import Local
from volfs.store.options import StoreOptions
from volfs.store.remote import Remote
from volfs.store.store import Store, checked, connect

_LIMIT_S = 5.0  # a request with its retries: who asks what is wrong does not wait a minute
_RACERS = 16
_GETS = 15
_BULK_BYTES = 4 << 20
_SLOW_GET_S = 0.2
_SLOW_BYTES_S = 5 << 20
_CLOCK_S = 5.0
_METADATA = ("169.254.169.254", "metadata.google")  # asked by the clouds' chains when nothing else has credentials
_NO_RACE = "commits need this: use a store, or a newer version of this one, that knows If-None-Match"
_UNSOUND = "volfs needs a store that shows at once what was written; use another one"


def check_store(url: str, options: StoreOptions) -> Iterator[Finding]:
    """A finding for each thing looked at, as soon as it is known; ends with the first without which the next make no
    sense. Raises nothing for what is wrong with the store."""
    try:
        store = connect(url, replace(options, timeout_s=min(options.timeout_s or _LIMIT_S, _LIMIT_S)))
    except Error as error:
        yield failed("store", plain(error), "name it as in docs/stores.md")
        return
    try:
        yield from _reached(store)
    finally:
        store.close()


def _reached(store: Store) -> Iterator[Finding]:
    backend = store.backend
    if isinstance(backend, Local) and not os.path.exists(backend.root):
        yield _absent(backend.root)
        return
    try:
        backend.get(keys.STORE)
    except NotFoundError:
        pass
    except (Error, OSError) as error:
        yield _refused(error)
        return
    try:
        checked(store)
    except NotFoundError:
        if isinstance(backend, Local) and any(entry.name not in ("tmp", "doctor") for entry in backend.root.iterdir()):
            yield failed("store", f"{store.url} is not a volfs store and not empty", "name another with --store")
            return
        yield ok("store", f"{store.url} answers; there is no volfs store yet: the first `volfs create` makes it")
    except (Error, OSError) as error:
        yield failed("store", plain(error), "name another one with --store, or upgrade volfs")
        return
    else:
        yield ok("store", f"{store.url} answers")
    prefix = f"doctor/{os.urandom(8).hex()}"
    try:
        yield from _probed(backend, prefix)
    finally:
        _clean(backend, prefix)


def _absent(path: Path) -> Finding:
    above = next(parent for parent in path.parents if os.path.exists(parent))
    if not os.access(above, os.W_OK | os.X_OK):
        return failed("store", f"{path} is not there, and {above} cannot be written", "name another with --store")
    return ok("store", f"{path} is not there yet; the first `volfs create` makes it")


def _refused(error: Exception) -> Finding:
    text = plain(error)
    if any(host in text for host in _METADATA):
        return failed("credentials", "none found in the environment", "set them as docs/stores.md says for each cloud")
    if isinstance(error, ServiceError):
        return failed("store", text, "check the network, the URL's endpoint and region, and that the server runs")
    if "TimeTooSkewed" in text:
        return failed("clock", text, "set this host's clock, with NTP: timedatectl set-ntp true")
    return failed("credentials", text, "check the credentials in the environment, and what they may do there")


def _probed(backend: Backend, prefix: str) -> Iterator[Finding]:
    try:
        before = time.time()
        backend.put(f"{prefix}/first", b"volfs doctor\n")
        after = time.time()
    except NotFoundError:
        yield failed("store", f"there is no bucket or container for {backend.url}", "make it, or correct --store")
        return
    except (Error, OSError) as error:
        yield _refused(error)
        return
    yield ok("credentials", "accepted: may read and write" if isinstance(backend, Remote) else "may read and write")
    checks: tuple[tuple[str, Callable[[], Finding], str], ...] = (
        ("put-if-absent", lambda: _race(backend, f"{prefix}/race"), _NO_RACE),
        ("read-after-write", lambda: _reads(backend, f"{prefix}/read"), _UNSOUND),
        ("list-after-write", lambda: _lists(backend, f"{prefix}/list"), _UNSOUND),
        ("latency", lambda: _latency(backend, f"{prefix}/first"), "check the network to the store"),
        ("throughput", lambda: _throughput(backend, f"{prefix}/bulk"), "check the network to the store"),
        ("clock", lambda: _clock(backend, f"{prefix}/first", before, after), "check that objects may be looked at"),
    )
    for name, call, advice in checks:
        yield from tried(name, call, advice)


def _race(backend: Backend, key: str) -> Finding:
    start = threading.Barrier(_RACERS)

    def put(n: int) -> bool:
        start.wait()
        return backend.put_if_absent(key, b"%d" % n)

    with ThreadPoolExecutor(_RACERS) as threads:
        won = list(threads.map(put, range(_RACERS)))
    kept = int(backend.get(key))
    if sum(won) > 1 or backend.put_if_absent(key, b"late"):
        text = f"the store overwrites what is there: {sum(won)} of {_RACERS} puts at once were each the first"
        return failed("put-if-absent", text, _NO_RACE)
    if not sum(won):  # it was put, its answer got lost, and the repetition found it
        return warning("put-if-absent", "the answer of the first put got lost", "run this again")
    if not won[kept]:
        return failed("put-if-absent", "the store kept another object than the one it said was first", _NO_RACE)
    return ok("put-if-absent", f"exclusive: of {_RACERS} puts at once one was first")


def _reads(backend: Backend, key: str) -> Finding:
    for n in range(5):
        data = os.urandom(100)
        backend.put(key, data)
        if backend.get(key) != data:
            return failed("read-after-write", f"write {n + 1} of an object was not there when it was read", _UNSOUND)
    backend.delete(key)
    try:
        backend.get(key)
    except NotFoundError:
        return ok("read-after-write", "what was written, or deleted, is so when it is read")
    return failed("read-after-write", "a deleted object was still there", _UNSOUND)


def _lists(backend: Backend, prefix: str) -> Finding:
    names = [f"{n:03}" for n in range(5)]
    for i in reversed(range(len(names))):  # as commits: the newest name is the first of the listing
        backend.put(f"{prefix}/{names[i]}", b"")
        if backend.children(prefix) != names[i:] or backend.first(prefix) != f"{prefix}/{names[i]}":
            return failed("list-after-write", "an object just written was missing from the listing", _UNSOUND)
    for name in names:
        backend.delete(f"{prefix}/{name}")
    if backend.first(prefix) is not None:
        return failed("list-after-write", "a deleted object was still listed", _UNSOUND)
    return ok("list-after-write", "what was written, or deleted, is so when it is listed")


def _latency(backend: Backend, key: str) -> Finding:
    taken = [_seconds(lambda: backend.get(key)) for _ in range(_GETS)]
    median = statistics.median(taken)
    text = f"a get takes {median * 1000:.1f} ms (median of {_GETS}, most {max(taken) * 1000:.1f} ms)"
    if median > _SLOW_GET_S:
        return warning("latency", text, "a mount or commit takes about four requests: use a store that is nearer")
    return ok("latency", text)


def _throughput(backend: Backend, key: str) -> Finding:
    data = os.urandom(_BULK_BYTES)
    advice = "large files will be slow: use a store that is nearer, or `volfs warm`"
    try:
        put = _BULK_BYTES / _seconds(lambda: backend.put(key, data))
        get = _BULK_BYTES / _seconds(lambda: backend.get(key))
    except ServiceError:
        return warning("throughput", f"{_BULK_BYTES >> 20} MiB take longer than {_LIMIT_S / 2:.1f} s", advice)
    text = f"put {put / 2**20:.0f} MiB/s, get {get / 2**20:.0f} MiB/s ({_BULK_BYTES >> 20} MiB, one request each)"
    if min(put, get) < _SLOW_BYTES_S:
        return warning("throughput", text, advice)
    return ok("throughput", text)


def _clock(backend: Backend, key: str, before: float, after: float) -> Finding:
    """The object was put between these two times of ours."""
    if not isinstance(backend, Remote):
        return ok("clock", "the store is on this host")
    at = backend.modified(key)
    off = before - (at + 1) if at + 1 < before else min(after - at, 0)  # stores tell whole seconds
    if abs(off) > _CLOCK_S:
        text = f"this host's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the store's"
        return warning("clock", text, "set it, with NTP: timedatectl set-ntp true; a store refuses requests 15 min off")
    return ok("clock", f"within {_CLOCK_S:.0f} s of the store's")


def _seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return max(time.monotonic() - start, 1e-9)


def _clean(backend: Backend, prefix: str) -> None:
    with contextlib.suppress(Error, OSError):  # a store that has gone away keeps a few small objects
        while (key := backend.first(prefix)) is not None:
            backend.delete(key)
    if isinstance(backend, Local):
        for path in (f"{prefix}/list", prefix, "doctor"):
            with contextlib.suppress(OSError):
                os.rmdir(backend.root / path)


