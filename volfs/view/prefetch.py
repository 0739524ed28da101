"""A mount's snapshot comes into the cache while nobody waits for it. May import: view, warming, tree, trio.

Few threads of its own, so that requests find some free; after each batch the walk rests as long as it took.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import trio

from volfs.exception import Error, ServiceError
from volfs.format.entry import Inode
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.references import references
from volfs.view.blocks import Nodes
from volfs.view.view import View
from volfs.view.warming import Warmed, Warming

_log = logging.getLogger("volfs")

METADATA, ALL = "metadata", "all"
_NODES_BYTES = 2 << 20  # of memory: each is opened once
_THREADS = 4  # of the 12 fetches that a store makes at once
_AGAIN_S = 10.0


class Prefetch:
    """*what*: METADATA (the tree's nodes), ALL (blocks, too), or "" for nothing. Begins when it is woken."""

    def __init__(self, view: View, what: str) -> None:
        self._view = view
        self._what = what
        self._due = trio.Event()
        self._whole: tuple[Root, Inode] | None = None  # the last that is all there
        self._warmed = Warmed()
        self._running = False

    def wake(self) -> None:
        """There is something to fetch: a mount that answers now, a new base."""
        self._due.set()

    def told(self) -> dict[str, Any]:
        """For status."""
        running = bool(self._what) and not self._view.store.is_local and (self._running or self._due.is_set())
        return {"what": self._what, "running": running, **msgspec.to_builtins(self._warmed)}

    async def run(self) -> None:
        """Until cancelled, which waits for no store. Does nothing on a store that is not far."""
        if not self._what or self._view.store.is_local:
            return
        while True:
            await self._due.wait()
            self._due = trio.Event()
            self._running = True
            try:
                await self._fetch()
            except (Error, OSError) as error:
                _log.warning("prefetch: %s", error)
                if isinstance(error, ServiceError):  # what came is kept, and walked over the next time
                    await trio.sleep(_AGAIN_S)
                    self._due.set()
            finally:
                self._running = False

    async def _fetch(self) -> None:
        ended, due = threading.Event(), self._due
        root = self._view.core.inodes.root
        try:
            # Abandoned when the mount ends: it changes nothing but the cache.
            await trio.to_thread.run_sync(
                lambda: self._bring(root, lambda: not ended.is_set() and not due.is_set()), abandon_on_cancel=True
            )
        finally:
            ended.set()

    def _bring(self, root: Root, go_on: Callable[[], bool]) -> None:
        """In a thread. Ends early when a newer root is due."""
        view = self._view
        load = Nodes(view.core.blocks, _NODES_BYTES).load
        inode = lookup.walk(load, root, view.options.sub_path)
        if inode is None:
            return
        before = None
        if self._whole is not None and self._whole[0].links == root.links:
            before = self._whole[1]
        worked = time.thread_time()

        def rest() -> bool:
            nonlocal worked
            time.sleep(time.thread_time() - worked)
            worked = time.thread_time()
            return go_on()

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="volfs-prefetch") as threads:
            warming = Warming(view.core.blocks, threads, view.store.cache_bytes)
            self._warmed = warming.done
            if warming.run(references(load, root, inode, before, blocks=self._what == ALL), rest):
                self._whole = root, inode
