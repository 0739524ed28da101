"""After a crash: mounts again, and looks whether all is there that has to be. May import: history, workloads.

The daemon that mounts is a real one; commits are read in this process, which is ten times as fast as by a command.
"""

import contextlib
import json
import os
import signal
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.history import Node, Tree, read_tree
from tests.faults.workloads import Site
from volfs.control.registry import places
from volfs.exception import NotFoundError
from volfs.format.entry import Inode
from volfs.sdk.fsck import fsck
from volfs.sdk.session import Session, Snapshot
from volfs.store.store import open_store
from volfs.store.volumes import Volume, find_volume, list_volumes
from volfs.tree import lookup


def end(site: Site) -> None:
    """Nothing runs any more, nothing is mounted: as after a crash of all."""
    site.calls = None
    for point in reversed(site.mounts()):
        with contextlib.suppress(AssertionError, ProcessLookupError):
            os.kill(site.pid_of(Path(point)), signal.SIGKILL)
        subprocess.run(["umount", "-l", point], check=False)
    site.wait_unlocked()


def check(site: Site, first: int) -> None:
    """The view shows what it did after *first* steps or more; a commit is there entirely or not at all, and is if it
    was acknowledged; fsck is clean; changes, commits and an unmount work. Raises AssertionError."""
    end(site)
    if not site.alive:
        _deleted(site)
        return
    volume = _found(site)
    if volume is None:
        assert not site.made, "the volume is gone"
        head: Tree = {}
        name = "v"
    else:
        head = _checked(site, volume)
        name = volume.name
    assert head in (site.heads[max(site.heads)], site.pending), "the latest commit is none that was made"
    if len(site.names) > 1 or name != "v":
        site.run("create", (site.names - {name} or {"free"}).pop())
    site.run("mount", "--create", name, site.point)
    found = read_tree(site.point)
    _explained(site, found, head, first)
    (site.point / "again").write_bytes(b"again")
    assert json.loads(os.getxattr(site.point, "user.volfs.commit"))["seq"], "no commit was made"
    after = _checked(site, find_volume(open_store(site.url), "main", name))
    assert after.pop("again").data == b"again"
    theirs = {path: node for path, node in site.theirs.items() if head.get(path) == node}  # no view changes those
    assert after == {**found, **theirs}, "what was committed is not what the view shows"
    site.run("umount", site.point)
    assert not list(places(site.state)), "something is kept"
    assert not list(open_store(site.url).work.iterdir()), "something is left of the log"


def _found(site: Site) -> Volume | None:
    store = open_store(site.url, create=True)
    for name in sorted(site.names):
        try:
            return find_volume(store, "main", name)
        except NotFoundError:
            continue
    return None


def _explained(site: Site, found: Tree, head: Tree, first: int) -> None:
    history = site.history
    if not history.steps:  # nothing was done in the view: it shows the latest commit
        assert found == head, "the view is not the latest commit"
    elif history.explains(found, first) is None:
        # Nothing was left to be committed: then it shows what others have committed, too.
        own = {path: node for path, node in found.items() if path not in site.theirs}
        text = f"after {first} of {len(history.steps)} steps: {history.differences(found, first)}"
        assert found == head and history.explains(own, first) is not None, text


def _checked(site: Site, volume: Volume) -> Tree:
    """The latest commit; the volume is whole."""
    with ThreadPoolExecutor(2) as threads:
        session = Session(open_store(site.url), volume, lambda: threads)
        problems = fsck(session, data=True).problems
        assert not problems, f"fsck: {problems[0]}"
        return _tree_of(session.latest())


def _tree_of(snapshot: Snapshot) -> Tree:
    load, read = snapshot.session.load, snapshot.session.read
    found: Tree = {}

    def node(inode: Inode) -> Node:
        kind = "d" if inode.is_dir else "l" if stat.S_ISLNK(inode.mode) else "f"
        content = bytearray(inode.size if kind == "f" else 0)
        for extent in lookup.all_extents(load, inode):
            content[extent.offset : extent.end] = read(extent.ref, extent.at, extent.length)
        xattrs = tuple((os.fsdecode(key), value) for key, value in inode.xattrs)
        if kind == "l":
            return Node("l", inode.target)
        return Node(kind, bytes(content), stat.S_IMODE(inode.mode), xattrs)

    def walk(directory: Inode, prefix: str) -> None:
        for _, name, entry in lookup.scan(load, directory.top):
            inode = lookup.inode_of(load, snapshot.root, entry)
            path = prefix + os.fsdecode(name)
            found[path] = node(inode)
            if inode.is_dir:
                walk(inode, path + "/")

    walk(snapshot.root.dir, "")
    return found


def _deleted(site: Site) -> None:
    """Killed while the volume was deleted, made anew, deleted: its name can be used."""
    if site.run("create", "v", check=None).returncode:  # it was made anew before the kill
        site.run("delete", "--yes", "v")
        site.run("create", "v")
    (volume,) = list_volumes(open_store(site.url), "main")
    assert _checked(site, volume) == {}
