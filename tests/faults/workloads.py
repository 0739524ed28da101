"""What is done to a store while faults are made: short, always the same, and through each part that writes.

`prepare` runs without faults; `run` raises Died where a killed daemon or command stands in its way. Commands go through
`Site.volfs`, which may stop them at their calls.
"""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Host
from tests.faults.calls import Calls, Launcher
from tests.faults.history import History, Node, Tree
from volfs.control.registry import Place

_BLOCK = 128 << 10


class Died(Exception):
    """A daemon or a command was killed."""


class Site(Host):
    """`history` is that of the view at `point`; `heads` are the trees that commits may have, by number."""

    def __init__(self, path: Path, launcher: Launcher, url: str = "") -> None:
        super().__init__(path, url)
        self.launcher = launcher
        self.calls: Calls | None = None
        self.killed: Callable[[], bool] = lambda: self.calls is not None and self.calls.killed is not None
        self.patient = False  # what fails is told, and tried once more
        self.told: list[str] = []  # the failures
        self.point = path / "m"
        self.other = path / "o"
        self.history = History()
        self.heads: dict[int, Tree] = {0: {}}  # what was acknowledged
        self.pending: Tree | None = None  # of a commit that was not
        self.random = random.Random(7)
        self.on_answer: Callable[[], None] = lambda: None
        self.alive = True  # the volume was not deleted, nor is about to be
        self.made = False  # the volume was acknowledged
        self.names: set[str] = {"v"}  # one of them is the volume's
        self.theirs: Tree = {}  # files of other committers
        for point in (self.point, self.other):
            point.mkdir(parents=True, exist_ok=True)

    def volfs(self, *arguments: object, expect: int = 0) -> str:
        """One command, maybe with faults. Raises Died."""
        words = [str(argument) for argument in arguments]
        done = self.launcher.run(words, self.env, self.calls)
        self.on_answer()
        if self.killed():
            raise Died(done.stdout + done.stderr)
        if self.patient and done.returncode != expect:
            self._failed(done.stderr)
            if words[0] not in ("mount", "umount", "commit", "reload"):
                raise Died(done.stderr)
            done = self.launcher.run(words, self.env, self.calls)
        assert done.returncode == expect and "Traceback" not in done.stderr, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def kill(self, point: Path) -> None:
        """The launcher may have reaped it when it is looked for; its lock goes with its last thread."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            super().kill(point)
        self.wait_unlocked()

    def wait_unlocked(self) -> None:
        while self.state.is_dir() and any(Place(path).locked() for path in self.state.iterdir()):
            time.sleep(0.01)

    def run(self, *arguments: object, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Without faults."""
        done = self.launcher.run([str(argument) for argument in arguments], self.env)
        assert check is None or done.returncode == check, f"{arguments}: exit {done.returncode}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def step(self, act: Callable[[], object], change: Callable[[Tree], object], partial: str = "") -> None:
        def twice() -> object:
            try:
                return act()
            except OSError as error:
                self._failed(f"volfs: {error}")
                return act()

        try:
            self.history.step(twice if self.patient else act, change, partial)
        except OSError as error:
            raise Died(str(error)) from error
        self.on_answer()

    def _failed(self, text: str) -> None:
        """A failure is told by one line."""
        (line,) = text.splitlines()
        assert line.startswith("volfs: "), text
        self.told.append(line)

    # --- changes through the mount

    def write(self, name: str, size: int, *, sync: bool = False) -> None:
        """A new content for a file, in the place of the old one."""
        data = self.random.randbytes(size)
        if (old := self.history.tree.get(name)) is not None:
            self.step(lambda: os.truncate(self.point / name, 0), lambda tree: tree.update({name: _with(old, b"")}))

        def act() -> None:
            with open(self.point / name, "wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())

        self.step(act, lambda tree: tree.update({name: _with(old, data)}), partial=name)
        if sync:
            self.history.synced()
            self.on_answer()

    def patch(self, name: str, at: int, size: int) -> None:
        """Some bytes in the middle of a file, inside one block."""
        old = self.history.tree[name]
        data = self.random.randbytes(size)
        new = old.data[:at].ljust(at, b"\0") + data + old.data[at + size :]

        def act() -> None:
            with open(self.point / name, "r+b") as file:
                file.seek(at)
                file.write(data)

        self.step(act, lambda tree: tree.update({name: _with(old, new)}))

    def rename(self, name: str, new: str) -> None:
        def change(tree: Tree) -> None:
            tree[new] = tree.pop(name)

        self.step(lambda: os.rename(self.point / name, self.point / new), change)

    def unlink(self, name: str) -> None:
        self.step(lambda: os.unlink(self.point / name), lambda tree: tree.pop(name))

    def mkdir(self, name: str) -> None:
        self.step(
            lambda: os.mkdir(self.point / name, 0o750), lambda tree: tree.update({name: Node("d", mode=0o750)})
        )

    def symlink(self, name: str, target: str) -> None:
        self.step(
            lambda: os.symlink(target, self.point / name),
            lambda tree: tree.update({name: Node("l", target.encode())}),
        )

    def link(self, name: str, new: str) -> None:
        self.step(
            lambda: os.link(self.point / name, self.point / new), lambda tree: tree.update({new: tree[name]})
        )

    def truncate(self, name: str, size: int) -> None:
        old = self.history.tree[name]
        new = old.data[:size].ljust(size, b"\0")
        self.step(lambda: os.truncate(self.point / name, size), lambda tree: tree.update({name: _with(old, new)}))

    def chmod(self, name: str, mode: int) -> None:
        old = self.history.tree[name]
        node = Node(old.kind, old.data, mode, old.xattrs)
        self.step(lambda: os.chmod(self.point / name, mode), lambda tree: tree.update({name: node}))

    def setxattr(self, name: str, value: bytes) -> None:
        old = self.history.tree[name]
        node = Node(old.kind, old.data, old.mode, (("user.x", value),))
        self.step(
            lambda: os.setxattr(self.point / name, "user.x", value), lambda tree: tree.update({name: node})
        )

    # --- commands

    def mount(self, *options: object) -> None:  # type: ignore[override]
        self.volfs("mount", "--create", "v", self.point, *options)
        self.made = True
        self.on_answer()

    def commit(self) -> None:
        self.pending = {**self.theirs, **self.history.tree}
        self.volfs("commit", self.point)
        self.published()

    def published(self) -> None:
        """The commit was acknowledged."""
        assert self.pending is not None
        self.heads[max(self.heads) + 1] = self.pending
        self.pending = None
        self.history.synced()
        self.on_answer()

    def change(self, after: Tree, *arguments: object) -> None:
        """A command that makes one commit, without a mount."""
        self.pending = after
        self.volfs(*arguments)
        self.published()

    def others(self, *names: str) -> None:
        """Somebody else's commits of a file each."""
        for name in names:
            data = self.random.randbytes(3000)
            local = self.path / "local"
            local.write_bytes(data)
            local.chmod(0o644)
            self.volfs("put", "--force", "v", local, name)
            self.theirs[name] = Node("f", data, 0o644)
            last = max(self.heads)
            self.heads[last + 1] = {**self.heads[last], name: self.theirs[name]}
            self.on_answer()


def _with(old: Node | None, data: bytes) -> Node:
    return Node("f", data, old.mode if old else 0o644, old.xattrs if old else ())


@dataclass(slots=True, frozen=True)
class Workload:
    prepare: Callable[[Site], None]
    run: Callable[[Site], None]


def _nothing(site: Site) -> None:
    return


def _fill(site: Site) -> None:
    """Some of everything."""
    site.mkdir("d")
    site.write("d/small", 900)
    site.write("large", 2 * _BLOCK + 5000)
    site.write("d/again", 30_000)
    site.symlink("link", "d/small")
    site.link("d/small", "second")
    site.setxattr("large", b"value")
    site.write("durable", 2000, sync=True)


def _work(site: Site) -> None:
    """A new volume; changes of each kind; two commits."""
    site.mount()
    _fill(site)
    site.commit()
    site.patch("large", _BLOCK + 100, 3000)
    site.write("d/again", 20_000)
    site.unlink("second")
    site.rename("durable", "d/durable")
    site.truncate("large", 2 * _BLOCK)
    site.chmod("d/small", 0o600)
    site.write("new", 100, sync=True)
    site.commit()
    site.write("later", 700)


def _compact(site: Site) -> None:
    """Much that is overwritten: space of the log is given back, and the commit copies what is left of it."""
    site.mount()
    for _ in range(4):
        site.write("over", 3 * 16_384)
        site.write("stays", 900)
        site.patch("over", 5000, 9000)
    for _ in range(2):
        site.write("durable", 100, sync=True)  # what is dead is named, and punched once that is durable
        time.sleep(0.1)  # of the daemon's housekeeping nothing is to be seen
    site.commit()
    site.write("over", 40_000)
    site.commit()


def _mounted(site: Site) -> None:
    site.mount()
    _fill(site)
    site.commit()


def _others_meanwhile(site: Site) -> None:
    _mounted(site)
    site.others("theirs", "theirs2")


def _merge(site: Site) -> None:
    """A commit that meets others' commits, and a reload that brings them."""
    site.write("mine", 5000)
    site.commit()
    site.write("d/small2", 800)
    site.pending = {**site.theirs, **site.history.tree}
    site.step(lambda: site.volfs("reload", site.point), lambda tree: tree.update(site.theirs))
    site.published()
    site.write("after", 300)


def _only_head(site: Site) -> Callable[[Tree], None]:
    """The view becomes what the latest commit is."""
    head = site.heads[max(site.heads)]

    def change(tree: Tree) -> None:
        tree.clear()
        tree.update(head)

    return change


def _discard(site: Site) -> None:
    """A reload that throws away, with more than one segment to be dropped."""
    site.write("mine", 70_000)
    site.write("mine2", 70_000)
    site.step(lambda: site.volfs("reload", "--discard", site.point), _only_head(site))
    site.write("after", 300)
    site.commit()


def _kept(site: Site) -> None:
    """Changes of a daemon that was killed."""
    _others_meanwhile(site)
    site.write("kept", 70_000)
    site.write("kept2", 70_000)
    site.patch("large", 50, 700)
    site.kill(site.point)


def _resume(site: Site) -> None:
    site.volfs("mount", "v", site.point)
    site.write("after", 500)
    site.commit()
    site.step(lambda: site.volfs("umount", site.point), _only_head(site))


def _commit_dead(site: Site) -> None:
    """`umount --commit` of what a killed daemon left."""
    site.pending = {**site.theirs, **site.history.tree}
    site.step(lambda: site.volfs("umount", "--commit", site.point), lambda tree: tree.update(site.theirs))
    site.published()


def _discard_dead(site: Site) -> None:
    site.step(lambda: site.volfs("umount", "--discard", site.point), _only_head(site))


def _nothing_kept(site: Site) -> None:
    """A view without changes, of a daemon that was killed; others have overwritten since what it committed."""
    site.mount()
    site.write("mine", 5000)
    site.commit()
    site.kill(site.point)
    site.others("mine")


def _mount_anew(site: Site) -> None:
    site.step(lambda: site.volfs("mount", "v", site.point), _only_head(site))
    site.write("after", 300)


def _umount(site: Site) -> None:
    site.write("mine", 5000)
    site.pending = dict(site.history.tree)
    site.volfs("umount", "--commit", site.point)
    site.published()
    site.volfs("mount", "v", site.point)
    site.write("mine2", 70_000)
    site.write("mine3", 70_000)
    site.step(lambda: site.volfs("umount", "--discard", site.point), _only_head(site))


def _programs(site: Site) -> None:
    """Without a mount: upload, copy, move, remove, rename the volume."""
    local = site.path / "batch"
    local.mkdir(exist_ok=True)
    tree: Tree = {"b": Node("d", mode=0o755)}
    local.chmod(0o755)
    for name, size in (("one", 300), ("two", 40_000), ("three", 2 * _BLOCK + 9)):
        (local / name).write_bytes(site.random.randbytes(size))
        (local / name).chmod(0o640)
        tree[f"b/{name}"] = Node("f", (local / name).read_bytes(), 0o640)
    site.change(tree, "put", "v", local, "b")
    tree = {**tree, "copy": tree["b/two"]}
    site.change(tree, "cp", "v", "b/two", "copy")
    tree = {**tree, "moved": tree["b/one"]}
    del tree["b/one"]
    site.change(tree, "mv", "v", "b/one", "moved")
    tree = {name: node for name, node in tree.items() if name != "b/three"}
    site.change(tree, "rm", "v", "b/three")
    site.names = {"v", "w"}
    site.volfs("rename", "--yes", "v", "w")
    site.names = {"w"}


def _delete(site: Site) -> None:
    site.alive = False
    site.volfs("delete", "--yes", "v")
    site.volfs("create", "v")
    site.volfs("delete", "--yes", "v")


def _volume(site: Site) -> None:
    site.volfs("create", "v")
    site.made = True
    site.on_answer()


WORKLOADS: dict[str, Workload] = {
    "work": Workload(_nothing, _work),
    "compaction": Workload(_nothing, _compact),
    "merge": Workload(_others_meanwhile, _merge),
    "discard": Workload(_others_meanwhile, _discard),
    "resume": Workload(_kept, _resume),
    "commit of a dead view": Workload(_kept, _commit_dead),
    "discard of a dead view": Workload(_kept, _discard_dead),
    "mount with nothing kept": Workload(_nothing_kept, _mount_anew),
    "umount": Workload(_mounted, _umount),
    "programs": Workload(_volume, _programs),
    "delete": Workload(_volume, _delete),
}
