"""Views of a sub_path that is missing: its directories are made, and nobody has asked for them before they are used."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.view.mounted import ROOT, Mounted, new_volume
from tests.view.test_discard import KERNEL
from volfs.view.reload import reload
from volfs.view.view import Options

DEEP = Options(sub_path=(b"new", b"deep"))


def test_directories_made_for_a_sub_path_are_no_change_also_after_a_kill(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        for _ in range(2):  # the second resumes the first
            mounted = Mounted(store, volume, tmp_path, "one", DEEP)
            assert mounted.view.resumed is None
            assert not mounted.view.changed
            assert await mounted.commit() is None
        await mounted.write("f", b"1")
        assert len(mounted.view.changed) == 4 and mounted.view.dirty_files == 1
        assert await mounted.commit() == 1
        whole = Mounted(store, volume, tmp_path, "two")
        assert await whole.tree() == {"new": None, "new/deep": None, "new/deep/f": b"1"}

    trio.run(main)


def chmod(mounted: Mounted) -> None:
    mounted.view.attributes.setattr(mounted.view.root_ino, mode=0o700, caller=ROOT)


def chown(mounted: Mounted) -> None:
    mounted.view.attributes.setattr(mounted.view.root_ino, uid=7, caller=ROOT)


def touch(mounted: Mounted) -> None:
    mounted.view.attributes.setattr(mounted.view.root_ino, mtime_ns=1, caller=ROOT)


def mkdir(mounted: Mounted) -> None:
    mounted.view.names.mkdir(mounted.view.root_ino, b"d", 0o755, ROOT)


@pytest.mark.parametrize("change", [chmod, chown, touch, mkdir])
def test_any_change_in_the_made_directory_is_committed(change: Callable[[Mounted], None], tmp_path: Path) -> None:
    """Also one in the same tick of the clock."""
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one", DEEP, clock_ns=lambda: 5)
        assert await mounted.commit() is None
        change(mounted)
        assert Mounted(store, volume, tmp_path, "one", DEEP).view.resumed is not None
        assert await mounted.commit() == 1

    trio.run(main)


def test_a_discarding_reload_of_a_sub_path_that_no_commit_has_shows_it_empty(tmp_path: Path) -> None:
    store, volume = new_volume(tmp_path)

    async def main() -> None:
        mounted = Mounted(store, volume, tmp_path, "one", DEEP)
        await mounted.write("f", b"1")
        report = await reload(mounted.view, KERNEL, discard=True)
        assert report.discarded_files == 4
        assert await mounted.tree() == {}
        assert not mounted.view.changed
        await mounted.write("g", b"2")
        assert await mounted.commit() == 1
        assert await Mounted(store, volume, tmp_path, "one", DEEP).tree() == {"g": b"2"}

    trio.run(main)
