"""open(2) and reloads that meet it: the kernel looks a path up again once, so two of them must not. Without a mount."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from pyfuse3 import ROOT_INODE, FUSEError

from tests.view.mounted import Mounted, new_volume
from volfs.fuse.operations import Operations
from volfs.view.reload import Kernel, reload


class Side:
    """A view that is reloaded beneath callers, and another that makes the versions of file `f`."""

    def __init__(self, path: Path) -> None:
        store, volume = new_volume(path)
        self._writer = Mounted(store, volume, path, "writer")
        self._reader = Mounted(store, volume, path, "reader")
        self.view = self._reader.view
        self.operations = Operations(self.view, lambda name, ctx: trio.sleep_forever(), None)
        self.kernel = Kernel(
            lambda: None, list, lambda changes: None, lambda paths: None, self.operations.retries.wait_ended
        )

    async def version(self, number: int, *, anew: bool = False) -> None:
        if anew:
            await self._writer.write("new", b"%d" % number)
            await self._writer.rename("new", "f")
        else:
            await self._writer.write("f", b"%d" % number * number)
        await self._writer.commit()

    async def reload(self) -> None:
        await reload(self.view, self.kernel, discard=False)

    async def look(self, thread: int) -> int:
        """The inode number that the kernel is told, 0 for none."""
        return int((await self.operations.lookup(ROOT_INODE, b"f", _context(thread))).st_ino)

    async def open(self, ino: int, thread: int) -> int:
        """0, or the errno."""
        try:
            await self.operations.open(ino, os.O_RDONLY, _context(thread))
        except FUSEError as error:
            return int(error.errno)
        await self.operations.release(ino)
        return 0


def _context(thread: int) -> Any:
    return SimpleNamespace(uid=0, gid=0, pid=thread, umask=0)


def run(path: Path, main: Callable[[Side], Awaitable[None]]) -> None:
    async def started() -> None:
        side = Side(path)
        await side.version(1)
        await side.reload()
        await main(side)

    trio.run(started)


@pytest.mark.parametrize("anew", [False, True])
def test_a_reload_waits_for_an_open_that_the_one_before_sent_back(tmp_path: Path, *, anew: bool) -> None:
    async def main(side: Side) -> None:
        me = os.getpid()
        ino = await side.look(me)
        await side.version(2, anew=anew)
        await side.reload()
        assert await side.open(ino, me) == errno.ESTALE
        await side.version(3, anew=anew)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.reload)
            await trio.testing.wait_all_tasks_blocked()
            assert (side.view.gate, side.view.base.seq) == (None, 2)
            assert await side.open(await side.look(me), me) == 0
        assert side.view.base.seq == 3

    run(tmp_path, main)


def test_a_reload_waits_for_an_open_that_has_waited_for_the_one_before(tmp_path: Path) -> None:
    async def main(side: Side) -> None:
        me = os.getpid()
        ino = await side.look(me)
        await side.version(2)
        arrived, told = threading.Event(), []
        first = replace(side.kernel, invalidate=lambda changes: arrived.wait(20))

        async def open_twice() -> None:
            told.append(await side.open(ino, me))
            told.append(await side.open(await side.look(me), me))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: reload(side.view, first, discard=False))
            while side.view.gate is None or not side.view.gate.swapped.is_set():
                await trio.lowlevel.checkpoint()
            await side.version(3)
            nursery.start_soon(side.reload)
            nursery.start_soon(open_twice)
            await trio.testing.wait_all_tasks_blocked()
            arrived.set()
        assert (told, side.view.base.seq) == ([errno.ESTALE, 0], 3)

    run(tmp_path, main)


def test_an_open_that_meets_two_reloads_at_once_is_sent_back_after_both(tmp_path: Path) -> None:
    async def main(side: Side) -> None:
        me = os.getpid()
        ino = await side.look(me)
        await side.version(2)
        await side.reload()
        await side.version(3)
        arrived, told = threading.Event(), []
        second = replace(side.kernel, invalidate=lambda changes: arrived.wait(20))

        async def open_once() -> None:
            told.append(await side.open(ino, me))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: reload(side.view, second, discard=False))
            while side.view.gate is None or not side.view.gate.swapped.is_set():
                await trio.lowlevel.checkpoint()
            nursery.start_soon(open_once)
            await trio.testing.wait_all_tasks_blocked()
            assert told == []
            arrived.set()
        assert (told, await side.open(await side.look(me), me)) == ([errno.ESTALE], 0)

    run(tmp_path, main)


@pytest.mark.parametrize("ended", ["killed", "gone", "refused"])
def test_a_reload_does_not_wait_for_who_opens_no_more(tmp_path: Path, ended: str) -> None:
    async def main(side: Side) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            ino = await side.look(process.pid)
            await side.version(2)
            await side.reload()
            assert await side.open(ino, process.pid) == errno.ESTALE
            if ended == "gone":
                await side._writer.unlink("f")
                await side._writer.commit()
                side.operations.retries.end(process.pid)  # as it was seen without
        if ended == "refused":  # it lives, and what it had no right to was not asked of the daemon
            side.operations.retries.begin(os.getpid())
        await side.reload()
        assert not side.operations.retries._threads

    run(tmp_path, main)
