"""A local store that lets a test act, or fail, where a commit reads or puts an object."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from tests.view.mounted import new_volume
from volfs.exception import ServiceError
from volfs.store.local import Local
from volfs.store.packs import LocalPacks
from volfs.store.store import Store
from volfs.store.volumes import Volume


def nothing(key: str) -> None:
    """A hook that does nothing."""


def meanwhile(act: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """For a hook, made by the test's task: lets the view's thread do this, and waits for it."""
    token = trio.lowlevel.current_trio_token()
    return lambda: trio.from_thread.run(act, trio_token=token)


class Faulty(Local):
    """The hooks are given keys of commits, `before_adopt` those of packs, in the thread that asks. What they raise goes
    up."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.before_get: Callable[[str], None] = nothing
        self.before_put: Callable[[str], None] = nothing
        self.after_put: Callable[[str], None] = nothing
        self.before_adopt: Callable[[str], None] = nothing
        self.holds_puts = False  # those of commits are under way for longer than who asks waits
        self._held: list[tuple[str, bytes]] = []

    def land(self) -> None:
        """What is held arrives, in order."""
        for key, data in self._held:
            super().put_if_absent(key, data)
        self._held.clear()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        is_commit = "/commits/" in key
        if is_commit:
            self.before_put(key)
            if self.holds_puts:
                self._held.append((key, data))
                raise ServiceError("the store does not answer")
        done = super().put_if_absent(key, data)
        if is_commit:
            self.after_put(key)
        return done

    def get(self, key: str) -> bytes:
        if "/commits/" in key:
            self.before_get(key)
        return super().get(key)

    def adopt(self, path: Path, key: str) -> None:
        self.before_adopt(key)
        super().adopt(path, key)


def faulty_volume(path: Path) -> tuple[Faulty, Store, Volume]:
    """A new volume in a store whose backend can be made to fail."""
    store, volume = new_volume(path)
    assert isinstance(store.backend, Local)
    backend = Faulty(store.backend.root)
    return backend, Store(backend, lambda work, family: LocalPacks(backend, work, family)), volume
