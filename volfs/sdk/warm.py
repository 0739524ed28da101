"""Fills this host's cache with what will be read. May import: session, reading, view.warming, tree. Blocks."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from volfs.sdk.session import Snapshot
from volfs.tree.draft import Path
from volfs.tree.references import references
from volfs.view.warming import Warmed, Warming

_AT_ONCE = 12  # what a store fetches at once


def warm(snapshot: Snapshot, paths: Iterable[Path], progress: Callable[[int, int], None] = lambda *_: None) -> Warmed:
    """Brings all nodes and blocks at and below *paths* into the cache; a symbolic link that is named is followed.

    On a local store there is nothing to do. *progress* is given the files and bytes looked at since its last call.
    Raises NotFoundError before anything is fetched, DamageError, ServiceError, and ExecutionError when the cache cannot
    hold it all; what was fetched stays.
    """
    session, root = snapshot.session, snapshot.root
    if session.store.is_local:
        return Warmed()
    found = [snapshot.find(path, follow=True) for path in paths]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="volfs-warm") as threads:
        warming = Warming(session.blocks, threads, session.store.cache_bytes)
        done = warming.done
        told = (0, 0)
        before = session.store.use()["received_bytes"]

        def tell() -> bool:
            nonlocal told
            progress(done.files - told[0], done.bytes - told[1])
            told = done.files, done.bytes
            return True

        for inode in found:
            warming.run(references(session.load, root, inode, blocks=True), tell)
    done.fetched_bytes = session.store.use()["received_bytes"] - before
    return done
