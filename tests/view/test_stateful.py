"""A view in-process against a plain dictionary: hypothesis chooses the calls, and shrinks what fails."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.view.mounted import Mounted, new_volume
from volfs.format.hashing import BLOCK_BYTES
from volfs.view.view import Options

paths = st.lists(st.sampled_from(("a", "b", "c")), min_size=1, max_size=3).map("/".join)
offsets = st.sampled_from((0, 1, 4096, BLOCK_BYTES - 3, BLOCK_BYTES, 3 * BLOCK_BYTES + 1))
lengths = st.sampled_from((1, 100, 4096, BLOCK_BYTES + 5))
data = st.builds(lambda byte, length: bytes([byte]) * length, st.integers(1, 255), lengths)


class OneView(RuleBasedStateMachine):
    """`files` and `directories` by path; calls that a file system refuses must be refused, with nothing changed."""

    def __init__(self) -> None:
        super().__init__()
        self.at = Path(tempfile.mkdtemp(prefix="volfs-stateful-"))
        self.store, self.volume = new_volume(self.at)
        self.files: dict[str, bytes] = {}
        self.directories = {""}
        self.committed: dict[str, bytes | None] = {}
        self.mounted = Mounted(self.store, self.volume, self.at, "one")
        self.checked = True

    def teardown(self) -> None:
        shutil.rmtree(self.at)

    def run(self, call: Any, *args: Any, refused: bool = False, **more: Any) -> Any:
        self.checked = False

        async def main() -> Any:
            return await call(*args, **more)

        if not refused:
            return trio.run(main)
        with pytest.raises(OSError, match=r"\[Errno"):
            trio.run(main)
        return None

    @property
    def expected(self) -> dict[str, bytes | None]:
        return {**self.files, **dict.fromkeys(self.directories - {""})}

    def parent_there(self, path: str) -> bool:
        return os.path.dirname(path) in self.directories

    def below(self, path: str) -> list[str]:
        return [other for other in self.expected if other.startswith(path + "/")]

    @rule(path=paths, offset=offsets, data=data)
    def write(self, path: str, offset: int, data: bytes) -> None:
        refused = not self.parent_there(path) or path in self.directories
        self.run(self.mounted.write, path, data, offset, refused=refused)
        if not refused:
            old = self.files.get(path, b"").ljust(offset, b"\0")
            self.files[path] = old[:offset] + data + old[offset + len(data) :]

    @rule(path=paths, size=offsets)
    def truncate(self, path: str, size: int) -> None:
        self.run(self.mounted.truncate, path, size, refused=path not in self.files)
        if path in self.files:
            self.files[path] = self.files[path][:size].ljust(size, b"\0")

    @rule(path=paths)
    def mkdir(self, path: str) -> None:
        refused = not self.parent_there(path) or path in self.expected
        self.run(self.mounted.mkdir, path, refused=refused)
        if not refused:
            self.directories.add(path)

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        self.run(self.mounted.unlink, path, refused=path not in self.files)
        self.files.pop(path, None)

    @rule(path=paths)
    def rmdir(self, path: str) -> None:
        refused = path not in self.directories or bool(self.below(path))
        self.run(self.mounted.rmdir, path, refused=refused)
        if not refused:
            self.directories.remove(path)

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        into_itself = old in self.directories and new.startswith(old + "/")
        refused = old not in self.expected or not self.parent_there(new) or into_itself
        if old in self.directories:
            refused |= new in self.files or (new != old and bool(self.below(new)))
        else:
            refused |= new in self.directories
        if new in self.directories and old.startswith(new + "/"):
            refused = True
        self.run(self.mounted.rename, old, new, refused=refused)
        if refused or old == new:
            return
        for path in [old, *self.below(old)]:
            moved = new + path[len(old) :]
            if path in self.files:
                self.files[moved] = self.files.pop(path)
            else:
                self.directories.remove(path)
                self.directories.add(moved)

    @rule()
    def commit(self) -> None:
        self.run(self.mounted.commit)
        self.committed = dict(self.expected)

    @rule()
    def kill(self) -> None:
        self.mounted = Mounted(self.store, self.volume, self.at, "one")
        self.checked = False

    @precondition(lambda self: not self.checked)
    @rule()
    def another_view_shows_the_last_commit(self) -> None:
        other = Mounted(self.store, self.volume, self.at, os.urandom(8).hex(), Options(read_only=True))
        assert trio.run(other.tree) == self.committed

    @invariant()
    def same(self) -> None:
        if not self.checked:
            assert trio.run(self.mounted.tree) == self.expected
            self.checked = True


TestOneView = OneView.TestCase
TestOneView.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
