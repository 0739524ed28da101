"""A view in-process: paths instead of inode numbers, every call retried when nodes are missing."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from volfs.store.store import Store, open_store
from volfs.store.volumes import Volume, create_volume
from volfs.tree.want import Missing
from volfs.view.core import Caller
from volfs.view.opening import open_view
from volfs.view.view import Options, View

ROOT = Caller(0, 0)
T = TypeVar("T")


def new_volume(path: Path) -> tuple[Store, Volume]:
    store = open_store(str(path / "store"))
    return store, create_volume(store, "main", "v", uid=0, gid=0)


class Mounted:
    """Takes the kernel's part: looks names up, keeps files open, forgets."""

    def __init__(
        self,
        store: Store,
        volume: Volume,
        path: Path,
        key: str,
        options: Options | None = None,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        state = path / f"{key}.json"
        self.view: View = open_view(store, volume, key, state, options or Options(), clock_ns=clock_ns)

    async def do(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except Missing as missing:
                await self.view.fetch(missing)

    async def find(self, path: str) -> int:
        ino = self.view.root_ino
        for name in filter(None, path.split("/")):
            here = ino
            ino = (await self.do(lambda h=here, n=name: self.view.names.lookup(h, os.fsencode(n)))).ino  # type: ignore[misc]
        return ino

    async def split(self, path: str) -> tuple[int, bytes]:
        above, _, name = path.rpartition("/")
        return await self.find(above), os.fsencode(name)

    async def open(self, path: str) -> int:
        """The number of a file that stays open until `close`."""
        ino = await self.find(path)
        await self.do(lambda: self.view.files.open(ino, os.O_RDWR, ROOT))
        return ino

    def close(self, ino: int) -> None:
        self.view.files.release(ino)

    def forget(self, ino: int) -> None:
        """The kernel drops what it knows of an inode."""
        self.view.forget(ino, 1 << 31)

    async def read_open(self, ino: int) -> bytes:
        attr = await self.do(lambda: self.view.names.getattr(ino))
        return await self.view.read(ino, 0, attr.size)

    async def mkdir(self, path: str) -> None:
        parent, name = await self.split(path)
        await self.do(lambda: self.view.names.mkdir(parent, name, 0o755, ROOT))

    async def write(self, path: str, data: bytes, offset: int = 0, *, truncate: bool = False) -> None:
        try:
            ino = await self.find(path)
            await self.do(lambda: self.view.files.open(ino, os.O_RDWR | (os.O_TRUNC if truncate else 0), ROOT))
        except FileNotFoundError:
            parent, name = await self.split(path)
            ino = (await self.do(lambda: self.view.files.create(parent, name, 0o644, os.O_RDWR, ROOT))).ino
        await self.do(lambda: self.view.files.write(ino, offset, data))
        self.view.files.release(ino)

    async def read(self, path: str) -> bytes:
        return await self.read_open(await self.find(path))

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        parent, name = await self.split(old)
        new_parent, new_name = await self.split(new)
        await self.do(lambda: self.view.names.rename(parent, name, new_parent, new_name, flags))

    async def unlink(self, path: str) -> None:
        parent, name = await self.split(path)
        await self.do(lambda: self.view.names.unlink(parent, name))

    async def rmdir(self, path: str) -> None:
        parent, name = await self.split(path)
        await self.do(lambda: self.view.names.rmdir(parent, name))

    async def link(self, old: str, new: str) -> None:
        ino = await self.find(old)
        parent, name = await self.split(new)
        await self.do(lambda: self.view.names.link(ino, parent, name))

    async def truncate(self, path: str, size: int) -> None:
        ino = await self.find(path)
        await self.do(lambda: self.view.attributes.setattr(ino, size=size, caller=ROOT))

    async def tree(self) -> dict[str, bytes | None]:
        """Every path with its content, None for directories."""
        found: dict[str, bytes | None] = {}

        async def walk(ino: int, prefix: str) -> None:
            handle = await self.do(lambda: self.view.listing.opendir(ino))
            cookie, names = 0, list[str]()
            while page := await self.do(lambda c=cookie: self.view.listing.readdir(handle, c, 7)):  # type: ignore[misc]
                names += [os.fsdecode(name) for name, _, _ in page if name not in (b".", b"..")]
                cookie = page[-1][1]
            self.view.listing.releasedir(handle)
            assert len(names) == len(set(names))
            for name in names:
                child = await self.do(lambda n=name: self.view.names.lookup(ino, os.fsencode(n)))  # type: ignore[misc]
                if child.mode & 0o170000 == 0o040000:
                    found[prefix + name] = None
                    await walk(child.ino, f"{prefix}{name}/")
                else:
                    found[prefix + name] = await self.view.read(child.ino, 0, child.size)

        await walk(self.view.root_ino, "")
        return found

    async def commit(self) -> int | None:
        return (await self.view.commit("", lambda: None)).seq
