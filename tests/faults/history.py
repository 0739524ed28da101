"""What a view, and the commits of its volume, may hold after a crash. Pure, but for reading a tree.

A workload is a list of steps; each has its effect whole or not at all, but for the content of a file that is being
written, of which a first part may be there.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True, frozen=True)
class Node:
    """A name: *kind* is f, d or l; *data* a file's content or a link's target."""

    kind: str
    data: bytes = b""
    mode: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()


Tree = dict[str, Node]


def read_tree(top: Path) -> Tree:
    """All below a directory; every byte is read."""
    found: Tree = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, top)
            if stat.S_ISLNK(status.st_mode):
                found[relative] = Node("l", os.fsencode(os.readlink(path)))
                continue
            xattrs = tuple((key, os.getxattr(path, key)) for key in sorted(os.listxattr(path)))
            data, kind = b"", "d"
            if stat.S_ISREG(status.st_mode):
                data, kind = Path(path).read_bytes(), "f"
                assert len(data) == status.st_size, f"{relative}: {len(data)} bytes of {status.st_size}"
            found[relative] = Node(kind, data, stat.S_IMODE(status.st_mode), xattrs)
    return found


@dataclass(slots=True)
class Step:
    """From *before* to *after*; *partial*: a file of which a first part of the new content may be there."""

    before: Tree
    after: Tree
    partial: str = ""


@dataclass(slots=True)
class History:
    """`steps` that were begun; `answered` of them have returned, `durable` of them must survive a loss of power."""

    tree: Tree = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    answered: int = 0
    durable: int = 0
    start: Tree = field(default_factory=dict)

    def step(self, act: Callable[[], object], change: Callable[[Tree], object], partial: str = "") -> None:
        """Does it, in the view and here. Raises what *act* raises: then it may have come to be."""
        after = dict(self.tree)
        change(after)
        self.steps.append(Step(self.tree, after, partial))
        act()
        self.tree = after
        self.answered = len(self.steps)

    def synced(self) -> None:
        self.durable = self.answered

    def explains(self, found: Tree, first: int) -> int | None:
        """After how many steps, *first* or more, a view is that tree; the next may be there in part. None: never."""
        for i in range(len(self.steps), first - 1, -1):
            tree = self.steps[i - 1].after if i else self.start
            if found == tree:
                return i
            if i < len(self.steps) and _partly(self.steps[i], found):
                return i
        return None

    def differences(self, found: Tree, at: int) -> str:
        """In words, from the tree after *at* steps."""
        tree = self.steps[at - 1].after if at else self.start
        lines = []
        for path in sorted(found.keys() | tree.keys()):
            old, new = tree.get(path), found.get(path)
            if old != new:
                lines.append(f"{path}: {_said(new)} instead of {_said(old)}")
        return "; ".join(lines)


def _partly(step: Step, found: Tree) -> bool:
    path = step.partial
    if not path:
        return False
    node = found.get(path)
    whole = step.after[path]
    rest = {key: value for key, value in found.items() if key != path}
    expected = {key: value for key, value in step.after.items() if key != path}
    return rest == expected and (node is None or (node.kind == "f" and whole.data.startswith(node.data)))


def _said(node: Node | None) -> str:
    if node is None:
        return "nothing"
    return f"{node.kind} {node.mode:o} {len(node.data)} bytes {node.data[:8]!r} {node.xattrs}"
